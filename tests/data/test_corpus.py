"""Guessed formats, splits of a folder, atomic writes, and complete corpora."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slotfill.config.sections import DataConfig
from slotfill.data.corpus import read_sentences, write_sentences
from slotfill.data.detection import guess_format
from slotfill.data.folders import find_split, list_splits
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.splits import split_path
from slotfill.errors import ConfigError, DataError, UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("go\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.conll", "", "conll"),
        ("a.BIO", "", "conll"),
        ("a.tsv", "", "conll"),
        ("a.jsonl", "", "jsonl"),
        ("a.json", "", "jsonl"),
        ("a.md", "", "brackets"),
        ("a.brackets", "", "brackets"),
        ("a.txt", "\n\n# id: 1\nfly O\nTaipei B-city\n", "conll"),
        ("a.txt", '\n{"text": "fly"}\n', "jsonl"),
        ("a", "go\nfly to [Taipei](city)\n", "brackets"),
        ("a/seq.in", "fly\n", "jointslu"),
        ("a.jsonl", '[{"data": {"text": "go"}, "annotations": []}]\n', "label_studio"),
        ("a.jsonl", '{"luis_schema_version": "7.0.0",\n "utterances": []}\n', "luis"),
    ],
)
def test_format_is_guessed(name, text, format, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert guess_format(path.parent if path.name == "seq.in" else path) == format


def test_splits(tmp_path):
    fill(
        tmp_path,
        "train.conll",
        "dev.conll",
        "pairs.md",
        "README.md",
        "notes.txt",
        "unseen/seq.in",
        "other/x",
    )
    assert list_splits(tmp_path) == ["pairs", "train", "unseen", "valid"]
    assert list_splits(tmp_path, "conll") == ["train", "valid"]
    assert find_split(tmp_path, "valid") == tmp_path / "dev.conll"
    assert find_split(tmp_path, "dev") == tmp_path / "dev.conll"
    assert find_split(tmp_path, "unseen") == tmp_path / "unseen"
    assert find_split(tmp_path, "notes") == tmp_path / "notes.txt"
    assert find_split(tmp_path, "other") is None
    assert find_split(tmp_path, "test") is None


def test_a_split_is_one_file(tmp_path):
    fill(tmp_path, "train.conll", "train.jsonl", "train.log")
    with pytest.raises(DataError) as raised:
        find_split(tmp_path, "train")
    message = (
        "train.conll and train.jsonl could both be the split 'train'; keep one, or set data.format"
    )
    assert str(raised.value) == f"{tmp_path}: {message}"
    assert find_split(tmp_path, "train", {"name": "conll", "tag": 1}) == tmp_path / "train.conll"


def test_no_such_folder(tmp_path):
    fill(tmp_path, "taipei/train.conll")
    with pytest.raises(DataError, match=r"no such folder; did you mean '.*taipei'"):
        list_splits(tmp_path / "taipie")
    with pytest.raises(DataError, match=r"train\.conll: a file where a folder is expected"):
        find_split(tmp_path / "taipei" / "train.conll", "train")


def test_unlabelled_sentences_are_read_if_labels_are_optional(tmp_path):
    fill(tmp_path, "a.conll")
    (sentence,) = read_sentences(tmp_path / "a.conll", labelled=False).sentences
    assert (sentence.tokens, sentence.slots) == (["go"], None)


def test_equal_strings_share_memory(tmp_path):
    path = tmp_path / "a.brackets"
    path.write_text(
        "leave [Taipei](origin) today\nleave [Taipei](origin) tomorrow\n", encoding="utf-8"
    )
    one, other = read_sentences(path).sentences
    assert one.tokens[1] is other.tokens[1] and one.slots[0] is other.slots[0]


def test_existing_files_are_not_overwritten(tmp_path):
    fill(tmp_path, "a.conll")
    with pytest.raises(UsageError, match="exists, and nothing is overwritten"):
        write_sentences(tmp_path / "a.conll", [Sentence.from_tokens(["fly"], [])])
    assert (tmp_path / "a.conll").read_text() == "go\n"


def test_unwritable_target_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"a\.conll: there is no such folder to write it in"):
        write_sentences(tmp_path / "nowhere" / "a.conll", [])
    with pytest.raises(UsageError, match=r"a\.txt: the format is not clear from its name"):
        write_sentences(tmp_path / "a.txt", [])


@pytest.mark.parametrize("format", ["conll", "jointslu"])
def test_failed_write_leaves_no_file(format, tmp_path):
    def sentences():
        yield Sentence.from_tokens(["fly", "Taipei"], [Slot("city", 1, 2)])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sentences(tmp_path / "a", sentences(), format=format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("corpus", "sizes"),
    [
        ("atis", (4478, 500, 893)),
        pytest.param("snips", (13084, 700, 700), marks=pytest.mark.slow),
        pytest.param("mit_restaurant", (6894, 766, 1521), marks=pytest.mark.slow),
    ],
)
def test_real_corpora(corpus, sizes):
    folder = SHARED / corpus
    if not folder.is_dir():
        pytest.skip(f"the corpus is not here: {folder}")
    assert list_splits(folder) == ["test", "train", "valid"]
    for split, size in zip(("train", "valid", "test"), sizes, strict=True):
        reading = read_sentences(find_split(folder, split))
        assert len(reading.sentences) == size
        assert reading.repaired_tags == 0


def test_reading_imports_no_heavy_module(tmp_path):
    fill(tmp_path, "a.md")
    code = (
        "import sys; from slotfill.data.corpus import read_sentences; read_sentences(sys.argv[1]);"
        "print({'torch', 'numpy', 'seqeval', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.md"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_folder_without_train_lists_its_splits(tmp_path):
    fill(tmp_path, "training.brackets", "test.brackets")
    with pytest.raises(ConfigError) as error:
        split_path(DataConfig(path=str(tmp_path)), "train")
    assert str(error.value).endswith(
        f"in {tmp_path}, which has test, training; call one of them train, or give one:"
        f" {tmp_path}/test.brackets"
    )


@pytest.mark.parametrize("name", ["a.conll", "folder/seq.in"])
def test_data_in_a_pipe_is_refused_at_once(name, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    os.mkfifo(file)
    with pytest.raises(DataError) as error:
        read_sentences(file if name == "a.conll" else file.parent)
    assert str(error.value) == f"{file}: not a regular file; copy its content into one"


@pytest.mark.parametrize("misaligned", ["split", "widen", "skip", "error"])
def test_a_slot_left_out_as_nested_changes_no_token(misaligned, tmp_path):
    path = tmp_path / "a.jsonl"
    nested = ', {"name": "d", "start": 7, "end": 9}'
    row = '{"text": "fly to Oslo%s", "slots": [{"name": "c", "start": 7, "end": 11}%s]}\n'
    path.write_text(row % ("", nested) + row % (" now", ""))
    first, second = read_sentences(path, misaligned=misaligned).sentences
    assert first.tokens == ["fly", "to", "Oslo"] and second.tokens == [*first.tokens, "now"]
    assert first.slots == second.slots == [("c", 2, 3)]
    assert [(issue.kind, issue.message) for issue in first.issues] == [
        ("overlap", "slot 'd' ('Os') overlaps 'c' ('Oslo'), and is left out")
    ]
