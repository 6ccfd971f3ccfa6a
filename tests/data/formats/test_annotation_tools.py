"""Files of annotation tools and of Azure: label_studio, brat, clu and luis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.config.registry import FORMATS
from slotfill.config.sections import DataConfig
from slotfill.data.corpus import read_examples, read_sentences, read_texts, write_sentences
from slotfill.data.detection import guess_format
from slotfill.data.folders import list_file_splits
from slotfill.data.sentence import Confidence, Sentence, Slot
from slotfill.data.splits import read_split, split_names
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError, UsageError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "formats"


def read(path, content, **options):
    """Write a file, and return its sentences, read by the format that is detected."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode())
    return read_sentences(path, labelled=False, **options).sentences


def summary(sentence):
    """The text, the slots with their values, and the intent of a sentence."""
    slots = sentence.slots
    found = None if slots is None else [(slot.name, sentence.value(slot)) for slot in slots]
    return sentence.text, found, sentence.intent


def messages(sentence, kind="left out"):
    return [issue.message for issue in sentence.issues if issue.kind == kind]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the example files in ../shared/formats")
@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        (
            "label-studio.json",
            "label_studio",
            ("✈ leave Taipei on November 2nd", [("origin", "Taipei")], "book_flight"),
        ),
        (
            "label-studio-min.json",
            "label_studio",
            ("leave Taipei", [("origin", "Taipei")], "book_flight"),
        ),
        (
            "brat.txt",
            "brat",
            (
                "leave Taipei on November 2nd",
                [("origin", "Taipei"), ("date", "November 2nd")],
                None,
            ),
        ),
        ("clu.json", "clu", ("leave Taipei", [("origin", "Taipei")], "book_flight")),
        ("luis.json", "luis", ("leave Taipei", [("city.origin", "Taipei")], "book_flight")),
    ],
)
def test_example_files_are_detected_and_read(name, format, expected):
    assert guess_format(SHARED / name) == format
    assert [summary(each) for each in read_sentences(SHARED / name).sentences] == [expected]


# Label Studio


def region(start, end, text, *labels, **keys):
    value = {"start": start, "end": end, "text": text, "labels": list(labels)}
    return {"from_name": "label", "to_name": "text", "type": "labels", "value": value, **keys}


def choose(*choices, name="intent"):
    return {"from_name": name, "type": "choices", "value": {"choices": list(choices)}}


def task(text, *annotations, **keys):
    return {"id": 1, "data": {"text": text}, "annotations": list(annotations), **keys}


def test_label_studio_reads_the_latest_annotation_that_is_not_cancelled(tmp_path):
    old = {"completed_by": 1, "updated_at": "2026-01-01", "result": [region(3, 7, "Rome", "old")]}
    new = {"completed_by": 2, "updated_at": "2026-03-01", "result": [region(3, 7, "Rome", "new")]}
    bad = {
        "completed_by": {"id": 3, "email": "c@d.e"},
        "was_cancelled": True,
        "updated_at": "2026-04-01",
        "result": [],
    }
    for order in ([old, new, bad], [bad, new, old]):
        (sentence,) = read(tmp_path / "a.json", [task("to Rome", *order)])
        assert summary(sentence) == ("to Rome", [("new", "Rome")], None)
        assert sorted(messages(sentence)) == [
            "a cancelled annotation by annotator 3",
            "another annotation by annotator 1",
        ]
    by_nobody = {"name": "label_studio", "annotator": 9}
    with pytest.raises(DataError, match=r"no annotation by annotator 9; there are: 1, 2"):
        read(tmp_path / "a.json", [task("to Rome", old, new)], format=by_nobody)
    by_one = {"name": "label_studio", "annotator": 1}
    (sentence,) = read(tmp_path / "a.json", [task("to Rome", old, new)], format=by_one)
    assert summary(sentence) == ("to Rome", [("old", "Rome")], None)
    old["ground_truth"] = True
    (sentence,) = read(tmp_path / "a.json", [task("to Rome", old, new)])
    assert summary(sentence) == ("to Rome", [("old", "Rome")], None)


# What Label Studio adds to each task of an export on its own.
TASK_RECORD = {
    "inner_id": 1, "project": 2, "file_upload": "a.json", "updated_by": 1, "allow_skip": True,
    "created_at": "2026-01-01", "updated_at": "2026-01-01", "total_annotations": 1,
    "cancelled_annotations": 0, "total_predictions": 0, "comment_count": 0,
    "unresolved_comment_count": 0, "comment_authors": [], "drafts": [], "predictions": [],
}  # fmt: skip
ANNOTATION_RECORD = {
    "id": 7, "unique_id": "ab-cd", "task": 5, "project": 2, "updated_by": 1, "lead_time": 3.5,
    "created_at": "2026-01-01", "updated_at": "2026-01-01", "draft_created_at": "2026-01-01",
    "result_count": 1, "prediction": {}, "was_cancelled": False, "ground_truth": False,
    "bulk_created": False, "last_action": None,
}  # fmt: skip


