"""What a file has beside its sentences is named, whichever format it has."""

from __future__ import annotations

import json
import re
import sys
from textwrap import dedent

import pytest

from slotfill.config.registry import FORMATS
from slotfill.data.convert import convert_file
from slotfill.data.corpus import read_examples, read_sentences
from slotfill.data.detection import guess_format
from slotfill.data.findings import find_problems
from slotfill.errors import DataError

EXTRA = "zzz"
JSON_FORMATS = (
    "clu",
    "dialogflow",
    "doccano",
    "gliner",
    "jsonl",
    "label_studio",
    "luis",
    "massive",
    "prodigy",
    "spacy",
)


def unread(path, format=None):
    examples = read_examples(path, format=format)
    kinds = ("extra", "not read")
    return [issue.message for each in examples for issue in each.issues if issue.kind in kinds]


def example_rows(name):
    """The JSON values in the documentation of a format."""
    docstring = sys.modules[type(FORMATS.build(name)).__module__].__doc__
    block = dedent("".join(re.findall(r"^    .*\n|^\n", docstring, re.MULTILINE))).strip()
    try:
        return [json.loads(block)]
    except ValueError:
        return [json.loads(line) for line in block.splitlines()]


def objects_in(value):
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects_in(each)


# The keys of these are names of categories.
NAMES = [("spacy", {"flight": 1.0})]


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_every_key_is_read_or_named(name, tmp_path):
    rows = example_rows(name)
    path = tmp_path / "a.json"
    count = sum(1 for row in rows for _ in objects_in(row))
    tried = 0
    for index in range(-1, count):
        rows = example_rows(name)
        if index >= 0:
            one = [each for row in rows for each in objects_in(row)][index]
            if (name, one) in NAMES:
                continue
            one[EXTRA] = "x"
        path.write_text("\n".join(map(json.dumps, rows)))
        if index < 0:
            assert unread(path, name) in ([], ['the key "id", not read'])
            continue
        messages = unread(path, name)
        assert any(EXTRA in message for message in messages), json.dumps(rows)
        tried += 1
    assert tried


