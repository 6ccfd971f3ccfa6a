"""Sentences without labels or without words are left out, counted and listed, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.data.corpus import read_sentences, read_texts
from slotfill.data.findings import find_left_out
from slotfill.errors import DataError


def lines(*rows: object) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def labels(text: str, labels: str, key: str = "labels") -> dict[str, object]:
    """Return a task of Label Studio."""
    region = {"start": 3, "end": 7, "labels": [labels]}
    result = [{"from_name": "l", "type": key, "value": region}]
    return {"data": {"text": text}, "annotations": [{"result": result}]}


# The name of a file, and its content: "to Rome" with a slot, "hello" without labels, and no words.
HALF_LABELLED = {
    "a.jsonl": lines(
        {"text": "to Rome", "slots": [{"name": "city", "start": 3, "end": 7}]},
        {"text": "hello"},
        {"text": " ", "slots": []},
    ),
    "tokens.jsonl": lines(
        {"tokens": ["to", "Rome"], "tags": ["O", "B-city"]},
        {"tokens": ["hello"]},
        {"tokens": [], "tags": []},
    ),
    "a.csv": (
        'text,slots\nto Rome,"[{""name"": ""city"", ""start"": 3, ""end"": 7}]"\nhello,\n ,[]\n'
    ),
    "doccano.jsonl": lines(
        {"id": 1, "text": "to Rome", "label": [[3, 7, "city"]]},
        {"id": 2, "text": "hello"},
        {"id": 3, "text": "", "label": []},
    ),
    "prodigy.jsonl": lines(
        {
            "text": "to Rome",
            "spans": [{"start": 3, "end": 7, "label": "city"}],
            "answer": "accept",
        },
        {"text": "hello", "answer": "accept"},
        {"text": "\n", "spans": [], "answer": "accept"},
    ),
    "gliner.jsonl": lines(
        {"tokenized_text": ["to", "Rome"], "ner": [[1, 1, "city"]]},
        {"tokenized_text": ["hello"]},
        {"tokenized_text": [], "ner": []},
    ),
    "label_studio.json": json.dumps(
        [
            labels("to Rome", "city"),
            {"data": {"text": "hello"}, "annotations": []},
            {"data": {"text": "\u200b"}, "annotations": []},
        ],
        indent=0,
    ),
}


@pytest.mark.parametrize("name", HALF_LABELLED)
def test_half_labelled_files_are_read(name, tmp_path):
    path = tmp_path / name
    path.write_text(HALF_LABELLED[name], encoding="utf-8")
    result = read_sentences(path)
    (sentence,) = result.sentences
    assert (sentence.text, [sentence.value(slot) for slot in sentence.slots]) == (
        "to Rome",
        ["Rome"],
    )
    (unlabelled,), (blank,) = result.issues("unlabelled"), result.issues("no words")
    assert unlabelled.message == "no labels: 'hello'"
    assert unlabelled.location.startswith(f"{path}:") and blank.location.startswith(f"{path}:")
    assert [finding.message.partition(",")[0] for finding in find_left_out({"a": result})] == [
        "a: 1 unlabelled sentence is left out",
        "a: 1 text without words is left out",
    ]
    with pytest.raises(DataError, match=r"no labels: 'hello' \(and 1 more\)$"):
        read_sentences(path, strict=True)
    # Without labels to learn from or to score on, only texts without words are left out.
    result = read_sentences(path, labelled=False)
    assert [sentence.text for sentence in result.sentences] == ["to Rome", "hello"]
    # A text without words has a prediction too: one for each sentence of the file, in order.
    texts = [each.text for each in read_texts(path)]
    assert texts[:2] == ["to Rome", "hello"] and len(texts) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yml", "nlu:\n- intent: a\n  examples: |\n    - to [Rome](city)\n    -\n"),
        ("a.yaml", "type: intent\nname: a\nutterances:\n- to [city](Rome)\n- ''\n"),
        (
            "a_usersays_en.json",
            json.dumps([{"data": [{"text": "to Rome", "userDefined": False}]}, {"data": []}]),
        ),
        ("a/seq.in", "to Rome\n \n"),
    ],
)
def test_an_example_without_words_is_left_out(name, content, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    if name == "a/seq.in":
        Path(tmp_path, "a", "seq.out").write_text("O O\n\n", encoding="utf-8")
        path = path.parent
    result = read_sentences(path)
    assert [sentence.text for sentence in result.sentences] == ["to Rome"]
    assert len(result.issues("no words")) == 1


def test_a_slot_of_a_text_without_words_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines({"text": "", "slots": [{"name": "a", "start": 0, "end": 3}]}))
    with pytest.raises(DataError, match=":1: slot 'a' from 0 to 3 is not in the text"):
        read_sentences(path)


def test_what_was_left_out_of_sentences_without_labels_is_still_listed(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": "a", "answer": "accept"}, {"text": "b", "spans": [], "answer": "reject"}]
    path.write_text(lines({"text": "c", "spans": [], "answer": "accept"}, *rows), encoding="utf-8")
    result = read_sentences(path)
    assert [issue.location for issue in result.issues("left out")] == [f"{path}:3"]