def export(**keys):
    results = [region(3, 7, "Rome", "city", id="x1", origin="manual")]
    annotation = {**ANNOTATION_RECORD, "completed_by": 4, "result": results}
    return task("to Rome", annotation, **TASK_RECORD, **keys)


def test_convert_names_what_label_studio_knows_of_a_sentence_and_not_its_bookkeeping(tmp_path, cli):
    source = tmp_path / "a.json"
    source.write_text(json.dumps([export()]))
    assert cli("convert", source, tmp_path / "b.jsonl").code == 0
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {
        "text": "to Rome",
        "slots": [{"name": "city", "value": "Rome", "start": 3, "end": 7}],
        "id": 1,
        "completed_by": 4,
    }
    assert (
        cli("convert", tmp_path / "b.jsonl", tmp_path / "c.json", "--to", "label_studio").code == 0
    )
    (item,) = json.loads((tmp_path / "c.json").read_text())
    assert (item["data"], item["annotations"][0]["completed_by"]) == ({"text": "to Rome"}, 4)
    result = cli("convert", source, tmp_path / "d.conll")
    assert (
        result.code == 3
        and 'cannot hold all of it: the key "completed_by", not read;' in result.err
    )
    min_row = {"text": "to Rome", "label": [{"start": 3, "end": 7, "labels": ["city"]}]}
    min_row |= {"id": 1, "annotator": 4, "annotation_id": 7, "lead_time": 3.5, "created_at": "2026"}
    source.write_text(json.dumps([min_row]))
    assert cli("convert", source, tmp_path / "e.jsonl").code == 0
    assert (tmp_path / "e.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    source.write_text(json.dumps([export() | {"drafts": [{"id": 1}]}]))
    result = cli("convert", source, tmp_path / "f.jsonl")
    assert result.code == 3 and 'cannot hold all of it: the key "drafts", not read;' in result.err


def test_label_studio_tasks_keep_their_annotations_beside_predictions(tmp_path):
    item = export()
    item["data"]["topic"] = "travel"
    item["predictions"] = [
        {"model_version": "slotfill", "result": []},
        {"model_version": "other", "result": []},
    ]
    (tmp_path / "a.json").write_text(json.dumps([item]))
    (example,) = read_texts(tmp_path / "a.json")
    sentence = Tokenizer("words").tokenize(example.text)
    sentence.slots, sentence.extra = [Slot("place", 1, 2)], example.extra
    sentence.confidence = Confidence([0.9], 0.8)
    written = json.loads(FORMATS.build("label_studio").render(sentence, scheme="iob2"))
    for key in ("id", "data", "annotations"):
        assert written[key] == item[key]
    versions = [(each["model_version"], len(each["result"])) for each in written["predictions"]]
    assert versions == [("other", 0), ("slotfill", 1)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.jsonl",
            {"id": 1, "text": "to Rome", "entities": [{"id": 5, "label": "city", "start_offset": 3,
             "end_offset": 7, "created_at": "2026"}], "relations": [], "Comments": []},
        ),
        (
            "b.jsonl",
            {"text": "to Rome", "answer": "accept", "_input_hash": 1, "_task_hash": -2,
             "_view_id": "ner_manual", "_timestamp": 1, "tokens": [{"text": "to", "id": 0}],
             "spans": [{"start": 3, "end": 7, "label": "city", "token_start": 1, "token_end": 1}]},
        ),
        (
            "c_usersays_en.json",
            [{"id": "a", "count": 2, "updated": 1, "isTemplate": False, "data": [{"text": "to "},
             {"text": "Rome", "alias": "city", "meta": "@sys.geo-city", "userDefined": True}]}],
        ),
        (
            "d.json",
            {"name": "x", "displayName": "go", "priority": 500000, "numTrainingPhrases": 1,
             "parameters": [{"id": "city", "entityType": "sys.geo-city", "isList": False}],
             "trainingPhrases": [{"id": "a", "repeatCount": 1, "languageCode": "en", "parts":
             [{"text": "to "}, {"text": "Rome", "parameterId": "city"}]}]},
        ),
        (
            "e.json",
            {"projectFileVersion": "2023-04-01", "stringIndexType": "Utf16CodeUnit", "metadata":
             {"projectKind": "Conversation", "settings": {"confidenceThreshold": 0}, "language":
             "en-us", "multilingual": False}, "assets": {"intents": [{"category": "go"}],
             "entities": [{"category": "city", "compositionSetting": "combineComponents"}],
             "utterances": [{"text": "to Rome", "intent": "go", "language": "en-us", "entities":
             [{"category": "city", "offset": 3, "length": 4}]}]}},
        ),
        (
            "f.json",
            {"luis_schema_version": "7.0.0", "versionId": "0.1", "name": "a", "desc": "",
             "culture": "en-us", "tokenizerVersion": "1.0.0", "settings": [{"name": "a"}],
             "intents": [{"name": "go", "features": []}], "closedLists": [], "entities": [{"name":
             "city", "roles": [], "children": [], "features": []}], "utterances": [{"text":
             "to Rome", "intent": "go", "entities":
             [{"entity": "city", "startPos": 3, "endPos": 6, "children": []}]}]},
        ),
    ],
)  # fmt: skip
def test_an_ordinary_export_becomes_json_lines_without_lossy(name, content, tmp_path, cli):
    (tmp_path / name).write_text(json.dumps(content))
    result = cli("convert", tmp_path / name, tmp_path / "out.jsonl")
    assert (result.code, result.err) == (0, "")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["slots"] == [{"name": "city", "value": "Rome", "start": 3, "end": 7}]