def places_in(value):
    """Every object or list in `value`, with each of its keys or indices."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places_in(value[key])


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_every_value_of_a_wrong_type_is_read_or_one_line(name, tmp_path):
    path = tmp_path / "a.json"
    count = sum(1 for row in example_rows(name) for _ in places_in(row))
    for index in range(count):
        for bad in (None, 3, 1.5, "x", [], {}, [None], "\ud83d"):
            rows = example_rows(name)
            parent, key = [place for row in rows for place in places_in(row)][index]
            parent[key] = bad
            path.write_text("\n".join(map(json.dumps, rows)))
            message = f"{path}"
            try:
                read_examples(path, format=name)
            except DataError as error:
                message = str(error)
            assert message.startswith(f"{path}") and "\n" not in message
            assert not re.search("None|Expecting|dict|at at", message), message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"utt": "go", "annot_utt": "go", "id": "1", "scenario": "x", "judgments": [{}]},
            'the keys "id", "scenario", "judgments", not read',
        ),
        (
            {"text": "go", "answer": "accept", "spans": [], "meta": {"source": "x"}},
            'the key "meta", not read',
        ),
        (
            {"id": 0, "text": "go", "label": [], "meta": {"a": 1}, "Comments": ["?"]},
            'the keys "meta", "Comments", not read',
        ),
        (
            {"tokenized_text": ["go"], "ner": [], "ner_negatives": ["city"], "id": 3},
            'the keys "ner_negatives", "id", not read',
        ),
        (
            {"text": "go", "slots": [{"name": "x", "start": 0, "end": 2, "confidence": 0.5}]},
            'the key "slots.confidence", not read',
        ),
        ({"text": "go", "slots": [], "id": None, "note": "", "tags_of_text": []}, None),
    ],
)
def test_other_keys_are_a_loss_of_convert(row, expected, tmp_path, cli):
    source, target = tmp_path / "a.jsonl", tmp_path / "b.csv"
    source.write_text(2 * (json.dumps(row) + "\n"))
    result = cli("convert", source, target)
    if expected is None:
        assert (result.code, result.err) == (0, "")
        return
    assert result.code == 3 and f"{source}:1: {target} cannot hold all of it: {expected}" in (
        result.err
    )
    result = cli("convert", source, target, "--lossy")
    assert result.out == f"{target}: 2 sentences, 2 sentences not complete\n"
    assert result.err == f"slotfill: {source}:1: {expected} (and 1 sentence more)\n"


def test_other_keys_are_a_loss_of_split(tmp_path, cli):
    source = tmp_path / "a.jsonl"
    rows = ({"text": f"go {n}", "slots": [], "intent": "go", "id": n} for n in range(20))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = cli("split", source, "--out", tmp_path / "b", "--to", "gliner")
    assert 'the key "id", not read' in result.err
    assert cli("split", source, "--out", tmp_path / "a").code == 0, "JSON lines have them"
    assert '"id": ' in (tmp_path / "a" / "train.jsonl").read_text()
    result = cli("split", source, "--out", tmp_path / "b", "--to", "gliner", "--lossy")
    lines = [line.partition(": ")[2].partition(": ")[2] for line in result.err.splitlines()]
    assert lines == [
        'the key "id", not read (and 19 sentences more)',
        "the intent 'go' is lost (and 19 sentences more)",
    ]


def test_keys_beside_the_sentences_are_named(tmp_path):
    contents = {
        "clu.json": {
            "stringIndexType": "Utf16CodeUnit",
            "metadata": {"projectKind": "Conversation", "description": "x"},
            "assets": {
                "entities": [{"category": "c", "list": {"sublists": [{}]}}],
                "utterances": [{"text": "go", "intent": "x", "dataset": "Train"}],
            },
        },
        "luis.json": {
            "luis_schema_version": "7.0.0",
            "patterns": [{"pattern": "go {x}"}],
            "phraselists": [],
            "utterances": [{"text": "go", "intent": "x"}],
        },
        "rasa.json": {"rasa_nlu_data": {"common_examples": [{"text": "go"}], "x": 1}},
        "snips.json": {
            "language": "en",
            "intents": {"x": {"utterances": [{"data": [{"text": "go"}]}], "slots": [1]}},
            "entities": {"city": {"use_synonyms": True}},
        },
        "cx.json": {"displayName": "x", "trainingPhrases": [{"parts": [{"text": "go"}]}], "p": 1},
    }
    expected = {
        "clu.json": '"metadata.description", "assets.entities.list"',
        "luis.json": '"patterns"',
        "rasa.json": '"rasa_nlu_data.x"',
        "snips.json": '"language", "intents.x.slots"',
        "cx.json": '"p"',
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
        plural = "s" * ("," in expected[name])
        assert unread(tmp_path / name) == [f"the key{plural} {expected[name]}, not read"], name


def test_keys_beside_the_examples_of_yaml_are_named(tmp_path):
    (tmp_path / "a.yml").write_text(
        "nlu:\n- intent: go\n  use_entities: [x]\n  examples:\n  - text: go\n    metadata: 1\n"
        "stories: []\nresponses: {a: b}\n"
    )
    assert unread(tmp_path / "a.yml") == [
        'the keys "use_entities", "examples.metadata", not read',
        'the keys "stories", "responses", not read',
    ]
    (tmp_path / "b.yaml").write_text(
        "type: intent\nname: a\nslots:\n- name: to\n  entity: city\nutterances:\n- '[to](Rome)'\n"
        "---\ntype: entity\nname: city\nmatching_strictness: 0.8\n"
    )
    assert unread(tmp_path / "b.yaml") == [
        "the entity 'city' of slot 'to'",
        'the key "matching_strictness", not read',
    ]


def test_keys_beside_the_sentences_of_one_split_are_named(tmp_path):
    rows = [{"text": "a", "dataset": "Train"}, {"text": "b", "dataset": "Test", "note": "x"}]
    content = {"projectKind": "x", "stringIndexType": "x", "assets": {"utterances": rows}}
    content["stringIndexType"] = "Utf16CodeUnit"
    (tmp_path / "a.json").write_text(json.dumps(content | {"other": 1}))
    (example,) = read_examples(tmp_path / "a.json", split="test")
    assert [issue.message for issue in example.issues] == [
        'the key "note", not read',
        'the key "other", not read',
    ]


def test_other_files_of_a_folder_are_named(tmp_path, cli):
    folder = tmp_path / "notes"
    (folder / "old").mkdir(parents=True)
    for name, text in {
        "a.txt": "to Rome\n",
        "a.ann": "T1\tcity 3 7\tRome\n",
        "b.txt": "go\n",
        "c.ann": "T1\tcity 0 4\tOslo\n",
        "d.jsonl": '{"text": "go", "slots": []}\n',
        ".hidden": "x",
        "README.md": "x",
        "old/e.txt": "x",
    }.items():
        (folder / name).write_text(text)
    assert guess_format(folder) == "brat"
    result = cli("convert", folder, tmp_path / "b.jsonl")
    place = f"{folder / 'a.txt'}:1"
    message = 'the files "c.ann", "d.jsonl", "old", not read by brat'
    assert result.code == 3
    assert f"{place}: {tmp_path}/b.jsonl cannot hold all of it: {message}" in result.err
    result = cli("convert", folder, tmp_path / "b.jsonl", "--lossy")
    assert result.out == f"{tmp_path}/b.jsonl: 2 sentences, 1 sentence not complete\n"
    assert result.err == f"slotfill: {place}: {message}\n"
    assert message in cli("check", f"data.path={folder}", "data.holdout=0").out
    (finding,) = [
        each
        for each in find_problems({"train": read_sentences(folder, labelled=False)})
        if each.kind == "left-out"
    ]
    assert message in finding.message and not finding.is_usual


def test_the_folder_of_jointslu_may_have_other_files(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for name in ("seq.in", "seq.out", "label", "label.bak"):
        (folder / name).write_text("O\n")
    assert unread(folder) == ['the file "label.bak", not read by jointslu']


def test_texts_without_words_are_a_loss_of_convert(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "go", "slots": []}\n{"text": " ", "id": 3}\n')
    _, losses = convert_file(tmp_path / "a.jsonl", tmp_path / "b.csv", lossy=True)
    assert [(each.location, each.message) for each in losses] == [
        (f"{tmp_path}/a.jsonl:2", "the text has no words")
    ]


def test_what_was_written_has_nothing_unread(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "to Rome", "intent": "go", "slots": [{"name": "city", "start": 3, "end": 7}]}\n'
    )
    for name in ("clu", "csv", "jsonl", "label_studio", "rasa", "spacy", "brackets"):
        target = tmp_path / f"{name}.out"
        convert_file(tmp_path / "a.jsonl", target, to_format=name)
        assert unread(target, name) == []
