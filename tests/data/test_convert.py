"""Conversion between formats: information that is lost is always reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.data.convert import convert_file
from slotfill.data.corpus import read_sentences, read_texts
from slotfill.data.formats.jsonl import Jsonl
from slotfill.errors import DataError, UsageError

CONLL = "St.\tB-city\nLouis\tI-city\n\n$5\tB-x\nnow\tO\n\n"


def test_tokens_survive_conversion_to_jsonl_and_back(tmp_path):
    (tmp_path / "a.conll").write_text(CONLL)
    convert_file(tmp_path / "a.conll", tmp_path / "b.jsonl")
    row = json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])
    assert row == {"text": "St. Louis", "tokens": ["St.", "Louis"], "tags": ["B-city", "I-city"]}
    convert_file(tmp_path / "b.jsonl", tmp_path / "c.conll")
    assert (tmp_path / "c.conll").read_text() == CONLL


@pytest.mark.parametrize(
    ("name", "text", "target", "message"),
    [
        ("a.md", "pay [$5](x) now\n", "b.conll", "the text 'pay $5 now' becomes 'pay $ 5 now'"),
        ("a.md", "a  b\n", "b.conll", "the text 'a  b' becomes 'a b'"),
        ("a.jsonl", '{"text": "go"}\n', "b.md", "it is unlabelled, and becomes labelled"),
        (
            "a.conll",
            "New York\tB-x\n",
            "b.md",
            "the tokens ['New York'] become ['New', 'York']",
        ),
        (
            "a.conll",
            "St.\tB-x\nLouis\tI-x\n",
            "b.brackets",
            "the tokens ['St.', 'Louis'] become ['St', '.', 'Louis']; --tokenizer whitespace keeps"
            " them",
        ),
    ],
)
def test_information_loss_is_an_error_without_lossy(name, text, target, message, tmp_path):
    source, target = tmp_path / name, tmp_path / target
    source.write_text(text)
    with pytest.raises(DataError) as error:
        convert_file(source, target)
    assert f"{source}:1: {target} cannot hold all of it: {message}" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    _, losses = convert_file(source, target, lossy=True)
    assert len(losses) == 1 and losses[0].message.startswith(message) and target.exists()


def test_every_loss_of_a_sentence_is_listed(tmp_path, cli):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "pay $0", "intent": "pay", "id": 7, "slots": [{"name": "x", "start": 4, "end": 6,'
        ' "resolved": "free"}]}\n'
    )
    result = cli("convert", tmp_path / "a.jsonl", tmp_path / "b", "--to", "gliner")
    assert result.code == 3 and result.err.count("\n") == 1 and "(and 3 more)" in result.err
    result = cli("convert", tmp_path / "a.jsonl", tmp_path / "b", "--to", "gliner", "--lossy")
    assert result.out.endswith("1 sentence, 1 sentence not complete\n")
    assert [line.partition(":1: ")[2] for line in result.err.splitlines()] == [
        'the key "id", not read',
        "the text 'pay $0' becomes 'pay $ 0'",
        "the intent 'pay' is lost",
        "the slots x ('$0', resolved 'free') become x ('$0')",
    ]


@pytest.mark.parametrize("target", ["b.brackets", "b.csv", "b.conll", "b.label_studio.json"])
@pytest.mark.parametrize(
    "row",
    [
        {"text": "a\0b"},
        {"text": "ab", "intent": "\0"},
        {"text": "ab", "slots": [{"name": "\0", "start": 0, "end": 2}]},
    ],
    ids=["text", "intent", "slot"],
)
def test_a_nul_is_refused_by_files_of_text(row, target, tmp_path):
    rows = [{"text": "fine", "slots": []}, {"slots": [], **row}]
    source = tmp_path / "a.jsonl"
    source.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    if "json" in target or ("csv" in target and "slots" in row):  # Its slots are JSON.
        convert_file(source, tmp_path / target, lossy=True)
        return
    with pytest.raises(DataError) as raised:
        convert_file(source, tmp_path / target, lossy=True)
    assert str(raised.value).startswith(f"{source}:2: ")
    assert str(raised.value).endswith("cannot hold it; write jsonl")


def test_an_intent_called_none_can_be_lost(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "go", "intent": "none", "slots": []}\n')
    with pytest.raises(DataError, match="the intent 'none' is lost"):
        convert_file(tmp_path / "a.jsonl", tmp_path / "b", to_format="gliner")


def test_labelled_sentences_must_not_become_unlabelled(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "go", "slots": []}\n')
    monkeypatch.setattr(Jsonl, "render", lambda *_, **__: '{"text": "go"}\n')
    with pytest.raises(DataError, match="it is labelled, and becomes unlabelled"):
        convert_file(tmp_path / "a.jsonl", tmp_path / "b.jsonl")


def test_known_values_beside_the_sentences_are_a_loss(tmp_path):
    (tmp_path / "a.yml").write_text(
        "nlu:\n- intent: go\n  examples: |\n    - go to [Oslo](city)\n"
        "- lookup: city\n  examples: |\n    - Rome\n"
    )
    _, losses = convert_file(tmp_path / "a.yml", tmp_path / "b.jsonl", lossy=True)
    assert [each.message for each in losses] == [
        "its synonyms, lists of values and regular expressions"
    ]


def test_tokens_between_spaces_survive_conversion_to_text_with_that_tokenizer(tmp_path):
    (tmp_path / "a.conll").write_text(CONLL)
    convert_file(tmp_path / "a.conll", tmp_path / "b.brackets", tokenizer="whitespace")
    convert_file(tmp_path / "b.brackets", tmp_path / "c.conll", tokenizer="whitespace")
    assert (tmp_path / "c.conll").read_text() == CONLL


@pytest.mark.parametrize("target", ["b.conll", "folder"])
def test_labelled_and_unlabelled_sentences_cannot_be_mixed(target, tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "go", "slots": []}\n{"text": "fly"}\n')
    with pytest.raises(DataError) as error:
        convert_file(source, tmp_path / target, to_format="conll" if "." in target else "jointslu")
    expected = f"{source}:2: not labelled, though {source}:1 is; write jsonl, or label all or none"
    assert str(error.value) == expected
    assert not (tmp_path / target).exists()


def test_an_unknown_scheme_of_the_target_is_wrong_use(tmp_path):
    (tmp_path / "a.conll").write_text(CONLL)
    with pytest.raises(UsageError, match="unknown tag scheme 'boi'"):
        convert_file(tmp_path / "a.conll", tmp_path / "b.jsonl", to_scheme="boi")


@pytest.mark.parametrize(
    ("name", "text", "texts"),
    [
        ("a.jsonl", '{"text": "fly to Rome", "label": [[7, 11, "city"]]}\n', ["fly to Rome"]),
        ("a.jsonl", '{"tokens": ["St.", "Ives"]}\n', ["St. Ives"]),
        ("a.conll", CONLL, ["St. Louis", "$5 now"]),
        ("a.brackets", "to [Oslo](city)\n", ["to Oslo"]),
        ("a.txt", "to [Oslo](city)\n\nnow", ["to [Oslo](city)", "", "now"]),
        ("a", "fly\rnow\r", ["fly", "now"]),
    ],
)
def test_texts_to_predict_are_read_by_the_name_of_the_file(name, text, texts, tmp_path):
    (tmp_path / name).write_bytes(text.encode())
    assert [each.text for each in read_texts(tmp_path / name)] == texts
    assert [each.text for each in read_texts(tmp_path / name, "text")] == text.replace(
        "\r", "\n"
    ).split("\n")[: None if name == "a.txt" else -1]


def test_only_keys_that_the_target_cannot_hold_are_lost(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    row = {"sentence": "wake me at five", "sentence_annotation": "wake me at [time : five]"}
    row |= {"slurp_id": 1, "intent": "alarm", "tokens": [], "recordings": []}
    Path("slurp.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert cli("convert", "slurp.jsonl", "a.jsonl").code == 0
    assert json.loads(Path("a.jsonl").read_text(encoding="utf-8"))["slurp_id"] == 1
    result = cli("convert", "slurp.jsonl", "b.brackets")
    assert result.code == 3 and 'cannot hold all of it: the key "slurp_id", not read' in result.err
    result = cli("convert", "slurp.jsonl", "-", "--to", "jsonl")
    message = "slotfill: -: give the name of a file or folder to write\n"
    assert (result.code, result.out, result.err) == (2, "", message)
    assert {path.name for path in Path().iterdir()} == {"slurp.jsonl", "a.jsonl"}


def test_slots_inside_tokens_are_converted_by_key(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    Path("a.brackets").write_text("one caf[e](x)\u0301 [ Rome](city)\n", encoding="utf-8")
    result = cli("convert", "a.brackets", "b.jsonl", "--lossy")
    assert (result.code, "(convert: --misaligned) to widen or skip" in result.err) == (3, True)
    assert cli("convert", "a.brackets", "b.jsonl", "--misaligned", "widen").code == 3
    for misaligned, values in (("widen", ["caf\u0065\u0301", "Rome"]), ("skip", [])):
        target = f"{misaligned}.jsonl"
        words = ("a.brackets", target, "--misaligned", misaligned, "--lossy")
        result = cli("convert", *words)
        assert result.code == 0 and result.err.count("slotfill: a.brackets:1: slot '") == 2
        row = json.loads(Path(target).read_text(encoding="utf-8"))
        assert [slot["value"] for slot in row["slots"]] == values


@pytest.mark.parametrize("name", ["a.conll", "texts", "folder", "a.brackets", "a.txt"])
def test_half_labelled_sentences_are_written_without_the_others(name, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    rows = [{"text": "to Rome", "slots": [{"name": "city", "value": "Rome"}], "intent": "go"}]
    rows += [{"text": "hello", "intent": "hi"}]
    Path("half.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    formats = {"folder": "jointslu", "a.txt": "token_tag", "texts": "brat"}
    words = ("convert", "half.jsonl", name, "--to", formats.get(name, "auto"))
    assert cli(*words).code == 3
    result = cli(*words, "--lossy")
    assert result.code == 0, result.err
    assert result.out.rstrip().split(", ")[0] == f"{name}: 1 sentence"
    assert "half.jsonl:2: the sentence has no labels, and is left out\n" in result.err
    back = read_texts_and_slots(Path(name), formats.get(name))
    assert back == [("to Rome", [("city", "Rome")])]


def read_texts_and_slots(path, format):
    """Return the sentences of a file as texts with the names and values of their slots."""
    reading = read_sentences(path, format=format, keep_tokens=True)
    return [
        (each.text, [(slot.name, each.value(slot)) for slot in each.slots])
        for each in reading.sentences
    ]


def test_a_scheme_is_refused_where_there_are_no_tags(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    Path("a.brackets").write_text("to [Rome](city)\n")
    Path("a.conll").write_text("to\tO\nRome\tS-city\n\n")
    for words, option in (("a.brackets b.conll", "--scheme"), ("a.conll b.md", "--to-scheme")):
        result = cli("convert", *words.split(), option, "bioes")
        without = next(word for word in words.split() if "conll" not in word)
        message = f"{without}: brackets has no tags, so leave out {option} bioes"
        assert (result.code, result.err) == (2, f"slotfill: {message}\n")
    options = ("--scheme", "bioes", "--to-scheme", "bilou")
    assert cli("convert", "a.conll", "c.jsonl", *options).code == 0
    assert '"U-city"' in Path("c.jsonl").read_text()