def test_convert_takes_the_options_of_a_format(tmp_path, cli):
    annotations = [
        {"completed_by": user, "result": [region(3, 7, "Rome", f"by_{user}")]} for user in (1, 2)
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([task("to Rome", *annotations)]), encoding="utf-8")
    options = "--from", "{name: label_studio, annotator: 1}", "--lossy"
    assert cli("convert", path, tmp_path / "b.brackets", *options).code == 0
    assert (tmp_path / "b.brackets").read_text(encoding="utf-8") == "to [Rome](by_1)\n"
    result = cli("convert", path, tmp_path / "c.brackets", "--from", "{name: label_studio, a: 1}")
    assert result.code == 2 and "data.format.a: unknown key" in result.err


def test_label_studio_offsets_in_other_units_are_corrected(tmp_path):
    results = [region(6, 10, "Rome", "city"), region(14, 18, "Oslo", "city")]
    (sentence,) = read(tmp_path / "a.json", [task("👍🏽 Rome\r\nto Oslo", {"result": results})])
    assert summary(sentence)[1] == [("city", "Rome"), ("city", "Oslo")]
    (sentence,) = read(
        tmp_path / "b.json", [task("a\r\nRome", {"result": [region(2, 6, "Rome", "c")]})]
    )
    assert summary(sentence)[1] == [("c", "Rome")]
    assert messages(sentence, "corrected offset") == [
        "slot 'c' ('Rome'): 2 to 6 read as 3 to 7 (line ends of one character)"
    ]


def test_label_studio_lists_what_it_leaves_out(tmp_path):
    results = [
        region(3, 7, "Rome", "city", "place"),
        region(0, 2, "to"),
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": "rating", "from_name": "stars", "value": {"rating": 3}},
        region(3, 7, "Rome", "town", meta={"text": ["sure?"]}),
        choose("go", "fly"),
        choose("good", name="mood"),
    ]
    item = task("to Rome", {"result": results}, predictions=[{"result": []}])
    item["data"]["source"] = "web"
    (sentence,) = read(tmp_path / "a.json", [item])
    assert summary(sentence) == ("to Rome", [("city", "Rome")], "go#fly")
    assert messages(sentence) == [
        "a region without a label ('to')",
        "relation",
        "rating 'stars'",
        "choices 'mood'",
    ]
    assert len(messages(sentence, "overlap")) == 2


def test_label_studio_choices_of_any_name_are_the_intent_if_they_are_the_only_ones(tmp_path):
    tasks = [task("go", {"result": [choose("a", name="topic")]}), task("fly", {"result": []})]
    assert [summary(each) for each in read(tmp_path / "a.json", tasks)] == [
        ("go", [], "a"),
        ("fly", [], None),
    ]


