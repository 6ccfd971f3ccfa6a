"""data, split and init: what users do with sentences before they train."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from conftest import standard_input

from slotfill.data.corpus import read_sentences
from slotfill.data.findings import KINDS
from slotfill.data.sentence import MAX_TOKENS

LINES = [
    f"{verb} [City{index % 7}]({slot}) at [{index}](time)\n"
    for index in range(40)
    for verb, slot in [("leave", "origin"), ("reach", "goal")]
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, lines: list[str]) -> None:
    Path(name).write_text("".join(lines), encoding="utf-8")


def report(cli, *words, code=0):
    result = cli("data", *words, "--json")
    assert result.code == code and (code or not result.err)
    return json.loads(result.out)


def test_splits_slots_and_values_are_counted(folder, cli):
    write("train.md", LINES)
    write("dev.md", ["leave [City1](origin) by train\n", "fly\n"])
    for words in (["."], ["train.md", "dev.md"]):
        found = report(cli, *words)
        train, valid = found["splits"]
        assert (train["name"], train["sentences"], train["slots"]) == ("train", 80, 160)
        assert (valid["name"], valid["tokens"], valid["max_length"]) == ("valid", 5, 4)
        assert train["unknown_tokens"] is None and valid["unknown_tokens"] == 3 / 5
        origin = next(each for each in found["names"] if each["name"] == "origin")
        assert origin["counts"] == {"train": 40, "valid": 1} and origin["values"] == 7


MISTAKES = {
    "misaligned": ["go to [Osl](goal)o\n"],
    "duplicates": [LINES[0]] * 20,
    "conflicts": ["leave [City0](goal) at [0](time)\n"],
    "similar-names": ["reach [Rome](Goal)\n"],
    "rare-names": ["reach [Rome](end)\n"],
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_found_with_their_lines_and_fail_if_asked(kind, folder, cli):
    write("clean.md", LINES)
    assert not [each for each in report(cli, "clean.md")["findings"] if each["kind"] == kind]
    write("own.md", LINES + MISTAKES[kind])
    (found,) = [each for each in report(cli, "own.md")["findings"] if each["kind"] == kind]
    assert found["places"][0].startswith("own.md:81: ")
    assert cli("data", "own.md").code == 0
    failed = cli("data", "own.md", "--fail-on", f"overlaps,{kind}")
    assert failed.code == 3 and failed.err == f"slotfill: {kind}: {found['message']}\n"
    assert cli("data", "own.md", "--fail-on", "overlaps").code == 0


def test_repairs_overlaps_and_shared_sentences_are_found(folder, cli):
    slots = [
        {"name": "a", "start": 0, "end": 3},
        {"name": "b", "value": "two", "start": 0, "end": 3},
    ]
    row = {"text": "one two", "slots": [*slots, {"name": "c", "start": 0, "end": 7}]}
    write("train.jsonl", [json.dumps(row) + "\n", '{"text": "x", "slots": []}\n'])
    write("test.conll", ["x O\n\n", "y-z I-a\n\n", "w B-c\n\n"])
    kinds = {each["kind"]: each for each in report(cli, ".")["findings"]}
    expected = {"corrected-offsets", "overlaps", "repaired-tags", "retokenized", "shared"}
    assert expected <= set(kinds) <= set(KINDS)
    assert len(kinds["overlaps"]["places"]) == 2
    assert kinds["repaired-tags"]["places"][0].startswith("test.conll:3: I-a")


@pytest.mark.parametrize("treatment", ["split", "widen", "skip", "error"])
def test_all_misaligned_slots_are_listed(treatment, folder, cli):
    write("own.md", LINES + [f"go to [Tow](goal)n{index}\n" for index in range(30)])
    result = cli("data", "own.md", f"data.misaligned={treatment}")
    assert result.code == (3 if treatment == "error" else 0)
    assert result.out.count("slot 'goal' ('Tow') cuts the token") >= 30
    for line in range(81, 111):
        assert f"  own.md:{line}: slot 'goal'" in result.out


# A file with sentences that cannot be read between others, and the lines of its errors. In each,
# the first and the last sentence are read.
def _rows(*rows):
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


_TEXT = "fly to Rome"
_SLOT = {"name": "goal", "value": "Rome", "start": 7, "end": 11}
_GOOD = {"text": _TEXT, "slots": [_SLOT]}
_TWO_WRONG = [_SLOT | {"value": "Oslo"}, _SLOT | {"value": "Bonn"}]
BROKEN = {
    "values.jsonl": (
        _rows(
            _GOOD,
            {"text": _TEXT, "slots": _TWO_WRONG},
            {"text": _TEXT, "slots": [{"name": "goal", "start": 7, "end": 99}]},
            {"text": _TEXT, "slots": [{"name": "goal", "start": 7, "end": 7}]},
            {"text": _TEXT, "slots": [{"name": "goal", "start": "7", "end": 11}]},
            _GOOD,
        ),
        [2, 2, 3, 4, 5],
    ),
    "lines.jsonl": (
        _rows(_GOOD, '{"text": ', "[1]", {"text": 5}, {"txt": ""}, {"tokens": ["a"], "tags": []})
        + _rows({"text": _TEXT, "entities": {"goal": "Oslo"}}, '{"text": "\\ud800"}', _GOOD),
        [2, 3, 4, 5, 6, 7, 8],
    ),
    "array.json": (
        "[\n"
        + _rows(*[json.dumps(_GOOD) + ","] * 2)
        + _rows(json.dumps({"text": 5}) + ",", "7,", json.dumps(_GOOD))
        + "]\n",
        [4, 5],
    ),
    "tags.conll": (
        "fly\tO\nRome\tB-goal\n\nto\tX\nOslo\tS-goal\nnow\tO\n\nto\tO\nOslo\n\ngo\tO\n\n",
        [4, 5, 9],
    ),
    "text.md": (
        "fly to [Rome](goal)\nto [Oslo\n[](flight)\nto ]\n\\x\nfly to [Rome](goal)\n",
        [2, 3, 4, 5],
    ),
    "table.csv": (
        'text,slots\na,[]\nb\nc,{\nd,"[{}]"\ne,[7]\nfly to Rome,'
        '"[{""name"": ""goal"", ""start"": 7, ""end"": 11}]"\n',
        [3, 4, 5, 6],
    ),
    "pairs.txt": ("to:O Rome:B-goal\n" * 20 + "to:O Rome:B-goal x\n <=> go\nto:O\n", [21, 22]),
    "spacy.jsonl": (
        _rows(
            [_TEXT, {"entities": [[7, 11, "goal"]]}],
            [_TEXT, {"entities": [[7, 99, "goal"]]}],
            "7",
            [_TEXT, {"entities": [["7", 11, "goal"]]}],
            [_TEXT, {"entities": [[7, 11, "goal"]]}],
        ),
        [2, 3, 4],
    ),
    "massive.jsonl": (
        _rows(
            {"utt": _TEXT, "annot_utt": "fly to [goal : Rome]"},
            {"utt": _TEXT, "annot_utt": "fly to [goal : Rome"},
            {"utt": 7, "annot_utt": "fly to [goal : Rome]"},
            {"utt": _TEXT, "annot_utt": "fly to [goal : Rome]"},
        ),
        [2, 3],
    ),
    "prodigy.jsonl": (
        _rows(
            {"text": _TEXT, "answer": "accept", "spans": [{"start": 7, "end": 11, "label": "g"}]},
            {"text": _TEXT, "answer": "perhaps"},
            {"text": _TEXT, "answer": "accept", "spans": [{"start": 7, "label": "g"}]},
            "{",
            {"text": _TEXT, "answer": "accept", "spans": []},
        ),
        [2, 3, 4],
    ),
    "nlu.yml": (
        "nlu:\n- intent: go\n  examples: |\n    - to [Rome](goal)\n    - to [Oslo]{x}\n"
        '    - to [Bonn]{"role": "a"}\n    - now\n',
        [5, 6],
    ),
    # What follows broken JSON that is not lines, or another encoding, cannot be read.
    "damaged.json": ("[\n" + _rows(json.dumps(_GOOD) + ",", '{"text": "a", }') + "]\n", [3]),
    "bytes.md": (b"fly to [Rome](goal)\nto ]\nto \xe9 \xfc\nnow\n", [2, 3]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_all_errors_are_listed_beside_the_report_on_the_rest(name, folder, cli):
    content, lines = BROKEN[name]
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = report(cli, name, code=3)
    (errors,) = [each for each in found["findings"] if each["kind"] == "errors"]
    assert [place.partition(": ")[0] for place in errors["places"]] == [
        f"{name}:{line}" for line in lines
    ]
    assert found["names"][0]["kind"] == "slot"  # What can be read is described.
    checked = cli("check", name)
    assert (checked.code, sorted(checked.err.splitlines())) == (
        3,
        sorted(f"slotfill: {place}" for place in errors["places"]),
    )


def test_errors_are_printed_and_training_stops_at_the_first(folder, cli):
    write("values.jsonl", [BROKEN["values.jsonl"][0]])
    wrong = "slot 'goal' has the value '{}', which is not in the text; from 7 to 11 it reads 'Rome'"
    places = [f"values.jsonl:2: {wrong.format(value)}" for value in ("Oslo", "Bonn")]
    printed = cli("data", "values.jsonl")
    assert printed.err == (
        "slotfill: errors: train: 5 errors, at which check and train stop, at values.jsonl:2,"
        " values.jsonl:3, values.jsonl:4, values.jsonl:5\n"
    )
    assert printed.code == 3 and all(f"  {place}\n" in printed.out for place in places)
    trained = cli("train", "data.path=values.jsonl", "--out", "run")
    assert (trained.code, trained.err) == (3, f"slotfill: {places[0]}\n")


def test_errors_in_one_split_do_not_hide_the_others(folder, cli):
    write("train.md", [*LINES, "to ]\n"])
    write("valid.md", ["]\n", "[\n"])
    write("test.md", ["leave [City1](origin)\n", "]\n"])
    found = report(cli, ".", code=3)
    sizes = {split["name"]: split["sentences"] for split in found["splits"]}
    assert sizes == {"train": len(LINES), "valid": 0, "test": 1}
    errors = {
        each["message"].partition(":")[0]: [place.partition(": ")[0] for place in each["places"]]
        for each in found["findings"]
        if each["is_error"]
    }
    assert errors == {
        "train": ["train.md:81"],
        "valid": ["valid.md:1", "valid.md:2"],
        "test": ["test.md:2"],
    }


OUT_OF_TEXT = '{"text": "to Rome", "slots": [{"name": "goal", "start": 50, "end": 60}]}\n'
WITHOUT_SENTENCES = {  # Files in which no sentence can be read, and the lines that cannot.
    "offsets.jsonl": ([OUT_OF_TEXT] * 2, ["offsets.jsonl:1", "offsets.jsonl:2"]),
    "rows.jsonl": (['{"text": 3}\n', "[\n"], ["rows.jsonl:1", "rows.jsonl:2"]),
    "cells.csv": (["text,intent\n", "go\n", "a,b\n"], ["cells.csv:2", "cells.csv"]),
}


@pytest.mark.parametrize("name", WITHOUT_SENTENCES)
def test_a_file_of_nothing_but_errors_has_a_report(name, folder, cli):
    lines, expected = WITHOUT_SENTENCES[name]
    write(name, lines)
    found = report(cli, name, code=3)
    assert found["splits"][0]["sentences"] == 0 and not found["names"]
    (errors,) = found["findings"]
    assert [place.partition(": ")[0] for place in errors["places"]] == expected
    listed = "".join(f"slotfill: {place}\n" for place in errors["places"])
    for command in ("data", "check"):
        printed = cli(command, name)
        assert (printed.code, printed.out, printed.err) == (3, "", listed)
    assert cli("data", name, "--html", "page.html").code == 3
    assert all(f"{place}" in Path("page.html").read_text() for place in expected)


def test_errors_of_train_do_not_hide_those_of_other_splits(folder, cli):
    write("train.jsonl", [OUT_OF_TEXT])
    write("valid.json", ['[{"text": 3}]'])
    write("test.jsonl", [OUT_OF_TEXT, '{"text": "go", "slots": []}\n'])
    places = ["train.jsonl:1", "valid.json:1", "test.jsonl:1"]
    found = report(cli, ".", code=3)
    assert [split["sentences"] for split in found["splits"]] == [0, 0, 1]
    assert [each["message"].rpartition(" at ")[2] for each in found["findings"]] == places
    checked = cli("check", ".")
    lines = checked.err.splitlines()
    assert (checked.code, checked.out) == (3, "")
    assert [line.split(": ")[1] for line in lines] == places


@pytest.mark.parametrize("lines", [["text\n", "fly home\n"], ["text,intent\n", "fly home,go\n"]])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_csv_of_texts_alone_is_unlabelled(lines, suffix, folder, cli):
    write(f"own.{suffix}", [line.replace(",", "\t") for line in lines])
    for command in ("data", "check", "init"):
        refused = cli(command, f"own.{suffix}")
        assert refused.code == 3 and ": none of its 1 sentence has " in refused.err
        assert ("empty slots, []" in refused.err) == ("intent" in lines[0])
    assert cli("convert", f"own.{suffix}", "new.jsonl").code == 0
    intent = ', "intent": "go"' if "intent" in lines[0] else ""
    assert Path("new.jsonl").read_text() == f'{{"text": "fly home"{intent}}}\n'


def test_sentences_that_cannot_be_tagged_are_refused_before_training(folder, cli):
    write("own.md", [*LINES, "to " * (MAX_TOKENS + 1) + "\n"])
    message = f"own.md:{len(LINES) + 1}: a sentence of 20,001 tokens; at most 20,000 are allowed"
    for command in ("data", "check", "train"):
        refused = cli(command, "data.path=own.md", *(["--out", "run"] * (command == "train")))
        assert refused.code == 3 and message in refused.err + refused.out


def test_a_config_stands_alone(folder, cli):
    write("own.md", LINES)
    write("my.yaml", ["data:\n  path: own.md\n"])
    for words in (["data", "my.yaml", "own.md"], ["split", "my.yaml", "--out", "new"]):
        refused = cli(*words)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "my.yaml: " in refused.err and "a config is given alone" in refused.err
    write("blank.md", ["\u200b\n"])
    assert (
        cli("data", "blank.md").err == "slotfill: blank.md: no sentences; the file has no words\n"
    )
    for command in ("data", "check", "train"):
        assert "reads files, and not the standard input" in cli(command, "data.path=-").err


def test_a_link_to_nothing_is_named_as_one(folder, cli):
    Path("own.md").symlink_to("gone.md")
    for words in (["data", "own.md"], ["convert", "own.md", "new.jsonl"], ["init", "own.md"]):
        refused = cli(*words)
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert refused.err.endswith(": it is a link to gone.md, which is not there\n")


def test_check_prints_the_line_of_each_problem(folder, cli):
    write("own.md", LINES + [line for lines in MISTAKES.values() for line in lines])
    problems = [each for each in report(cli, "own.md")["findings"] if not each["is_usual"]]
    lines = cli("check", "data.path=own.md", "data.holdout=0").out.splitlines()
    assert [line.partition(": warning: ")[2] for line in lines[1:-1]] == [
        each["message"] for each in problems
    ]


def test_page_has_every_place_and_escapes_texts(folder, cli):
    more = ["<script>alert(1)</script> [a&b](goal)\n", "a [b](<i>) [c](o'clock) [d](a&b.c_d)\n"]
    write("own.md", [*LINES, *more, LINES[3]])
    assert cli("data", "own.md", "--html", "own.html").code == 0
    page = Path("own.html").read_text(encoding="utf-8")
    assert "<i>)" not in page and "alert(1)</script>" not in page and "own.md:83" in page
    assert ">o&#39;clock<" in page and ">a&amp;b.<wbr>c_<wbr>d<" in page
    assert cli("data", "own.md", "--html", "own.html").code == 2


def test_wrong_use_is_one_line(folder, cli):
    write("own.md", LINES)
    for words, message in [
        (["own.md", "--fail-on", "duplicate"], "did you mean 'duplicates'?"),
        (["own.md", "--suspects", "--fail-on", "names"], "--suspects goes with neither"),
        (["own.md", "sub/own.md"], "the same name"),
        (["nope.yaml"], "no config 'nope.yaml'"),
    ]:
        result = cli("data", *words)
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1


# split


def labels(path: Path) -> Counter[str]:
    return Counter(slot.name for s in read_sentences(path).sentences for slot in s.slots or ())


def test_splits_are_stratified_complete_and_the_same_each_time(folder, cli):
    lines = [*LINES, *LINES[:30], *(f"go to [Rome{index}](rare)\n" for index in range(10))]
    lines += ["only [once](single)\n"]
    random.Random(1).shuffle(lines)
    write("all.md", lines)
    assert cli("split", "all.md", "--out", "a", "--valid", 0.2).code == 0
    assert cli("split", "all.md", "--out", "b", "--valid", 0.2).code == 0
    assert cli("split", "all.md", "--out", "c", "--valid", 0.2, "--seed", 2).code == 0
    parts = {split: Path(f"a/{split}.md") for split in ("train", "valid", "test")}
    texts = {split: path.read_text().splitlines(True) for split, path in parts.items()}
    assert sorted(chain(*texts.values())) == sorted(lines)
    assert not set(texts["train"]) & {*texts["valid"], *texts["test"]}
    assert not set(texts["valid"]) & set(texts["test"])
    assert {split: path.read_text() for split, path in parts.items()} == {
        split: Path(f"b/{split}.md").read_text() for split in parts
    }
    assert parts["train"].read_text() != Path("c/train.md").read_text()
    counts = labels(Path("all.md"))
    for split, share in {"train": 0.7, "valid": 0.2, "test": 0.1}.items():
        assert abs(len(texts[split]) - share * len(lines)) <= 2
        for name, count in labels(parts[split]).items():
            assert abs(count - share * counts[name]) <= 0.05 * counts[name] + 2
    assert labels(parts["train"])["single"] == 1


def test_split_overwrites_nothing_and_writes_another_format(folder, cli):
    write("all.md", LINES)
    Path("a").mkdir()
    assert cli("split", "all.md", "--out", "a").code == 2
    assert cli("split", "all.md", "--out", "b", "--to", "conll", "--test", 0).code == 0
    assert sorted(path.name for path in Path("b").iterdir()) == ["train.conll", "valid.conll"]
    assert cli("split", "all.md", "--out", "c", "--valid", 0.6, "--test", 0.4).code == 2
    write("few.md", LINES[:2])
    assert "valid would get none" in cli("split", "few.md", "--out", "c").err
    assert not Path("c").exists()


# init


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("own.md", LINES, ["format: brackets", "holdout: 0.1", "language: en"]),
        ("own.md", LINES[:3], ["holdout: 0  "]),
        ("own.txt", ["leave O\nOslo S-city\nnow O\n\n"] * 9, ["format: conll", "scheme: bioes"]),
        ("thai.md", ["ไป[เชียงใหม่](city)วันนี้\n"] * 9, ["each letter is a token", "language: th"]),
        (
            "zh.md",
            ["去[台北](city)\n", "[](b) 到[台北](city)\n"] * 9,
            ["intent: none, since only 9"],
        ),
        ("own.md", ["[](a) go\n", "[](b) to [x](city)\n"] * 9, ["intent: attention"]),
    ],
)
def test_config_fits_the_data_and_is_trained_at_once(name, lines, expected, folder, cli):
    write(name, lines)
    Path("configs").mkdir()
    result = cli("init", name, "--out", "configs/own.yaml")
    assert (result.code, result.err) == (0, "")
    text = Path("configs/own.yaml").read_text(encoding="utf-8")
    for each in expected:
        assert each in text or each in result.out
    checked = cli("check", "configs/own.yaml")
    assert checked.code == 0
    assert re.search(r": network: [\d,]+ parameters, [\d,]+ multiply-adds per token\n", checked.out)
    assert cli("init", name, "--out", "configs/own.yaml").code == 2


# Sentences without labels, missing files, standard input, folders of splits


HALF = (
    '{"text": "to Rome", "slots": [{"name": "city", "start": 3, "end": 7}]}\n'
    '{"text": "hello"}\n{"text": " "}\n'
)


def test_every_command_says_how_many_sentences_are_left_out(folder, cli):
    write("half.jsonl", [HALF])
    unlabelled = "train: 1 unlabelled sentence is left out, at half.jsonl:2"
    blank = "train: 1 text without words is left out, at half.jsonl:3"
    kinds = {each["kind"]: each for each in report(cli, "half.jsonl")["findings"]}
    assert kinds["unlabelled"]["message"] == unlabelled
    assert kinds["unlabelled"]["places"] == ["half.jsonl:2: no labels: 'hello'"]
    assert kinds["no-words"]["message"] == blank
    checked = cli("check", "half.jsonl")
    assert checked.code == 0
    assert [f"half.jsonl: warning: {each}" for each in (unlabelled, blank)] == [
        line for line in checked.out.splitlines() if "left out" in line
    ]
    assert {unlabelled, blank} <= set(cli("init", "half.jsonl").out.splitlines())
    trained = cli("train", "half.yaml", "train.epochs=1", "--out", "run")
    assert trained.code == 0
    assert trained.out.startswith(f"warning: {unlabelled}\nwarning: {blank}\n")
    for command in ("data", "check"):
        strict = cli(command, "half.jsonl", "data.strict=true")
        listed = strict.out if command == "data" else strict.err
        assert strict.code == 3 and "half.jsonl:2: no labels: 'hello'\n" in listed
        assert "half.jsonl:3: the text has no words\n" in listed
    strict = cli("train", "half.yaml", "data.strict=true", "--out", "strict")
    assert strict.code == 3 and strict.err.endswith("no labels: 'hello' (and 1 more)\n")
    assert cli("convert", "half.jsonl", "new.jsonl").code == 3
    converted = cli("convert", "half.jsonl", "new.jsonl", "--lossy")
    assert converted.out == "new.jsonl: 2 sentences, 1 text without words left out\n"
    assert converted.err == "slotfill: half.jsonl:3: the text has no words\n"
    assert cli("convert", "half.jsonl", "strict.jsonl", "--strict").code == 3
    write("more.jsonl", [HALF, *(f'{{"text": "{index}", "slots": []}}\n' for index in range(8))])
    divided = cli("split", "more.jsonl", "--out", "s", "--valid", "0.5", "--test", "0")
    assert divided.out == "s: train: 6 sentences\ns: valid: 4 sentences\n"
    assert divided.err == "slotfill: more.jsonl:3: the text has no words\n"


@pytest.mark.parametrize(
    "command",
    [
        "data mnie.md",
        "check mnie.md",
        "train data.path=mnie.md",
        "init mnie.md",
        "split mnie.md --out new",
        "convert mnie.md new.md",
    ],
)
def test_a_missing_file_is_wrong_use_in_every_command(command, folder, cli):
    write("mine.md", LINES)
    result = cli(*command.split())
    assert result.code == 2 and result.err.count("\n") == 1
    assert re.search(r"mnie.md(: no such file.*)?; did you mean 'mine.md'\?$", result.err)


def test_slots_that_data_refuses_are_those_that_check_stops_at(folder, cli):
    write("own.md", [*LINES, "go to [Ber](goal)lin\n", "go to [Par](goal)is\n"])
    words = ["own.md", "data.misaligned=error"]
    (found,) = [each for each in report(cli, *words, code=3)["findings"] if each["is_error"]]
    assert found["kind"] == "misaligned"
    assert found["message"].startswith("train: misaligned slots, at which check and train stop: 2")
    assert [place.partition(";")[0] for place in found["places"]] == [
        "own.md:81: slot 'goal' ('Ber') cuts the token 'Berlin'",
        "own.md:82: slot 'goal' ('Par') cuts the token 'Paris'",
    ]
    checked = cli("check", *words)
    assert checked.code == 3
    assert checked.err.splitlines() == [f"slotfill: {place}" for place in found["places"]]


def test_check_takes_what_data_takes(folder, cli):
    write("own.md", LINES)
    Path("corpus").mkdir()
    write("corpus/train.md", [*LINES, "go to [Ber](goal)lin\n"])
    write("corpus/test.md", LINES[:5])
    assert cli("check", "own.md").out == "own.md: train: 80 sentences, 160 slots\nown.md: ok\n"
    lines = cli("check", "corpus").out.splitlines()
    assert [line.split(": ")[1] for line in lines[:2]] == ["train", "test"]
    # Tokens are split by what train has.
    assert any("train: slots begin or end inside tokens" in line for line in lines)
    Path("empty").mkdir()
    assert cli("check", "empty").err.startswith("slotfill: empty: no config in this folder")


def test_similar_names_are_counted_by_split(folder, cli):
    Path("corpus").mkdir()
    write("corpus/train.md", LINES)
    write("corpus/test.md", ["reach [Rome](Goal)\n", LINES[0]])
    kinds = {each["kind"]: each for each in report(cli, "corpus")["findings"]}
    assert kinds["similar-names"]["message"] == (
        "corpus/test.md:1: slot 'Goal' (test 1) is almost named like 'goal' (train 40); rename"
        " it if they are the same"
    )


def test_standard_input_is_read_as_a_file_is(folder, cli):
    write("own.md", [*LINES, LINES[0]])
    text = Path("own.md").read_text()
    from_file = cli("data", "own.md").out.replace("own.md", "standard input")
    with standard_input(text.encode(), folder):
        from_input = cli("data", "-").out
        assert from_input.splitlines()[1:-1] == from_file.splitlines()[1:-1]
    with standard_input(text.encode(), folder):
        assert cli("check", "-").out.startswith("standard input: train: 81 sentences")
    with standard_input(text.encode(), folder):
        assert cli("convert", "-", "new.jsonl").out == "new.jsonl: 81 sentences\n"
    assert cli("convert", "own.md", "other.jsonl").code == 0
    assert Path("new.jsonl").read_text() == Path("other.jsonl").read_text()
    with standard_input(b"go [x](a) ](\n", folder):
        wrong = cli("data", "-")
    assert wrong.code == 3 and wrong.err.startswith("slotfill: standard input")


def test_standard_input_is_divided_as_a_file_is(folder, cli):
    write("own.md", [*LINES, LINES[0]])
    for format, name in ((None, "train.brackets"), ("conll", "train.conll")):
        more = [] if format is None else ["--to", format]
        with standard_input(Path("own.md").read_bytes(), folder):
            assert cli("split", "-", "--out", f"in-{name}", *more).code == 0
        assert cli("split", "own.md", "--out", f"of-{name}", *more).code == 0
        own = f"of-{name}/train.md" if format is None else f"of-{name}/{name}"
        assert Path(f"in-{name}", name).read_bytes() == Path(own).read_bytes()


FILES_ONLY = {
    "cannot be parquet; save it, and give the file or folder": (
        "data - data.format=parquet",
        "convert - new.jsonl --from parquet",
    ),
    "cannot be jointslu; save it": ("check - data.format=jointslu",),
    "cannot be docbin; save it": ("split - --out new --from docbin",),
    "cannot be brat; save it": ("data - data.format=brat",),
    "no such file or folder; this command reads files, and not the standard input": ("init -",),
}
BINARY = {
    b"PAR1\x15\x04": "Parquet, not text; save it as a .parquet file",
    b"x\x9c\xeb\x5c": "compressed by zlib, not text; if it is of spaCy, save it as a .spacy file",
    b"PK\x03\x04\x14\0": "a zip file or a spreadsheet, not text",
}


def test_what_standard_input_cannot_be_is_said_in_one_line(folder, cli):
    for message, commands in FILES_ONLY.items():
        for command in commands:
            with standard_input(LINES[0].encode(), folder):
                result = cli(*command.split())
            assert (result.code, result.err.count("\n")) == (2, 1) and message in result.err
    for content, message in BINARY.items():
        for command in ("data -", "check -", "convert - new.jsonl", "split - --out new"):
            with standard_input(content, folder):
                result = cli(*command.split())
            assert (result.code, result.err.count("\n")) == (3, 1)
            assert result.err.startswith(f"slotfill: standard input: {message}")
    assert not [*folder.glob("new*")]


def test_a_folder_of_splits_is_converted_as_a_whole_or_in_part(folder, cli):
    Path("corpus").mkdir()
    write("corpus/train.md", LINES)
    write("corpus/dev.md", LINES[:5])
    done = cli("convert", "corpus", "new", "--to", "conll")
    assert done.out == "new/train.conll: 80 sentences\nnew/valid.conll: 5 sentences\n"
    assert len(read_sentences("new/train.conll").sentences) == 80
    assert cli("convert", "corpus", "valid.jsonl", "--split", "dev").out == (
        "valid.jsonl: 5 sentences\n"
    )
    for words, message in [
        (["convert", "corpus", "a.jsonl"], "slotfill convert corpus FOLDER --to jsonl"),
        (["convert", "corpus", "a"], "slotfill convert corpus FOLDER --to jsonl"),
        (["convert", "corpus", "a.md", "--split", "vlaid"], "did you mean 'valid'?"),
        (["convert", "corpus", "new", "--to", "conll"], "exists, and nothing is overwritten"),
        (["split", "corpus", "--out", "a"], "slotfill split corpus/train.md --out a"),
    ]:
        result = cli(*words)
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    # Nothing is written if one of the splits cannot be.
    write("corpus/test.md", ["go to [Ber](goal)lin\n"])
    result = cli("convert", "corpus", "other", "--to", "conll")
    assert result.code == 3 and "other/test.conll cannot hold" in result.err
    assert not Path("other").exists()


RASA = """\
version: "3.1"
nlu:
- intent: book
  examples: |
    - fly to [NYC]{"entity": "city", "value": "New York"}
    - fly to [Paris](city) at [10:30](time)
    - go to [London](city) in 5:05 hours
    - book a flight to [Rome](city) at [9:15](time)
