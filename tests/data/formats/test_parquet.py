"""Parquet and Arrow files: columns by name, type and metadata, folders, and errors."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from slotfill.config.registry import FORMATS
from slotfill.config.sections import DataConfig
from slotfill.data.convert import convert_file
from slotfill.data.corpus import read_examples, read_sentences, write_sentences
from slotfill.data.detection import guess_format
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import SPLITS, read_split, split_names
from slotfill.errors import ConfigError, DataError, SlotfillError, UsageError

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "formats"
TAGS = ["O", "B-city", "I-city"]


def class_label(names):
    return {"names": names, "_type": "ClassLabel"}


def write(path, columns, features=None, types=None):
    """Write columns of Python values as Parquet, or as a stream of Arrow, with their features."""
    table = pa.table({k: pa.array(v, (types or {}).get(k)) for k, v in columns.items()})
    if features:
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".arrow":
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    else:
        parquet.write_table(table, path)
    return path


def read(path, **options):
    """Return the texts of a file with their values: (text, {slot: value}, intent)."""
    part = {"name": "parquet", **options}
    return [
        (
            each.text,
            each.spans and [(name, each.text[start:end]) for name, start, end, _ in each.spans],
            each.intent,
        )
        for each in read_examples(path, format=part)
    ]


def failure(path, **options):
    with pytest.raises(SlotfillError) as error:
        read(path, **options)
    return str(error.value).replace(f"{path}", path.name)


NEW_YORK = [("fly to New York", [("city", "New York")], None)]
TOKENS = {"tokens": [["fly", "to", "New", "York"]]}
NUMBERS = {**TOKENS, "ner_tags": [[0, 0, 1, 2]]}


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": class_label(TAGS), "_type": "List"},
        {"feature": class_label(TAGS), "length": -1, "_type": "Sequence"},
        {"feature": class_label(TAGS), "_type": "LargeList"},
        [class_label(TAGS)],
        {
            "feature": {**class_label(TAGS), "num_classes": 3, "names_file": None, "id": None},
            "length": -1,
            "id": None,
            "_type": "Sequence",
        },
    ],
)
def test_numbers_have_the_names_of_any_version_of_datasets(feature, tmp_path):
    path = write(tmp_path / "a.parquet", NUMBERS, {"ner_tags": feature})
    assert read(path) == NEW_YORK


@pytest.mark.parametrize(
    "type",
    [
        pa.large_list(pa.large_string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.string_view()),
        pa.list_(pa.string(), 4),
    ],
)
def test_texts_may_have_any_type_of_arrow(type, tmp_path):
    columns = {**TOKENS, "tags": [["O", "O", "B-city", "I-city"]]}
    for name in ("a.parquet", "a.arrow"):
        path = write(tmp_path / name, columns, types={"tokens": type, "tags": type})
        assert read(path) == NEW_YORK


SPANS = [{"start": 7, "end": 15, "label": 0}]


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        (SPANS, [{"label": class_label(["city"])}]),
        (SPANS, {"feature": {"label": class_label(["city"])}, "_type": "List"}),
        (
            {"start": [7], "end": [15], "label": [0]},
            {"feature": {"label": class_label(["city"])}, "_type": "Sequence"},
        ),
        (
            {"start": [7], "end": [15], "label": [0]},
            {"label": {"feature": class_label(["city"]), "_type": "List"}},
        ),
        ([{"start_offset": 7, "end_offset": 15, "type": "city"}], None),
        ([{"name": "city", "value": "New York", "start": 7, "end": 15}], None),
        ([{"name": "city", "value": "New York", "start": 8, "end": 16}], None),
    ],
)
@pytest.mark.parametrize("column", ["entities", "slots", "labels"])
def test_spans_are_objects_or_an_object_of_lists(values, feature, column, tmp_path):
    columns = {"utterance": ["fly to New York"], column: [values]}
    path = write(tmp_path / "a.parquet", columns, {column: feature})
    assert read(path) == NEW_YORK


def test_intents_are_texts_or_named_numbers(tmp_path):
    columns = {"text": ["go", "fly", "hm"], "slots": [[], [], []]}
    for name in ("intent", "label"):
        path = tmp_path / f"{name}.parquet"
        write(path, {**columns, name: ["a", "b", None]})
        assert [intent for *_, intent in read(path)] == ["a", "b", None]
        write(path, {**columns, name: [1, 0, -1]}, {name: class_label(["b", "a"])})
        assert [intent for *_, intent in read(path)] == ["a", "b", None]
    write(path, {**columns, "label": [1, 0, -1]})
    assert [intent for *_, intent in read(path)] == [None] * 3


def test_tags_of_a_text_may_be_one_text(tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["to Rome"], "slots": ["O B-city"]})
    assert read(path) == [("to Rome", [("city", "Rome")], None)]


def test_negative_numbers_are_labels_that_are_not_known(tmp_path):
    features = {"ner_tags": {"feature": class_label(TAGS), "_type": "List"}}
    columns = {"tokens": [["a", "b"]], "ner_tags": [[-100, 1]]}
    (example,) = read_examples(write(tmp_path / "a.parquet", columns, features))
    assert example.unknown == [(0, 1)] and len(example.spans) == 1


def test_rows_without_labels_are_unlabelled(tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["go", "fly"], "entities": [None, []]})
    assert read(path) == [("go", None, None), ("fly", [], None)]
    path = write(tmp_path / "b.parquet", {"text": ["go"], "labels": [None]})
    assert read(path) == [("go", None, None)]


def test_the_text_of_tokens_is_kept_if_it_is_theirs(tmp_path):
    columns = {"tokens": [["in", "St.", "Louis"], ["I", "'m"]], "text": ["in St.Louis", "I am"]}
    first, second = read_examples(write(tmp_path / "a.parquet", columns))
    assert (first.text, first.offsets) == ("in St.Louis", [(0, 2), (3, 6), (6, 11)])
    assert second.text == "I 'm"
    (issue,) = second.issues
    assert issue.message == "the text 'I am', which is not that of the tokens"


def test_other_columns_are_left_out_and_named_once(tmp_path):
    path = write(tmp_path / "a.parquet", {"id": [1, 2], "text": ["a", "b"], "lang": ["en", "de"]})
    issues = [issue for example in read_examples(path) for issue in example.issues]
    assert issues == [("extra", f"{path}:row 1", 'the columns "id", "lang", not read')]
    convert_file(path, tmp_path / "b.jsonl")
    rows = map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())
    assert [(row["id"], row["lang"]) for row in rows] == [(1, "en"), (2, "de")]
    target = tmp_path / "a.conll"
    with pytest.raises(DataError, match='the columns "id", "lang", not read; nothing was written'):
        convert_file(path, target)
    convert_file(path, target, lossy=True)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            NUMBERS,
            "the column 'ner_tags' holds numbers without names; give them names as a ClassLabel"
            " feature of datasets, or write texts",
        ),
        (
            {"text": ["a"], "intent": [0]},
            "the column 'intent' holds numbers without names; give them names as a ClassLabel"
            " feature of datasets, or write texts",
        ),
        (
            {"text": ["a"], "entities": [SPANS]},
            "the column 'entities.label' holds numbers without names; give them names as a"
            " ClassLabel feature of datasets, or write texts",
        ),
        (
            {**TOKENS, "tags": [["O"] * 4], "ner": [["O"] * 4]},
            "the columns 'tags' and 'ner' could both be the labels; choose one, as"
            " data.format={name: parquet, tags: ner}",
        ),
        (
            {"text": ["a"], "sentence": ["b"]},
            "the columns 'text' and 'sentence' could both be the text; choose one, as"
            " data.format={name: parquet, text: sentence}",
        ),
        (
            {"text": ["a"], **TOKENS, "tags": [["O"] * 4], "spans": [SPANS]},
            "the columns 'tags' and 'spans' could both be the labels; choose one, as"
            " data.format={name: parquet, spans: spans}",
        ),
        (
            {"id": [1], "query": ["a"]},
            "no column of tokens or text among id, query; name it, as data.format={name: parquet,"
            " tokens: COLUMN}",
        ),
        (
            {"text": ["a"], "tags": [["O"]]},
            "no column of tokens among text, tags; name it, as data.format={name: parquet, tokens:"
            " COLUMN}",
        ),
        (
            {"text": ["a"], "ner": [0.5]},
            "the column 'ner' may hold labels, but is double; tags are list of text or list of"
            " number or text, spans list of object",
        ),
        (
            {"text": ["a"], "spans": [[{"begin": 0, "end": 1, "label": "x"}]]},
            "the objects in the column 'spans' have no field 'start' or 'start_offset', only"
            " begin, end, label",
        ),
        (
            {"tokens": [["a", None]]},
            'row 1: "tokens" must hold texts that are not only spaces, found null',
        ),
        (
            {"tokens": [["a", "b"]], "tags": [["O"]]},
            "row 1: tokens: 2, but tags: 1; each token needs one tag",
        ),
        (
            {"text": ["ab"], "spans": [[{"start": 0, "end": 2, "label": "x", "value": "c"}]]},
            "row 1: slot 'x' has the value 'c', which is not in the text; from 0 to 2 it reads"
            " 'ab'",
        ),
        (
            {"text": ["ab"], "spans": [{"start": [0, 1], "end": [1], "label": ["x"]}]},
            "row 1: the lists in 'spans' differ in length",
        ),
        (
            {"text": ["ab"], "spans": [[{"start": 0, "end": None, "label": "x"}]]},
            'row 1: expected an integer as "end", found null',
        ),
    ],
)
def test_columns_that_cannot_be_read_are_errors(columns, message, tmp_path):
    found = failure(write(tmp_path / "a.parquet", columns))
    assert found == f"a.parquet:{'' if message.startswith('row') else ' '}{message}"


def test_numbers_beyond_the_names_are_errors(tmp_path):
    features = {"ner_tags": {"feature": class_label(TAGS[:2]), "_type": "List"}}
    path = write(tmp_path / "a.parquet", NUMBERS, features)
    assert failure(path) == "a.parquet:row 1: found 2 where numbers have names from 0 to 1"


def test_options_name_the_columns(tmp_path):
    columns = {"a": [["to", "Rome"]], "tags": [["O", "B-x"]], "ner": [["O", "B-y"]], "l": ["go"]}
    path = write(tmp_path / "a.parquet", columns)
    expected = [("to Rome", [("y", "Rome")], "go")]
    assert read(path, tokens="a", tags="ner", intent="l") == expected
    assert failure(path, tokens="b").startswith("a.parquet: no column 'b' (allowed: a, l, ner")
    assert failure(path, tokens="l") == (
        "a.parquet: the column 'l' is text; tokens must be list of text"
    )
    path = write(tmp_path / "a.parquet", {"data.text": ["go"], "data": [1]})
    assert read(path, text="data.text") == [("go", None, None)]
    for option in ("tags", "spans"):
        columns = {"text": ["a"], **TOKENS, "tags": [["O"] * 4], "spans": [[]]}
        path = write(tmp_path / "b.parquet", columns)
        assert len(read(path, **{option: option})) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read as Parquet or Arrow: Parquet file size is 0 bytes"),
        (b"to\tO\n" * 9, "neither Parquet nor Arrow, which begin otherwise than with 'to\\tO"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a pointer of Git LFS, not the file; fetch that with git lfs pull",
        ),
    ],
)
def test_files_of_other_content_are_errors(content, problem, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    assert failure(path).startswith(f"a.parquet: {problem}")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_damaged_files_are_errors_or_read(name, tmp_path):
    """Cut anywhere and with any byte changed, a file is an error in one line, or read."""
    path = write(tmp_path / name, {"text": ["to Rome"] * 9, "intent": ["é"] * 9})
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 0x55
        for damaged in (content[:position], changed):
            path.write_bytes(damaged)
            try:
                read_examples(path)
            except DataError as error:
                assert str(error).startswith(f"{path}:") and "\n" not in str(error)


def test_missing_files_are_errors(tmp_path):
    write(tmp_path / "train.parquet", {"text": ["a"]})
    assert failure(tmp_path / "trian.parquet") == (
        f"trian.parquet: no such file; did you mean '{tmp_path / 'train.parquet'}'?"
    )
    assert "not a folder of the numbered" in failure(tmp_path)


def test_without_pyarrow_a_line_says_what_to_install(monkeypatch, cli, tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = "parquet needs pyarrow; install it with: pip install 'slotfill[parquet]'"
    with pytest.raises(UsageError) as error:
        read_examples(path)
    assert str(error.value) == message
    with pytest.raises(UsageError) as error:
        write_sentences(tmp_path / "b.parquet", [Sentence.from_tokens(["a"])])
    assert str(error.value) == message
    result = cli("convert", path, tmp_path / "b.jsonl")
    assert (result.code, result.err) == (2, f"slotfill: {message}\n")


def corpus(folder, layout):
    """Write three rows of train, two of valid and one of test in a layout of Hugging Face."""
    suffix = ".arrow" if layout == "save_to_disk" else ".parquet"
    for split, sizes in (("train", [2, 1]), ("validation", [2]), ("test", [1])):
        for number, size in enumerate(sizes):
            path = {
                "hub": f"data/{split}-{number:05}-of-{len(sizes):05}.parquet",
                "files": f"{split}-{number:05}-of-{len(sizes):05}-0a1b2c{number}.parquet",
                "folders": f"{split}/{number:04}.parquet",
                "save_to_disk": f"{split}/data-{number:05}-of-{len(sizes):05}.arrow",
            }[layout]
            rows = [["to", f"{split}{number}{row}"] for row in range(size)]
            write(folder / path, {"tokens": rows, "tags": [["O", "B-x"]] * size})
        if layout == "save_to_disk":
            write(folder / split / f"cache-1{suffix}", {"other": [1]})
            for name in ("state.json", "dataset_info.json"):
                (folder / split / name).write_text("{}", encoding="utf-8")
    for name in ("README.md", "dataset_dict.json", "dataset_infos.json", ".gitattributes"):
        (folder / name).write_text("{}", encoding="utf-8")


@pytest.mark.parametrize("layout", ["hub", "files", "folders", "save_to_disk"])
def test_splits_of_a_folder(layout, tmp_path):
    corpus(tmp_path, layout)
    data = DataConfig(path=str(tmp_path))
    assert sorted(split_names(data)) == sorted(SPLITS)
    sentences = {split: read_split(data, split).sentences for split in SPLITS}
    assert [len(each) for each in sentences.values()] == [3, 2, 1]
    assert [each.text for each in sentences["train"]] == ["to train00", "to train01", "to train10"]
    assert [each.location[-5:] for each in sentences["train"]] == ["row 1", "row 2", "row 1"]


def test_a_folder_of_one_split_is_train(tmp_path):
    corpus(tmp_path, "save_to_disk")
    data = DataConfig(path=str(tmp_path / "train"), holdout=0)
    assert split_names(data) == ["train"]
    assert len(read_split(data, "train").sentences) == 3


def test_a_missing_file_of_a_split_is_an_error(tmp_path):
    corpus(tmp_path, "hub")
    (tmp_path / "data" / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError) as error:
        read_split(DataConfig(path=str(tmp_path)), "train")
    shards = tmp_path / "data" / "train-*-of-00002.parquet"
    assert str(error.value) == f"{shards}: only 1 of 2 files; add the others"


def test_a_missing_file_of_a_data_set_is_an_error(tmp_path):
    corpus(tmp_path, "save_to_disk")
    first, *_ = (tmp_path / "train").glob("data-*.arrow")
    first.unlink()
    with pytest.raises(DataError, match=r"train: only 1 of 2 files; add the others"):
        read_split(DataConfig(path=str(tmp_path), holdout=0), "train")


def test_a_folder_without_train_names_its_splits(tmp_path):
    write(tmp_path / "test.parquet", {"text": ["a"]})
    with pytest.raises(ConfigError, match="which has test; call one of them train, or give one: "):
        read_split(DataConfig(path=str(tmp_path)), "train")


def test_numbers_are_written_with_their_names(tmp_path):
    sentences = [
        Sentence.from_tokens(["to", "New", "York"], [Slot("city", 1, 3)], "fly"),
        Sentence.from_tokens(["at", "9"], [Slot("at", 1, 2)]),
    ]
    path = tmp_path / "a.parquet"
    write_sentences(path, sentences, scheme="bioes")
    table = parquet.read_table(path)
    assert table.to_pylist() == [
        {
            "text": "to New York",
            "tokens": ["to", "New", "York"],
            "ner_tags": [0, 2, 3],
            "intent": 0,
        },
        {"text": "at 9", "tokens": ["at", "9"], "ner_tags": [0, 1], "intent": None},
    ]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    names = ["O", "S-at", "B-city", "E-city"]
    assert features["ner_tags"] == {"feature": class_label(names), "_type": "Sequence"}
    assert features["intent"] == class_label(["fly"])
    part = {"name": "parquet", "tags": "ner", "tokens": "words"}
    write_sentences(tmp_path / "b.parquet", sentences, format=part)
    assert parquet.read_schema(tmp_path / "b.parquet").names == ["text", "words", "ner", "intent"]
    assert len(read_sentences(tmp_path / "b.parquet", format=part).sentences) == 2


def test_resolved_values_are_written_and_read(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "to TPE", "slots": [{"name": "city", "start": 3, "end": 6, "resolved": "Taipei"},'
        ' {"name": "x", "start": 0, "end": 2}]}\n',
        encoding="utf-8",
    )
    convert_file(tmp_path / "a.jsonl", tmp_path / "a.parquet")
    (example,) = read_examples(tmp_path / "a.parquet")
    assert [span.resolved for span in example.spans] == [None, "Taipei"]


def test_rows_are_read_batch_by_batch(tmp_path):
    path = write(tmp_path / "a.parquet", {"tokens": [["a"]] * 5000 + [[" "]]})
    rows = FORMATS.build("parquet").read(path, scheme="iob2")
    assert sum(1 for _, _ in zip(range(5000), rows, strict=False)) == 5000
    assert ":row 5001: " in next(rows).problems[0]


def test_examples_of_the_page(tmp_path):
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```parquet\n(.+?)```$", page, re.MULTILINE | re.DOTALL)
    rows = list(map(json.loads, block.splitlines()))
    assert len(rows) == 2
    for row in rows:
        path = write(tmp_path / "a.parquet", {key: [value] for key, value in row.items()})
        assert read(path) == [("fly to New York", [("destination", "New York")], "flight")]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder ../shared/formats")
@pytest.mark.parametrize(("name", "intent"), [("hf", "book_flight"), ("hf-real", None)])
def test_shared_examples(name, intent):
    expected = [("leave Taipei", [("origin", "Taipei")], intent)]
    assert read(SHARED / f"{name}.parquet") == expected


@pytest.mark.parametrize("name", ["a", "a.json", "a.jsonl", "a.csv", "a.dat", "a.arrow"])
def test_parquet_is_recognized_whatever_its_name(name, tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["go"]})
    path.rename(tmp_path / name)
    assert guess_format(tmp_path / name) == "parquet"
    assert [example.text for example in read_examples(tmp_path / name)] == ["go"]


def test_entities_may_be_a_text_of_json_as_in_csv(tmp_path):
    spans = [
        '[{"start": 3, "end": 7, "label": "city"}]',
        '[{"name": "city", "start_offset": 3, "end_offset": 7, "value": "Oslo"}]',
        "[]",
        "",
        None,
    ]
    columns = {"text": ["to Rome", "to Oslo", "go", "x", "y"], "entities": spans}
    assert read(write(tmp_path / "a.parquet", columns)) == [
        ("to Rome", [("city", "Rome")], None),
        ("to Oslo", [("city", "Oslo")], None),
        ("go", [], None),
        ("x", None, None),
        ("y", None, None),
    ]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ("O O", "'entities' is not JSON: expected a value, found 'O O' at column 1"),
        ("{}", 'expected a list as "entities", found {}'),
        ("[3]", 'expected objects in "entities", found 3'),
        ('[{"start": 0, "end": 1}]', 'expected a text as "label"'),
        ('[{"start": 0, "end": 1, "label": 3}]', 'expected a text as "label", found 3'),
        ('[{"end": 1, "label": "x"}]', 'expected an integer as "start"'),
    ],
)
def test_texts_that_are_no_entities_are_named_with_their_row(spans, message, tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["go"], "entities": [spans]})
    with pytest.raises(DataError) as error:
        read_sentences(path)
    assert str(error.value).startswith(f"{path}:row 1: {message}")