def test_label_studio_tasks_without_an_annotation_are_unlabelled(tmp_path):
    tasks = [
        {"data": {"text": "go"}},
        task("fly", {"was_cancelled": True, "result": [], "completed_by": 1}),
        task("to Rome", {"result": []}),
    ]
    sentences = read(tmp_path / "a.json", tasks)
    assert [sentence.slots for sentence in sentences] == [None, None, []]
    result = read_sentences(tmp_path / "a.json")
    assert [sentence.text for sentence in result.sentences] == ["to Rome"]
    assert len(result.issues("unlabelled")) == 2


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"image": "https://example.org/a.jpg"}, '"image" ("https://example.org/a.jpg")'),
        ({"image": "/data/upload/1/a b.jpg?x"}, None),
        ({"audio": "s3://bucket/a.wav"}, '"audio" ("s3://bucket/a.wav")'),
        ({"video": "clip.mp4", "id": 3}, '"video" ("clip.mp4")'),
        ({"text": "https://example.org/a.txt"}, '"text" ("https://example.org/a.txt")'),
    ],
)
def test_label_studio_tasks_without_text_are_errors(data, found, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"data": data, "annotations": []}]))
    if found is None:  # Spaces are not in addresses.
        assert read_examples(tmp_path / "a.json")
        return
    with pytest.raises(DataError) as error:
        read_examples(tmp_path / "a.json")
    assert str(error.value) == (
        f"{tmp_path}/a.json:1: the data of the task has no text, only a link as {found}; tasks of"
        " images, recordings and web pages are not read"
    )


def test_label_studio_texts_beside_a_link_are_read(tmp_path):
    region = {"type": "labels", "from_name": "l", "to_name": "audio"}
    value = {"start": 0.5, "end": 1.25, "channel": 0, "labels": ["speech"]}
    data = {"audio": "https://example.org/a.wav", "transcript": "see https://example.org/a.html"}
    item = {"data": data, "annotations": [{"result": [{**region, "value": value}]}]}
    (tmp_path / "a.json").write_text(json.dumps([item]))
    (example,) = read_examples(tmp_path / "a.json")
    assert (example.text, example.spans) == (data["transcript"], [])
    assert "a region of a recording, in seconds" in [issue.message for issue in example.issues]


def test_label_studio_html_is_an_error(tmp_path):
    labels = {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "hypertextlabels": ["x"]}
    labels |= {"globalOffsets": {"start": 3, "end": 7}, "text": "Rome"}
    result = {"type": "hypertextlabels", "from_name": "l", "value": labels}
    item = {"data": {"text": "<p>to <b>Rome</b></p>"}, "annotations": [{"result": [result]}]}
    (tmp_path / "a.json").write_text(json.dumps([item]))
    with pytest.raises(DataError, match=r"a.json:1: the text is HTML, as '<p>' shows, where"):
        read_examples(tmp_path / "a.json")
    item["data"]["text"] = "to Rome, 3 < 4"
    (tmp_path / "a.json").write_text(json.dumps([item]))
    (example,) = read_examples(tmp_path / "a.json")
    assert example.spans == [("x", 3, 7, None)]


@pytest.mark.parametrize(
    ("text", "last", "found"),
    [
        ("fly to Rome now", 11, "'to': \"endPos\" 11 is a space;"),
        ("fly to Rome", 11, "'to': \"endPos\" 11 is after the end of the text;"),
        ("\U0001f6eb to Rome", 10, "'to': \"endPos\" 10 is after the end of the text;"),
    ],
)
def test_luis_ends_that_are_exclusive_are_errors(text, last, found, tmp_path):
    first = last - 4
    entity = {"entity": "to", "startPos": first, "endPos": last}
    rows = [{"text": text, "intent": "go", "entities": [entity]}]
    (tmp_path / "a.json").write_text(json.dumps({"luis_schema_version": "7", "utterances": rows}))
    with pytest.raises(DataError) as error:
        read_examples(tmp_path / "a.json")
    assert str(error.value) == (
        f"{tmp_path}/a.json:1: slot {found} it must be the last character of the slot, so subtract"
        " 1 if it is the first one after it"
    )
    entity["endPos"] -= 1
    (tmp_path / "a.json").write_text(json.dumps({"luis_schema_version": "7", "utterances": rows}))
    (example,) = read_examples(tmp_path / "a.json")
    assert [example.text[span.start : span.end] for span in example.spans] == ["Rome"]


