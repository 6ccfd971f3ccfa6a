"""Formats of JSON lines and arrays: spaCy, doccano, Prodigy, GLiNER, MASSIVE and SLURP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotfill.config.registry import FORMATS
from slotfill.data.corpus import read_examples, read_sentences, write_sentences
from slotfill.data.detection import guess_format
from slotfill.data.json_objects import parse_head
from slotfill.data.sentence import Sentence, Slot
from slotfill.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "formats"
JSON_ROWS = ("doccano", "gliner", "massive", "prodigy", "spacy")


def write(tmp_path: Path, *rows: object, name: str = "a.jsonl", indent: int | None = None) -> Path:
    """Write JSON lines, or with `indent` one array over many lines."""
    path = tmp_path / name
    if indent is None:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        text = json.dumps(rows, ensure_ascii=False, indent=indent)
    path.write_text(text, encoding="utf-8")
    return path


def contents(path: Path) -> list[tuple[str, list[tuple[str, str]] | None, str | None]]:
    """The text, the slots with their values, and the intent of each example."""
    return [
        (
            example.text,
            None
            if example.spans is None
            else [(span.name, example.text[span.start : span.end]) for span in example.spans],
            example.intent,
        )
        for example in read_examples(path)
    ]


def left_out(path: Path) -> list[str]:
    issues = [issue for example in read_examples(path) for issue in example.issues]
    issues = [issue for issue in issues if issue.kind not in ("extra", "not read")]
    return [f"{issue.location.rpartition(':')[2]}: {issue.message}" for issue in issues]


def error_of(path: Path, **keys) -> str:
    with pytest.raises(DataError) as error:
        read_sentences(path, **keys)
    return str(error.value).replace(str(path), "@")


LEAVE = "leave Taipei on November 2nd"
BOTH = [("origin", "Taipei"), ("date", "November 2nd")]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the example files, ../shared/formats, are absent")
@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("spacy.jsonl", "spacy", [(LEAVE, BOTH, None)] * 2),
        (
            "doccano-export.jsonl",
            "doccano",
            [
                (LEAVE, BOTH, None),
                ("leave Taipei", BOTH[:1], None),
                ("leave Taipei", BOTH[:1], "book_flight"),
            ],
        ),
        ("prodigy.jsonl", "prodigy", [("leave Taipei", BOTH[:1], None)]),
        (
            "massive.jsonl",
            "massive",
            [
                (
                    "leave taipei on november second",
                    [("place_name", "taipei"), ("date", "november second")],
                    "transport_ticket",
                )
            ],
        ),
    ],
)
def test_example_files_are_read(name, format, expected):
    assert guess_format(SHARED / name) == format
    assert contents(SHARED / name) == expected
    assert left_out(SHARED / name) == []


# One row of each shape, all with the slot city on the second word after an emoji.
TEXT = "👋 Rome now"
SHAPES = {
    "a spaCy pair": ("spacy", [TEXT, {"entities": [[2, 6, "city"]]}]),
    "a spaCy pair with categories": (
        "spacy",
        [TEXT, {"entities": [[2, 6, "city"]], "cats": {"a": 0.0}}],
    ),
    "a spaCy object": ("spacy", {"text": TEXT, "entities": [[2, 6, "city"]]}),
    "doccano's label": ("doccano", {"id": 1, "text": TEXT, "label": [[2, 6, "city"]]}),
    "doccano's labels": ("doccano", {"id": 1, "data": TEXT, "labels": [[2, 6, "city"]]}),
    "doccano's entities": (
        "doccano",
        {
            "id": 2,
            "text": TEXT,
            "entities": [{"id": 5, "label": "city", "start_offset": 2, "end_offset": 6}],
            "relations": [],
            "Comments": [],
        },
    ),
    "doccano's entities and intents": (
        "doccano",
        {"text": TEXT, "entities": [[2, 6, "city"]], "cats": []},
    ),
    "Prodigy's spans": (
        "prodigy",
        {"text": TEXT, "spans": [{"start": 2, "end": 6, "label": "city", "token_end": 1}]},
    ),
    "GLiNER": ("gliner", {"tokenized_text": TEXT.split(), "ner": [[1, 1, "city"]]}),
    "GLiNER2": ("gliner", {"input": TEXT, "output": {"entities": {"city": ["Rome"]}}}),
    "GLiNER2's schema": ("gliner", {"text": TEXT, "schema": {"entities": {"city": ["Rome"]}}}),
    "MASSIVE": ("massive", {"utt": TEXT, "annot_utt": "👋 [city : Rome] now"}),
    "SLURP": ("massive", {"sentence": TEXT, "sentence_annotation": "👋 [city : Rome] now"}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_file_is_recognized_by_its_keys_as_lines_and_as_an_array(shape, indent, tmp_path):
    format, row = SHAPES[shape]
    path = write(tmp_path, row, row, name="a.json", indent=indent)
    head = path.read_text(encoding="utf-8").splitlines()[:20]
    matching = [name for name in FORMATS.names() if FORMATS.part(name).load().looks_like(head)]
    assert [name for name in matching if name != "jsonl"] == [format]
    assert contents(path) == [(TEXT, [("city", "Rome")], None)] * 2
    second = read_examples(path)[1].location
    text = path.read_text(encoding="utf-8")
    line = 2 if indent is None else text[: text.rindex(TEXT.split()[0])].count("\n")
    assert abs(int(second.rpartition(":")[2]) - line) <= 3


@pytest.mark.parametrize("shape", SHAPES)
def test_byte_order_mark_crlf_and_empty_lines(shape, tmp_path):
    _, row = SHAPES[shape]
    path = write(tmp_path, row)
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n" * 2 + path.read_bytes().replace(b"\n", b"\r\n") * 2)
    assert contents(path) == [(TEXT, [("city", "Rome")], None)] * 2
    assert [each.location for each in read_examples(path)] == [f"{path}:3", f"{path}:4"]


@pytest.mark.parametrize("shape", SHAPES)
def test_damaged_rows_are_errors_of_one_line(shape, tmp_path):
    """Every value of a row is replaced by others, and the file is cut off anywhere."""
    format, row = SHAPES[shape]

    def damage(value):
        yield from (None, 7, "x", [], {}, [None], [[1]], -1, True, {"a": 1})
        if isinstance(value, dict):
            for key in value:
                yield {k: v for k, v in value.items() if k != key}
                yield from ({**value, key: bad} for bad in damage(value[key]))
        if isinstance(value, list):
            for index in range(len(value)):
                yield from (
                    [*value[:index], bad, *value[index + 1 :]] for bad in damage(value[index])
                )

    line = json.dumps(row, ensure_ascii=False)
    texts = [json.dumps(bad) for bad in damage(row)]
    texts += [line[:end] for end in range(1, len(line))]
    texts += [f"[{line}, {line[:end]}" for end in range(0, len(line), 3)]
    path = tmp_path / "a.json"
    for text in texts:
        path.write_text(text, encoding="utf-8")
        try:
            read_sentences(path, format=format, labelled=False)
        except DataError as error:
            assert str(error).startswith(f"{path}:") and "\n" not in str(error)


def test_keys_that_are_not_known_keep_their_error(tmp_path):
    path = write(tmp_path, {"text": "to Rome", "mentions": [[3, 7, "city"]]})
    assert guess_format(path) == "jsonl"
    assert '@:1: "mentions" may be labels, but labels are read from "slots"' in error_of(path)
    for keys in ({"text": "to Rome", "slots": []}, {"tokens": ["to"], "tags": ["O"], "text": "to"}):
        path = write(tmp_path, {**keys, "answer": "accept", "entities": [], "id": 3})
        assert guess_format(path) == "jsonl"


def test_long_and_cut_off_lines_are_recognized(tmp_path):
    rows = [["Rome " * 5000, {"entities": [[0, 4, "city"]]}], ["Rome", {"entities": []}]]
    assert guess_format(write(tmp_path, *rows)) == "spacy"
    row = {"tokenized_text": ["Rome"] * 9000, "ner": [[0, 0, "city"]]}
    assert guess_format(write(tmp_path, row)) == "gliner"


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        (['{"a": 1}', '{"a": 2, "b'], [{"a": 1}]),
        (['{"a": 1, "b": [2, "x,y'], [{"a": 1, "b": [2]}]),
        (['["x,y', "[1, [2"], [[], [1, []]]),
        (["[", "[1, 2],", "[3, {"], [[1, 2]]),
        (['[["a", {"b": [1, 2]}], ["c'], [["a", {"b": [1, 2]}]]),
        (['[["a", {"b": [1, 2]}]]'], [["a", {"b": [1, 2]}]]),
        (["fly to Rome"], []),
        (["[]"], []),
        ([], []),
        (["[" * 20000], []),
    ],
)
def test_parse_head_closes_what_is_cut_off(head, rows):
    assert parse_head(head) == rows


# spaCy


def test_spacy_intents_are_the_categories_with_score_1(tmp_path):
    path = write(
        tmp_path,
        ["a", {"entities": [], "cats": {"x": 0.0, "y": 1.0, "z": True}}],
        ["b", {"cats": {"x": 0.5, "y": 1}}],
        ["c", {}],
        ["d", {"entities": [[0, 1, "q", "Q42"]], "heads": [0], "links": {}}],
    )
    assert contents(path) == [
        ("a", [], "y#z"),
        ("b", None, "y"),
        ("c", None, None),
        ("d", [("q", "d")], None),
    ]
    assert left_out(path) == [
        "2: the category 'x' of 0.5",
        "4: [\"Q42\"] of slot 'q'",
    ]


def test_spacy_pairs_are_written(tmp_path):
    sentences = [
        Sentence.from_tokens(["to", "Rome"], [Slot("city", 1, 2)], "go#fly"),
        Sentence.from_tokens(["now"]),
    ]
    write_sentences(tmp_path / "a.jsonl", sentences, format="spacy")
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == (
        '["to Rome", {"entities": [[3, 7, "city"]], "cats": {"go": 1.0, "fly": 1.0}}]\n'
        '["now", {}]\n'
    )


# doccano


def test_doccano_labels_of_projects_of_each_kind(tmp_path):
    path = write(
        tmp_path,
        {"id": 1, "text": "a", "label": [], "Comments": ["why?"]},
        {"id": 2, "text": "b", "entities": [], "relations": [{"id": 1}]},
        {"id": 3, "text": "c"},
        {"id": 3, "text": "d", "label": [[0, 1, "x"], [0, 1, "x"]], "cats": ["p", "q"]},
    )
    assert contents(path) == [
        ("a", [], None),
        ("b", [], None),
        ("c", None, None),
        ("d", [("x", "d")] * 2, "p#q"),
    ]


# Prodigy


def task(text: str, answer: str = "accept", **keys: object) -> dict[str, object]:
    return {"text": text, "answer": answer, **keys}


def test_prodigy_tasks_that_are_not_accepted_are_left_out(tmp_path):
    path = write(
        tmp_path,
        task("a", "ignore"),
        task("b", spans=[]),
        task("c", "reject", spans=[{"start": 0, "end": 1, "label": "x"}]),
        task("d", tokens=[{"text": "d", "start": 0, "end": 1, "id": 0}]),
        task("e", "reject"),
    )
    assert contents(path) == [("b", [], None), ("d", [], None)]
    assert left_out(path) == [
        '1: the task, answered "ignore"',
        '3: the task, answered "reject"',
        '5: the task, answered "reject"',
    ]
    path = write(tmp_path, task("a", "ignore"), task("b", "reject"))
    assert error_of(path) == "@: none of its 2 tasks is answered with accept"
    assert "the answer is accept, reject or ignore, found 1" in error_of(
        write(tmp_path, task("a", answer=1))
    )


def test_prodigy_choices_and_labels_are_intents(tmp_path):
    path = write(
        tmp_path,
        task("a", label="x"),
        task("b", options=[{"id": "y"}, {"id": "z"}], accept=["y", "z"], spans=[]),
        task("c", accept=[], options=[]),
    )
    assert contents(path) == [("a", None, "x"), ("b", [], "y#z"), ("c", None, None)]


def test_prodigy_spans_with_wrong_offsets_are_corrected(tmp_path):
    span = {"start": 3, "end": 7, "label": "city", "text": "Rome"}
    path = write(tmp_path, task(TEXT, spans=[span]))
    assert contents(path) == [(TEXT, [("city", "Rome")], None)]
    assert left_out(path) == ["1: slot 'city' ('Rome'): 3 to 7 read as 2 to 6 (UTF-16 code units)"]


# GLiNER


def test_gliner_ends_are_inclusive_and_an_array_is_written(tmp_path):
    sentences = [
        Sentence.from_tokens(["to", "New", "York"], [Slot("city", 1, 3)]),
        Sentence.from_tokens(["now"]),
    ]
    path = tmp_path / "a.json"
    write_sentences(path, sentences, format="gliner")
    assert json.loads(path.read_text(encoding="utf-8")) == [
        {"tokenized_text": ["to", "New", "York"], "ner": [[1, 2, "city"]]},
        {"tokenized_text": ["now"]},
    ]
    assert contents(path) == [("to New York", [("city", "New York")], None), ("now", None, None)]
    path = write(tmp_path, {"tokenized_text": ["to", "Rome"], "ner": [[1, 2, "city"]]})
    assert error_of(path) == (
        '@:1: expected [first, last, label] in "ner", tokens from 0 to 1 where last is a part of'
        ' the slot, found [1, 2, "city"]'
    )


@pytest.mark.parametrize(
    ("text", "entities", "slots"),
    [
        ("go to Rome", {"city": ["Rome"]}, [("city", "Rome")]),
        ("a man, a plan", {"x": ["a"]}, "'x' has 'a' 1 time, the text 2 times"),
        ("a man, a plan", {"x": ["a", "a"]}, [("x", "a"), ("x", "a")]),
        ("a plan", {"x": ["a"]}, [("x", "a")]),
        ("an apple", {"x": ["appl"], "y": []}, [("x", "appl")]),
        ("an apple", {"x": ["pear"]}, "'x' has 'pear', which is not in the text"),
        ("到台北去", {"city": ["台北"]}, [("city", "台北")]),
        ("no no no no", {"x": ["no no"] * 2}, [("x", "no no"), ("x", "no no")]),
        ("e\u0301 and \u00e9", {"x": ["\u00e9"] * 2}, [("x", "e\u0301"), ("x", "\u00e9")]),
        ("\u00e9 e\u0301", {"x": ["\u00e9", "e\u0301"]}, [("x", "\u00e9"), ("x", "e\u0301")]),
        ("\u00e9 e\u0301", {"x": ["\u00e9"]}, "'x' has '\u00e9' 1 time, the text 2 times"),
        ("\u00e9 e\u0301", {"x": ["\u00e9", "e\u0301"] * 2}, "'\u00e9' 4 times, the text 2 times"),
        # Neither NFC nor NFD: the marks are in another order.
        (
            "o\u0308\u0323 \u1ecd\u0308",
            {"x": ["o\u0308\u0323"] * 2},
            [("x", "o\u0308\u0323"), ("x", "\u1ecd\u0308")],
        ),
        ("cafe\u0301s cafe s", {"x": ["cafe"], "y": ["s"]}, [("x", "cafe"), ("y", "s")]),
        ("cafe\u0301s", {"x": ["cafe"]}, "slot 'x' ('cafe') cuts the token 'cafe\u0301s'"),
        ("ha ha ha", {"x": ["ha ha"] * 2}, "'x' has 'ha ha' 2 times, the text 1 time"),
    ],
)
def test_gliner2_values_must_occur_as_often_as_they_are_listed(text, entities, slots, tmp_path):
    path = write(tmp_path, {"input": text, "output": {"entities": entities}})
    if isinstance(slots, str):
        assert slots in error_of(path)
    else:
        assert contents(path) == [(text, slots, None)]


def test_gliner2_classification_is_the_intent(tmp_path):
    intent = {"task": "intent", "labels": ["x", "y"], "true_label": ["x"]}
    mood = {"task": "mood", "labels": ["p"], "true_label": "p"}
    path = write(
        tmp_path,
        {"input": "a", "output": {"entities": {}, "classifications": [intent]}},
        {"input": "b", "output": {"classifications": [intent, mood], "relations": [{}]}},
    )
    assert contents(path) == [("a", [], "x"), ("b", None, None)]
    assert left_out(path) == ['2: "classifications"']


# MASSIVE and SLURP


@pytest.mark.parametrize(
    ("utt", "annotated", "text", "slots"),
    [
        ("wake me at 9:30", "wake me at [time : 9:30]", None, [("time", "9:30")]),
        (
            "明日九時半に",
            "[date : 明日] [time : 九 時 半] に",
            None,
            [("date", "明日"), ("time", "九時半")],
        ),
        ("ปลุก ตีห้า", "ปลุก[time : ตีห้า]", None, [("time", "ตีห้า")]),
        ("Go to Rome", "go  to [city:rome]", None, [("city", "Rome")]),
        ("[x] is in rome", "[x] is in [city : rome]", None, [("city", "rome")]),
        ("to milan", "to [city : rome]", "to rome", [("city", "rome")]),
        ("go", None, None, None),
    ],
)
def test_massive_slots_are_moved_to_the_utterance(utt, annotated, text, slots, tmp_path):
    path = write(tmp_path, {"utt": utt, "annot_utt": annotated, "intent": "i"})
    assert contents(path) == [(text or utt, slots, "i")]
    assert left_out(path) == (["1: \"utt\" ('to milan')"] if text else [])


@pytest.mark.parametrize("annotated", ["to [city : rome", "to [city rome]", "to [a : [b : rome]]"])
def test_massive_brackets_must_be_slots(annotated, tmp_path):
    path = write(tmp_path, {"utt": "to rome", "annot_utt": annotated})
    assert '"annot_utt" is not as [slot : words], found' in error_of(path)


def test_massive_partitions_are_splits(tmp_path):
    rows = [
        {"utt": "a", "annot_utt": "[x : a]", "partition": "train"},
        {"utt": "b", "annot_utt": "b", "partition": "dev"},
        {"utt": "c", "annot_utt": "c", "partition": "test"},
    ]
    path = write(tmp_path, *rows)
    for split, text in (("train", "a"), ("valid", "b"), ("test", "c")):
        assert [each.text for each in read_examples(path, split=split)] == [text]
    assert len(read_examples(path)) == 3


# JSON lines, arrays of objects, and objects over several lines, of slotfill's own keys.


OWN = [
    {"text": "👋 to Rome", "slots": [{"name": "city", "start": 5, "end": 9}], "intent": "go"},
    {"tokens": ["to", "Oslo"], "tags": ["O", "B-city"]},
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(row) for row in OWN),
        json.dumps(OWN),
        json.dumps(OWN, indent=2),
        "[" + ",\n".join(json.dumps(row) for row in OWN) + "]",
        "\n".join(json.dumps(row, indent=2) for row in OWN),
        "\r\n".join(json.dumps(row, indent=1).replace("\n", "\r\n") for row in OWN),
        "\ufeff\n\n" + json.dumps(OWN, indent=1),
    ],
)
def test_own_objects_are_read_however_they_are_laid_out(name, text, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert guess_format(path) == "jsonl"
    assert contents(path) == [
        ("👋 to Rome", [("city", "Rome")], "go"),
        ("to Oslo", [("city", "Oslo")], None),
    ]


def test_one_object_over_several_lines_is_of_the_format_of_its_keys(tmp_path):
    for format, row in SHAPES.values():
        if isinstance(row, list):
            continue
        path = tmp_path / "a.json"
        path.write_text(json.dumps(row, indent=2))
        assert guess_format(path) == format
        assert [text for text, *_ in contents(path)] == [TEXT]


def test_items_on_one_line_are_told_apart(tmp_path):
    path = tmp_path / "a.json"
    for text, expected in [
        (json.dumps(OWN), ["1 (sentence 1)", "1 (sentence 2)"]),
        (json.dumps(OWN[:1]), ["1"]),
        (json.dumps(OWN, indent=1), ["2", "13"]),
        ("[{},\n{}, {}]".replace("{}", '{"text": "a"}'), ["1", "2 (sentence 2)", "2 (sentence 3)"]),
    ]:
        path.write_text(text)
        places = [example.location.removeprefix(f"{path}:") for example in read_examples(path)]
        assert places == expected


def test_doccano_labels_of_a_text_are_its_intents(tmp_path):
    rows = [
        {"id": 1, "text": "hi", "label": ["greet", "ask"]},
        {"id": 2, "text": "by", "label": ["bye"]},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert guess_format(tmp_path / "a.jsonl") == "doccano"
    examples = read_examples(tmp_path / "a.jsonl")
    assert [(each.spans, each.intent) for each in examples] == [(None, "greet#ask"), (None, "bye")]
    rows = [{"text": "to Rome", "label": ["O", "B-city"]}]  # Tags, which are no names.
    (tmp_path / "b.jsonl").write_text(json.dumps(rows))
    assert guess_format(tmp_path / "b.jsonl") == "jsonl"


@pytest.mark.parametrize(
    "entities",
    [
        [{"start": 5, "end": 9, "label": "city", "text": "Rome"}],
        [{"start_offset": 5, "end_offset": 9, "type": "city"}],
        [{"start": 3, "end": 7, "entity": "city", "value": "Rome", "score": 0.9}],  # Without 👍.
        [[5, 9, "city"]],
    ],
)
def test_entities_of_json_lines_are_slots(entities, tmp_path):
    row = {"text": "👍 to Rome", "entities": entities, "intent": "go"}
    empty = {"text": "bye", "entities": [], "intent": "end"}
    nothing = {"text": "hm", "entities": None}
    expected = [
        ("👍 to Rome", [("city", "Rome")], "go"),
        ("bye", [], "end"),
        ("hm", None, None),
    ]
    for rows in ([row, empty, nothing], [nothing, empty, row]):
        for path in (write(tmp_path, *rows), write(tmp_path, *rows, name="b.json", indent=1)):
            assert sorted(contents(path)) == sorted(expected)
            path.unlink()
    numbered = [{"id": 1, "text": "a", "entities": []}, {"id": 2, **row, "entities": entities}]
    assert contents(write(tmp_path, *numbered))[1] == expected[0]


def test_entities_without_a_place_are_not_taken_for_slots(tmp_path):
    for entities in ({"city": "Rome"}, ["Rome"], [{"city": "Rome"}], 3):
        path = write(tmp_path, {"text": "to Rome", "entities": entities})
        with pytest.raises(DataError, match=r'a.jsonl:1: "entities" may be labels'):
            read_sentences(path)
    path = write(tmp_path, {"text": "to Rome", "entities": [{"start": 3, "label": "city"}]})
    with pytest.raises(DataError, match=r'a.jsonl:1: expected an integer as "end", it is missing'):
        read_sentences(path)


def test_tags_of_json_lines_may_be_called_ner_tags(tmp_path):
    path = write(tmp_path, {"tokens": ["to", "Rome"], "ner_tags": ["O", "B-city"], "intent": "go"})
    assert contents(path) == [("to Rome", [("city", "Rome")], "go")]
    path = write(tmp_path, {"tokens": ["to", "Rome"], "ner_tags": [0, 3]})
    with pytest.raises(DataError, match='"ner_tags" may be labels'):
        read_sentences(path)


def test_prodigy_tasks_without_an_answer_are_accepted(tmp_path):
    span = {"start": 3, "end": 7, "label": "city"}
    answers = [{"answer": "accept"}, {"answer": None}, {}, {"answer": "ignore"}]
    path = write(tmp_path, *({"text": "to Rome", "spans": [span], **each} for each in answers))
    assert contents(path) == [("to Rome", [("city", "Rome")], None)] * 3


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".txt", ""])
@pytest.mark.parametrize("text", ["press O now", "the B-52 bomber", "I-95", "a:O b:B-x"])
def test_json_whose_words_look_like_tags_is_json(text, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    for one, format in (
        ({"text": text, "slots": []}, "jsonl"),
        ({"text": text}, "jsonl"),
        ([text, {}], "spacy"),
        ([text, {"entities": []}], "spacy"),
    ):
        for rows in ([one], [one, one]):
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            arrays = (json.dumps(rows), json.dumps(rows, indent=1), f"[{lines.strip()}]")
            for content in (lines, *arrays[: 3 if len(rows) == 1 else 2]):
                path.write_text(content)
                assert guess_format(path) == format, content


def test_columns_whose_tokens_are_brackets_are_conll(tmp_path):
    for tokens in ('{"', '["', "{", "[", '"'):
        (tmp_path / "a").write_text(f"{tokens}\tO\n:\tO\n}}\tO\n\n")
        assert guess_format(tmp_path / "a") == "conll"


def test_spacy_reads_the_unlabelled_sentences_that_it_writes(tmp_path):
    write_sentences(tmp_path / "a.jsonl", [Sentence.from_tokens(["go"])], format="spacy")
    assert contents(tmp_path / "a.jsonl") == [("go", None, None)]


def test_massive_rows_without_a_partition_are_of_train(tmp_path):
    rows = [
        {"utt": text, "annot_utt": text, "partition": split}
        for text, split in (("a", "test"), ("b", None), ("c", "dev"), ("d", "train"))
    ]
    path = write(tmp_path, *rows)
    found = {
        split: [each.text for each in read_examples(path, split=split)]
        for split in ("train", "valid", "test")
    }
    assert found == {"train": ["b", "d"], "valid": ["c"], "test": ["a"]}


def test_slots_of_json_lines_may_be_values_by_name(tmp_path):
    rows = [
        {"text": "fly to Rome or Oslo", "slots": {"city": ["Rome", "Oslo"]}},
        {"text": "Rome to Rome", "slots": {"from": "Rome", "to": "Rome"}},
        {
            "text": "o\u0308 \u00f6 o\u0308",
            "slots": {"x": "\u00f6", "y": "o\u0308", "z": "\u00f6"},
        },
        {"text": "go", "slots": {}},
    ]
    assert contents(write(tmp_path, *rows)) == [
        ("fly to Rome or Oslo", [("city", "Rome"), ("city", "Oslo")], None),
        ("Rome to Rome", [("from", "Rome"), ("to", "Rome")], None),
        ("o\u0308 \u00f6 o\u0308", [("x", "o\u0308"), ("y", "\u00f6"), ("z", "o\u0308")], None),
        ("go", [], None),
    ]
    for value, message in ((3, 'as "city", found 3'), ("Oslo", '"Oslo" is not in the text')):
        path = write(tmp_path, {"text": "fly", "slots": {"city": value}}, name="b.jsonl")
        with pytest.raises(DataError, match=f"b.jsonl:1: .*{message}"):
            read_examples(path)


def test_doccano_texts_to_classify_without_a_label_are_unlabelled(tmp_path):
    names = [{"text": "go", "label": []}, {"text": "fly", "label": ["a"]}]
    path = write(tmp_path, *names)
    assert guess_format(path) == "doccano"
    assert contents(path) == [("go", None, None), ("fly", None, "a")]
    slots = [{"text": "go", "label": []}, {"text": "fly", "label": [[0, 3, "a"]]}]
    assert contents(write(tmp_path, *slots)) == [("go", [], None), ("fly", [("a", "fly")], None)]
