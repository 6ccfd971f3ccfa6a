"""Files of spaCy's DocBin, written by spaCy itself; without spaCy most tests are skipped."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import pytest

from slotfill.data.corpus import read_examples, read_sentences
from slotfill.data.sentence import Span
from slotfill.errors import DataError, UsageError

SHARED = Path(__file__).parents[4] / "shared" / "formats" / "x.spacy"


@pytest.fixture(scope="module")
def spacy():
    return pytest.importorskip("spacy")


def save(spacy, path: Path, *docs) -> Path:
    from spacy.tokens import DocBin

    DocBin(docs=docs).to_disk(path)
    return path


def make(spacy, *words: str, ents: str | None = None, cats=None, spaces=None):
    from spacy.tokens import Doc

    tags = ents.split() if ents is not None else None
    doc = Doc(spacy.blank("en").vocab, words=list(words), ents=tags, spaces=spaces)
    doc.cats = cats or {}
    return doc


def test_without_spacy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy.tokens", None)
    with pytest.raises(UsageError) as error:
        read_examples("a.spacy")
    install = "pip install 'slotfill[spacy]'"
    assert str(error.value) == f"a.spacy: .spacy needs spacy; install it with: {install}"


@pytest.mark.skipif(not SHARED.is_file(), reason="the example files, ../shared/formats, are absent")
def test_the_example_file_is_read(spacy):
    (example,) = read_examples(SHARED)
    assert example.text == "leave Taipei on November 2nd"
    assert example.spans == [Span("origin", 6, 12), Span("date", 16, 28)]


def test_documents_are_read(spacy, tmp_path):
    # Words and labels such as case and DATE have small numbers in spaCy instead of hashes.
    group = make(spacy, "a", "b", ents="O O")
    group.spans["sc"] = [group[0:1]]
    partial = make(spacy, "a", "b", "c", ents="B-x O O")
    partial.set_ents(partial.ents, missing=[partial[1:2]])
    path = save(
        spacy,
        tmp_path / "a.spacy",
        make(spacy, "👋", "case", "Rome", "!", ents="O B-DATE B-x-y I-x-y", spaces=[1, 1, 0, 0]),
        make(spacy, "a", cats={"p": 1.0, "q": 0.0, "r": 1}),
        make(spacy, "  ", ents="O"),
        partial,
        group,
    )
    first, second, blank, third, fourth = read_examples(path)
    assert blank.text.isspace()
    assert first.text == "👋 case Rome!" and first.location == f"{path}:1"
    assert first.spans == [Span("DATE", 2, 6), Span("x-y", 7, 12)]
    assert (second.text.strip(), second.spans, second.intent) == ("a", None, "p#r")
    assert (third.spans, third.unknown) == ([Span("x", 0, 1)], [(2, 3)])
    assert (fourth.spans, [issue.message for issue in fourth.issues]) == (
        [],
        ["the span group 'sc'"],
    )
    assert [s.location for s in read_sentences(path, labelled=False).sentences][2] == f"{path}:4"


def test_damaged_files_are_errors_of_one_line(spacy, tmp_path):
    path = save(spacy, tmp_path / "a.spacy", make(spacy, "to", "Rome", ents="O B-city"))
    data = path.read_bytes()
    content = zlib.decompress(data)
    damaged = [b"", b"x", zlib.compress(b""), zlib.compress(b"\x80"), zlib.compress(b"\x93abc")]
    damaged += [data[:end] for end in range(1, len(data), 7)]
    damaged += [zlib.compress(content[:end]) for end in range(1, len(content), 7)]
    damaged += [
        zlib.compress(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
        for at in range(0, len(content), 3)
    ]
    for each in damaged:
        path.write_bytes(each)
        try:
            read_sentences(path, labelled=False)
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)


def test_a_file_that_decompresses_to_too_much_is_refused(spacy, tmp_path):
    path = tmp_path / "a.spacy"
    path.write_bytes(zlib.compress(bytes(2**26 + 2**20), 9))
    with pytest.raises(DataError) as error:
        read_examples(path)
    assert str(error.value) == f"{path}: decompresses to more than 67,108,864 bytes; split the file"


def test_annotations_of_tokens_are_not_read(spacy, tmp_path):
    first, second = make(spacy, "to", "Rome", ents="O B-city"), make(spacy, "go", ents="O")
    first[0].tag_, first[0].lemma_ = "IN", "to"
    first.set_ents([first.char_span(3, 7, "city", kb_id="Q220")])
    path = save(spacy, tmp_path / "a.spacy", first, second)
    issues = [issue.message for example in read_examples(path) for issue in example.issues]
    assert issues == ['the keys "TAG", "LEMMA", "ENT_KB_ID", not read']