- intent: bye
  examples: |
    - see you later
- synonym: New York
  examples: |
    - NYC
    - big apple
- synonym: Mars
  examples: |
    - red planet
- lookup: city
  examples: |
    - Berlin
    - Paris
- lookup: known
  examples: |
    - Paris
    - Rome
- regex: time
  examples: |
    - \\d{1,2}:\\d{2}
    - at \\d+:\\d+
- regex: city
  examples: |
    - Berlin|Madrid
- regex: account
  examples: |
    - \\d{10}
"""


def test_init_takes_over_synonyms_lists_and_patterns_of_rasa(folder, cli):
    write("nlu.yml", [RASA])
    result = cli("init", "nlu.yml", "--out", "my.yaml")
    assert (result.code, result.err) == (0, "")
    assert Path("my.city.csv").read_text(encoding="utf-8") == "New York,NYC,big apple\n"
    assert Path("my.city.txt").read_text(encoding="utf-8") == "Berlin\nParis\n"
    config = Path("my.yaml").read_text(encoding="utf-8")
    for lines in (
        "synonyms:  # what values stand for\n  city: my.city.csv\n",
        "  - ngrams\n  - {name: gazetteer, lists: [my.city.txt]}\n",
        'rules:\n  - {slot: city, pattern: "Berlin|Madrid"}\n',
        '# - {slot: time, pattern: "\\\\d{1,2}:\\\\d{2}"}  # 2 of 3 matches in the training',
    ):
        assert lines in config
    for reason in (
        "synonyms of 1 value are left out, since no slot has 'Mars'\n",
        "the list 'known' is left out, since slots of the training sentences have all of its",
        "regular expressions of no slot are left out: 'account'\n",
    ):
        assert reason in result.out
    assert cli("check", "my.yaml").code == 0
    Path("my.yaml").unlink()
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    result = cli("init", "nlu.yml", "--out", "my.yaml")
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(r"slotfill: my\.city\.\w+: already exists; .*\n", result.err)
    assert before == {path.name: path.read_bytes() for path in Path().iterdir()}


SNIPS = """\
type: entity
name: city
values:
  - [new york, big apple]
  - oslo