def test_label_studio_json_min(tmp_path):
    regions = [{"start": 2, "end": 6, "text": "Rome", "labels": ["city"]}]
    rows = [
        {"id": 1, "utterance": "👍 Rome", "label": regions, "intent": {"choices": ["a", "b"]}},
        {"id": 2, "utterance": "to Rome", "label": json.dumps(regions), "annotation_id": 1},
        {"id": 2, "utterance": "to Rome", "annotator": 7, "annotation_id": 2, "lead_time": 1.5},
        {"id": 1, "utterance": "fly", "label": [], "annotation_id": 9},
        {"id": 3, "utterance": "go", "intent": "c", "annotation_id": 3, "annotator": "a@b.c"},
    ]
    rows[1]["updated_at"] = "2026-01-02"
    sentences = read(tmp_path / "a.json", rows)
    assert [summary(each) for each in sentences] == [
        ("👍 Rome", [("city", "Rome")], "a#b"),
        ("to Rome", [("city", "Rome")], None),
        ("fly", [], None),
        ("go", [], "c"),
    ]
    assert messages(sentences[1]) == ["another annotation by annotator 7"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"data": {"text": 3}}]', '1: expected a text as "text", found 3'),
        ('[{"data": {"text": null}}]', '1: expected a text as "text", found null'),
        ('[{"data": {"n": 3}}]', 'the data of the task has no "text", and has no text; set'),
        (
            '[{"data": {"a": "x", "b": "y"}}]',
            '"text", and has the texts a, b; set data.format to {name: label_st',
        ),
        ('[{"data": {}, "annotations": [3]}]', '1: expected objects in "annotations", found 3'),
        ('[{"data": {"text": "a"}, "annotations": {}}]', 'a list as "annotations", found {}'),
        ('[\n{"data": {"text": "a"}},\n{"data": {"text": "b"}', "3: not JSON: expected a comma"),
        ('[{"data": {"text": "a"}}] x', "the file goes on after its JSON"),
        ('[{"data": {"text": "a"}}, 7]', "1 (sentence 2): expected an object, found 7"),
        (
            json.dumps([task("to Rome", {"result": [region(0, 4, "Oslo", "c")]})]),
            "slot 'c' has the value 'Oslo', which is not in the text",
        ),
        (
            json.dumps([task("to Rome", {"result": [region("a", 4, "Rome", "c")]})]),
            'expected an integer as "start", found "a"',
        ),
        (
            json.dumps([task("to Rome", {"result": [region(3, 99, None, "c")]})]),
            "slot 'c' from 3 to 99 is not in the text of 7 characters",
        ),
    ],
)
def test_damaged_label_studio_files_are_errors(content, message, tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.json", content)
    assert str(error.value).startswith(f"{tmp_path}") and message in str(error.value)


def test_label_studio_predictions_have_scores():
    sentence = Tokenizer("words").tokenize("👍 fly to Rome")
    sentence.slots, sentence.intent = [Slot("city", 3, 4)], "flight"
    sentence.confidence = Confidence([0.912345], 0.87654, 0.999999)
    item = json.loads(FORMATS.build("label_studio").render(sentence, scheme="iob2"))
    first, second = item["predictions"][0].pop("result")
    assert item == {
        "data": {"text": "👍 fly to Rome"},
        "predictions": [{"model_version": "slotfill", "score": 0.8765}],
    }
    assert (first["value"], first["score"]) == (
        {"start": 9, "end": 13, "text": "Rome", "labels": ["city"]},
        0.9123,
    )
    assert (second["value"], second["score"]) == ({"choices": ["flight"]}, 1.0)


# brat


def read_brat(tmp_path, text, annotations, **options):
    (tmp_path / "a.ann").write_bytes(annotations.encode())
    (tmp_path / "a.txt").write_bytes(text.encode())
    return read_sentences(tmp_path / "a.txt", **options).sentences


BRAT = "👍 to Rome\n\nfrom New York{end}to Oslo\n"


@pytest.mark.parametrize(
    ("end", "first", "second", "last"),
    [
        ("\n", 5, 16, 28),  # As brat counts.
        ("\r\n", 5, 16, 29),  # A CRLF counts as two.
        ("\r\n", 5, 16, 28),  # Annotated before LF became CRLF.
        ("\n", 6, 17, 29),  # UTF-16 code units.
        ("\n", 8, 19, 31),  # Bytes.
    ],
)
def test_brat_offsets_across_lines(end, first, second, last, tmp_path):
    text = BRAT.format(end=end) if end == "\n" else BRAT.format(end="\n").replace("\n", "\r\n")
    if last == 29 and end == "\r\n":
        second, last = 18, 31
    annotations = (
        f"T1\tcity {first} {first + 4}\tRome\nT2\tcity {second} {second + 8}\tNew York\n"
        f"T3\tcity {last} {last + 4}\tOslo\n"
    )
    sentences = read_brat(tmp_path, text, annotations)
    assert [summary(each) for each in sentences] == [
        ("👍 to Rome", [("city", "Rome")], None),
        ("from New York", [("city", "New York")], None),
        ("to Oslo", [("city", "Oslo")], None),
    ]
    assert [sentence.location[-2:] for sentence in sentences] == [":1", ":3", ":4"]


def test_brat_lists_what_it_leaves_out(tmp_path):
    annotations = (
        "T1\tcity 3 7\tRome\nT2\tplace 0 7\tto Rome\nT3\tx 0 2;8 10\tto go\n"
        "T4\tx 3 11\tRome go\nN1\tReference T2 Wikipedia:12\tRoma\nN2\tReference T9 a:1\tx\n"
        "A1\tNegation T1\nR1\tPart Arg1:T5 Arg2:T1\nT5\tverb 8 10\tgo\nE1\tMove:T5 To:T1\n"
        "#1\tAnnotatorNotes T5\tcheck\n*\tEquiv T1 T2\n\n"
    )
    first, second = read_brat(tmp_path, "to Rome\ngo on\n", annotations)
    assert summary(first)[1] == [("place", "to Rome")] and first.resolved == ["Roma"]
    assert summary(second)[1] == [("verb", "go")]
    assert len(messages(first, "overlap")) == 1
    assert messages(first) == [
        "slot 'x' of several parts ('to go')",
        "slot 'x' over several lines ('Rome go')",
        "the id 'Wikipedia:12' of 'Roma'",
        "annotation 'N2\\tReference T9 a:1\\tx'",
        "annotation 'A1\\tNegation T1'",
        "annotation '*\\tEquiv T1 T2'",
    ]
    assert messages(second) == [
        "annotation 'R1\\tPart Arg1:T5 Arg2:T1'",
        "annotation 'E1\\tMove:T5 To:T1'",
        "annotation '#1\\tAnnotatorNotes T5\\tcheck'",
    ]


def test_brat_that_was_written_without_slots_is_recognized(tmp_path, cli):
    (tmp_path / "a.jsonl").write_text('{"text": "go", "slots": []}\n{"text": "on", "slots": []}\n')
    assert cli("convert", tmp_path / "a.jsonl", tmp_path / "b", "--to", "brat").code == 0
    assert [each.text for each in read_sentences(tmp_path / "b").sentences] == ["go", "on"]
    (tmp_path / "c.jsonl").write_text('{"text": "go"}\n')
    unlabelled = ("convert", tmp_path / "c.jsonl", tmp_path / "d", "--to", "brat")
    assert "becomes labelled without slots" in cli(*unlabelled).err
    assert cli(*unlabelled, "--lossy").code == 0
    assert (tmp_path / "d" / "d.ann").read_text() == ""


def test_brat_lists_files_that_cannot_be_read_and_reads_the_others(tmp_path):
    for name, text in {"a": b"\xff", "b": b"go", "c": b"on"}.items():
        (tmp_path / f"{name}.txt").write_bytes(text)
        (tmp_path / f"{name}.ann").write_bytes(b"" if name != "c" else b"x")
    reading = read_sentences(tmp_path, list_problems=True)
    assert [each.text for each in reading.sentences] == ["go"]
    assert [each.partition(": ")[0][-7:] for each in reading.problems] == ["a.txt:1", "c.ann:1"]


@pytest.mark.parametrize(
    ("text", "annotations", "message"),
    [
        ("to Rome\n", "T1 city 3 7 Rome\n", "a.ann:1: expected an annotation such as T1<tab>city"),
        ("to Rome\n", "T1\tcity 3 7\tOslo\n", "a.txt:1: slot 'city' has the value 'Oslo', which"),
        ("to Rome\n", "T1\tcity 3 3\t\n", "slot 'city' from 3 to 3 is empty"),
        ("\n", "T1\tcity 3 7\tRome\n", "a.ann:1: an annotation, but a.txt is empty"),
        ("", "", "a.txt: no sentences; the file is empty"),
        ("to Rome\0\n", "", "a.txt:1: a NUL byte"),
    ],
)
def test_damaged_brat_documents_are_errors(text, annotations, message, tmp_path):
    with pytest.raises(DataError) as error:
        read_brat(tmp_path, text, annotations)
    assert message in str(error.value)


def test_brat_folders_and_corpora(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.txt").write_text(f"to {name}\n", encoding="utf-8")
        (folder / f"{name}.ann").write_text(f"T1\tcity 3 4\t{name}\n", encoding="utf-8")
    (folder / "README.txt").write_text("About it.\n", encoding="utf-8")
    (folder / "annotation.conf").write_text("[entities]\n", encoding="utf-8")
    assert [each.text for each in read_sentences(folder).sentences] == ["to a", "to b"]
    (folder / "c.txt").write_text("no labels\n", encoding="utf-8")
    (issue,) = read_sentences(folder).issues("unlabelled")
    assert issue.location == f"{folder / 'c.txt'}:1"
    assert guess_format(folder / "a.ann") == "brat"
    (folder / "a.txt").unlink()
    with pytest.raises(UsageError, match=r"a.txt: no such file"):
        read_sentences(folder / "a.ann")


def test_brat_files_named_after_splits_are_a_corpus(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text(f"to {name}\n", encoding="utf-8")
        (tmp_path / f"{name}.ann").write_text("", encoding="utf-8")
    data = DataConfig(path=str(tmp_path))
    assert split_names(data) == ["test", "train"]
    assert [each.text for each in read_split(data, "test").sentences] == ["to test"]
    folder = tmp_path / "single"
    folder.mkdir()
    write_sentences(folder / "train.brackets", [Sentence.from_tokens(["go"], [])])
    (folder / "other.ann").write_text("", encoding="utf-8")  # Without its text, it is no document.
    assert split_names(DataConfig(path=str(folder))) == ["train", "valid"]


def test_brat_writes_a_folder(tmp_path):
    sentences = [Sentence.from_tokens(["to", "Rome"], [Slot("city", 1, 2)])] * 2
    write_sentences(tmp_path / "x", sentences, format="brat")
    assert (tmp_path / "x" / "x.txt").read_text(encoding="utf-8") == "to Rome\nto Rome\n"
    assert (tmp_path / "x" / "x.ann").read_text(encoding="utf-8") == (
        "T1\tcity 3 7\tRome\nT2\tcity 11 15\tRome\n"
    )
    with pytest.raises(UsageError, match=r"y.ann: brat writes a folder; call it y"):
        write_sentences(tmp_path / "y.ann", sentences, format="brat")


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ("a\nb", "x", "the text has a line end"),
        ("a", "x y", "the slot name 'x y' contains a space"),
    ],
)
def test_what_brat_cannot_hold_is_refused(text, name, problem, tmp_path):
    sentence = Tokenizer("words").tokenize(text)
    sentence.slots = [Slot(name, 0, 1)]
    with pytest.raises(DataError, match=problem):
        write_sentences(tmp_path / "x", [sentence], format="brat")


# Azure


def project(*utterances, **keys):
    return {"projectKind": "Conversation", **keys, "assets": {"utterances": list(utterances)}}


TEXT = "e\u0301 👍🏽 Rome"  # 9 code points, 11 UTF-16 code units, 8 text elements.


@pytest.mark.parametrize(
    ("unit", "offset"),
    [
        ("Utf16CodeUnit", 8),
        (None, 8),
        ("UnicodeCodePoint", 6),
        ("TextElements_V8", 4),
        ("textElements_v8", 4),
    ],
)
def test_clu_offsets_are_in_the_unit_of_the_project(unit, offset, tmp_path):
    entity = {"category": "city", "offset": offset, "length": 4}
    content = project({"text": TEXT, "entities": [entity]}, stringIndexType=unit)
    (sentence,) = read(tmp_path / "a.json", content)
    assert summary(sentence) == (TEXT, [("city", "Rome")], None)
    for wrong in (offset + 1, -offset):
        entity["offset"] = wrong
        with pytest.raises(DataError, match=r"slot 'city' from .* is not in the text of"):
            read(tmp_path / "a.json", content)


def test_clu_names_splits(tmp_path):
    rows = [
        {"text": "go", "intent": "a", "dataset": "Train"},
        {"text": "fly", "intent": "b", "dataset": "Test", "entities": []},
    ]
    path = tmp_path / "a.json"
    assert [summary(each) for each in read(path, project(*rows))] == [
        ("go", [], "a"),
        ("fly", [], "b"),
    ]
    assert list_file_splits(path) == ["test", "train"]
    assert [each.text for each in read_sentences(path, split="test").sentences] == ["fly"]


@pytest.mark.parametrize("names", [("Test", None), ("Test", "Train"), ("", "test")])
def test_clu_without_a_dataset_is_of_train_alone(names, tmp_path):
    path = tmp_path / "a.json"
    rows = [{"text": name or "none", **({"dataset": name} if name else {})} for name in names]
    path.write_text(json.dumps(project(*rows)), encoding="utf-8")
    assert list_file_splits(path) == ["test", "train"]
    test, train = (read_sentences(path, split=split).sentences for split in ("test", "train"))
    assert [each.text.lower() for each in test] == ["test"]
    assert [each.text.lower() for each in train] == [
        (name or "none").lower() for name in names if (name or "").lower() != "test"
    ]


def test_convert_refuses_to_lose_the_splits_of_a_file(tmp_path, cli):
    rows = [{"text": "go", "dataset": "Train"}, {"text": "fly", "dataset": "Test"}]
    source, target = tmp_path / "a.json", tmp_path / "a.jsonl"
    source.write_text(json.dumps(project(*rows)), encoding="utf-8")
    result = cli("convert", source, target)
    assert result.code == 3 and "all of it: the split 'train' (and 1 more)" in result.err
    result = cli("convert", source, target, "--split", "test")
    assert (result.code, result.err) == (0, "")
    assert target.read_text(encoding="utf-8") == '{"text": "fly", "slots": []}\n'


def test_clu_writes_a_project_with_its_intents_and_entities(tmp_path):
    sentence = Tokenizer("words").tokenize("👍 to Rome")
    sentence.slots, sentence.intent = [Slot("city", 2, 3)], "go"
    write_sentences(tmp_path / "desk.json", [sentence, sentence], format="clu")
    written = json.loads((tmp_path / "desk.json").read_text(encoding="utf-8"))
    assert written["metadata"]["projectName"] == "desk"
    assert written["assets"].pop("utterances")[0] == {
        "text": "👍 to Rome",
        "language": "en-us",
        "intent": "go",
        "entities": [{"category": "city", "offset": 6, "length": 4}],
    }
    assert written["assets"] == {
        "projectKind": "Conversation",
        "intents": [{"category": "go"}],
        "entities": [{"category": "city"}],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            project({"text": "a"}, stringIndexType="utf16"),
            "1: unknown \"stringIndexType\" 'utf16' (allowed: TextElements_V8, UnicodeCodePoint",
        ),
        (project({"text": "a", "entities": [{}]}), 'as "offset", it is missing'),
        (project({"text": "a", "dataset": 1}), 'expected a text as "dataset", found 1'),
        (project(), "no sentences"),
        ({"projectKind": "x", "assets": {"utterances": None}}, 'an array in "utterances"'),
        ({"projectKind": "x", "assets": []}, 'an object in "assets"'),
        ('{"projectKind": "x", "assets": {', "1: not JSON"),
    ],
)
def test_damaged_clu_projects_are_errors(content, message, tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.json", content)
    assert message in str(error.value)


def test_luis_ends_are_inclusive_and_children_overlap(tmp_path):
    child = {"entity": "city", "startPos": 6, "endPos": 9}
    entities = [{"entity": "place", "role": "to", "startPos": 3, "endPos": 9, "children": [child]}]
    content = {
        "luis_schema_version": "7.0.0",
        "utterances": [
            {"text": "👍 to Rome", "intent": "go", "entities": entities},
            {"text": "x", "intent": "None", "entities": [{**child, "startPos": 0, "endPos": 0}]},
        ],
    }
    first, second = read(tmp_path / "a.json", content)
    assert summary(first) == ("👍 to Rome", [("place.to", "to Rome")], "go")
    assert len(messages(first, "overlap")) == 1
    assert summary(second) == ("x", [("city", "x")], "None")
    child["endPos"] = 10
    with pytest.raises(DataError, match=r"slot 'city': .endPos. 10 is after the end of"):
        read(tmp_path / "a.json", content)
    with pytest.raises(UsageError, match="LUIS is read, but not written"):
        write_sentences(tmp_path / "b.json", [first], format="luis")


@pytest.mark.parametrize("name", ["label_studio", "clu", "luis"])
@pytest.mark.parametrize("indent", [None, 2])
def test_only_one_format_is_recognized(name, indent, tmp_path):
    content = {
        "label_studio": [task("go", {"result": []})],
        "clu": project({"text": "go"}, stringIndexType="Utf16CodeUnit"),
        "luis": {"luis_schema_version": "7.0.0", "utterances": [{"text": "go"}]},
    }[name]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    assert guess_format(path) == name
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][:20]
    specific = [
        other
        for other in FORMATS.names()
        if (part := FORMATS.part(other).load()).looks_like(head) and not part.is_general
    ]
    assert specific == [name]


def test_label_studio_names_annotators_only_where_the_file_does(tmp_path):
    label = {"type": "labels", "from_name": "l", "value": {"start": 0, "end": 2, "labels": ["x"]}}
    done = {"result": [label]}
    items = [{"id": 0, "data": {"text": "go"}, "annotations": [done, done, {**done}]}]
    items[0]["annotations"][2]["was_cancelled"] = True
    (tmp_path / "a.json").write_text(json.dumps(items))
    (example,) = read_examples(tmp_path / "a.json", extra=True)
    assert [issue.message for issue in example.issues if issue.kind == "left out"] == [
        "a cancelled annotation",
        "another annotation",
    ]
    assert example.extra == {"id": 0}
