"""data, split and init: what users do with sentences before they train."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from slotfill.data.corpus import read_sentences
from slotfill.data.findings import KINDS

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


def report(cli, *words):
    result = cli("data", *words, "--json")
    assert (result.code, result.err) == (0, "")
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
    assert result.code == 0 and result.out.count("slot 'goal' ('Tow') cuts the token") >= 30
    for line in range(81, 111):
        assert f"  own.md:{line}: slot 'goal'" in result.out


def test_check_prints_the_line_of_each_problem(folder, cli):
    write("own.md", LINES + [line for lines in MISTAKES.values() for line in lines])
    problems = [each for each in report(cli, "own.md")["findings"] if not each["is_usual"]]
    lines = cli("check", "data.path=own.md", "data.holdout=0").out.splitlines()
    assert [line.partition(": warning: ")[2] for line in lines[1:-1]] == [
        each["message"] for each in problems
    ]


def test_page_has_every_place_and_escapes_texts(folder, cli):
    write("own.md", [*LINES, "<script>alert(1)</script> [a&b](goal)\n", "a [b](<i>)\n", LINES[3]])
    assert cli("data", "own.md", "--html", "own.html").code == 0
    page = Path("own.html").read_text(encoding="utf-8")
    assert "<i>)" not in page and "alert(1)</script>" not in page and "own.md:83" in page
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
    assert "too few" in cli("split", "few.md", "--out", "c").err
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
    assert cli("check", "configs/own.yaml").code == 0
    assert cli("init", name, "--out", "configs/own.yaml").code == 2