---
type: intent
name: book
utterances:
  - fly to [goal:city](oslo)
  - fly to [goal:city](new york)
"""


def test_init_takes_over_values_of_snips(folder, cli):
    write("snips.yaml", [SNIPS])
    result = cli("init", "snips.yaml", "--out", "my.yaml")
    assert (result.code, result.err) == (0, "")
    assert Path("my.goal.csv").read_text(encoding="utf-8") == "new york,big apple\n"
    assert "big apple" in Path("my.city.txt").read_text(encoding="utf-8")
    assert cli("check", "my.yaml").code == 0


def test_a_corpus_of_intents_alone_gets_a_config(folder, cli):
    rows = [f'{{"text": "x {n}", "slots": [], "intent": "{"abc"[n % 3]}"}}\n' for n in range(9)]
    write("intents.jsonl", rows)
    refused = cli("check", "intents.jsonl")
    assert refused.code == 3 and refused.err.endswith(
        "learn their intents alone with intent: attention\n"
    )
    assert cli("init", "intents.jsonl").code == 0
    assert cli("check", "intents.yaml").code == 0
    write("one.jsonl", [row for row in rows if '"a"' in row])
    assert cli("init", "one.jsonl").code == 3


def test_a_split_without_sentences_says_what_to_do(folder, cli):
    write("three.md", ["a [b](x)\n", "c [d](x)\n", "e [f](x)\n"])
    few = cli("split", "three.md", "--out", "new")
    assert (few.code, few.err) == (
        2,
        "slotfill: three.md: of 3 different sentences, valid would get none; raise --valid, or"
        " leave it out with --valid 0\n",
    )
    assert cli("split", "three.md", "--out", "new", "--valid", "0", "--test", "0.34").code == 0
    assert sorted(path.name for path in Path("new").iterdir()) == ["test.md", "train.md"]
