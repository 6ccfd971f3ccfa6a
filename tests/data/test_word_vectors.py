"""Word vector files: every kind is read, only needed words are kept, errors are one line."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from slotfill.data.word_vectors import read_vectors
from slotfill.errors import DataError

WORDS = ["the", "Taipei", "leave", "時間", "at", "taipei"]
NUMBERS = np.random.default_rng(1).normal(size=(len(WORDS), 5)).astype(np.float32)


def text(header: bool, end: str = "\n") -> bytes:
    rows = [
        " ".join([word, *map(repr, map(float, row))])
        for word, row in zip(WORDS, NUMBERS, strict=True)
    ]
    return "".join(row + end for row in [f"{len(WORDS)} 5"] * header + rows).encode()


def binary(end: bytes = b"\n") -> bytes:
    rows = (
        word.encode() + b" " + row.astype("<f4").tobytes() + end
        for word, row in zip(WORDS, NUMBERS, strict=True)
    )
    return f"{len(WORDS)} 5\n".encode() + b"".join(rows)


FILES = {
    "glove": text(False),
    "glove without a last line end": text(False).rstrip(b"\n"),
    "word2vec": text(True),
    "fastText's .vec": text(True, " \n"),
    "from Windows": text(True, "\r\n"),
    "glove with a byte-order mark": b"\xef\xbb\xbf" + text(False),
    "word2vec with a byte-order mark": b"\xef\xbb\xbf" + text(True),
    "word2vec_binary": binary(),
    "word2vec_binary without line ends": binary(b""),
}


def read(tmp_path, content, words=(), max_words=0, lowercase=False, kind="auto"):
    path = tmp_path / "vectors"
    path.write_bytes(content)
    return read_vectors(path, words, max_words, lowercase, kind)


def same(actual, words):
    assert sorted(actual.words) == sorted(words)
    for word, vector in zip(actual.words, actual.vectors, strict=True):
        np.testing.assert_array_equal(vector, NUMBERS[WORDS.index(word)])
    assert actual.vectors.dtype == np.float32


@pytest.mark.parametrize("name", FILES)
def test_kind_is_detected_from_the_content(name, tmp_path):
    same(read(tmp_path, FILES[name], max_words=100), WORDS)


@pytest.mark.parametrize("name", FILES)
def test_only_needed_words_are_read(name, tmp_path):
    same(read(tmp_path, FILES[name], ["時間", "Boston"]), ["時間"])
    same(read(tmp_path, FILES[name], ["at"], max_words=2), ["the", "Taipei", "at"])
    same(read(tmp_path, FILES[name], ["The", "Taipei"]), ["Taipei"])
    same(
        read(tmp_path, FILES[name], ["The", "Taipei"], lowercase=True), ["the", "Taipei", "taipei"]
    )
    assert read(tmp_path, FILES[name], ["Boston"]).words == []


@pytest.mark.parametrize("name", ["glove", "word2vec", "word2vec_binary"])
def test_kind_can_be_named(name, tmp_path):
    same(read(tmp_path, FILES[name], max_words=9, kind=name), WORDS)


def test_numeric_first_line_is_no_header_if_the_kind_is_set(tmp_path):
    content = b"7 2\n8 3\n"
    assert read(tmp_path, content, max_words=9, kind="glove").words == ["7", "8"]
    with pytest.raises(DataError, match="but the header says 2"):
        read(tmp_path, content, max_words=9)


@pytest.mark.parametrize("content", [b"to  4\n", b"x" + b" 1" * (2**20 + 1)])
def test_a_row_that_is_no_vector_is_refused(content, tmp_path):
    with pytest.raises(DataError, match=r"vectors.*:\d: "):
        read(tmp_path, b"fly 1 2\n" * (len(content) < 99) + content, max_words=9)


@pytest.mark.parametrize("header", ["", "2 2\n", "2\t2\n", "2  2 \t\r\n"])
@pytest.mark.parametrize(
    "rows",
    [
        "a\u00a0b  1 2\nat   3 4 \n",
        "a\u00a0b\t1\t2\nat\t3\t4\n",
        "a\u00a0b\t1 2\nat\t3 4\n",
        "a\u00a0b 1\t2\nat 3\t4\t\n",
        "a\u00a0b  1  2\nat  3  4\n",
        "a\u00a0b 1 2\nat \t 3 \t 4 \t \r\n",
        " a\u00a0b 1 2\n\tat 3 4\n",
    ],
)
def test_spaces_and_tabs_separate_words_and_numbers(header, rows, tmp_path):
    content = (header + rows).encode()
    for words in ([], ["a\u00a0b", "at"]):
        actual = read(tmp_path, content, words, max_words=0 if words else 9)
        assert actual.words == ["a\u00a0b", "at"]
        assert actual.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("space", [b" ", b"  ", b"\t"])
@pytest.mark.parametrize("rows", [b"a 1 2\n. . 3 4\nb 5 6\n", b". . 3 4\na 1 2\nb 5 6\n"])
def test_words_with_spaces_are_skipped_whatever_separates(rows, space, tmp_path):
    content = b"3 2\n" + rows.replace(b" ", space)
    assert read(tmp_path, content, max_words=9).words == ["a", "b"]


def test_binary_rows_that_begin_as_text_are_binary(tmp_path):
    """The first byte of 0.01 is a line end, and 12.14 is `DCBA`."""
    numbers = np.array([[0.01, 12.14], [12.14, -1]], np.float32)
    rows = (
        word + b" " + row.astype("<f4").tobytes()
        for word, row in zip((b"a", b"b"), numbers, strict=True)
    )
    actual = read(tmp_path, b"2 2\n" + b"".join(rows), max_words=9)
    assert actual.words == ["a", "b"] and (actual.vectors == numbers).all()


def test_first_vector_of_a_duplicate_word_is_used(tmp_path):
    actual = read(tmp_path, b"a 1 2\nb 3 4\na 5 6\n", max_words=9)
    assert actual.words == ["a", "b"] and actual.vectors.tolist() == [[1, 2], [3, 4]]


def test_words_with_spaces_are_skipped(tmp_path):
    assert read(
        tmp_path, b"a 1 2\n. . 3 4\nat name@domain.com 5 6\nb 7 8\n", max_words=9
    ).words == [
        "a",
        "b",
    ]


def test_skipped_rows_are_not_parsed(tmp_path):
    """Values and words of skipped rows are not decoded."""
    assert read(tmp_path, b"a 1 2\n\xff\xfe x y\n", ["a"]).words == ["a"]


BROKEN = [
    (b"", "glove", "vectors: empty; "),
    (b"a 1 2\nb 3\nc 4 5\n", "glove", "vectors:2: 1 number, but the first line has 2"),
    (b"a 1 2\nb 3 4 5\n", "glove", "vectors:2: 3 numbers, but the first line has 2"),
    (b"2 2\na 1 2\nb 3\n", "auto", "vectors:3: 1 number, but the header says 2"),
    (b"a 1 2\n\nb 3 4\n", "glove", "vectors:2: 0 numbers"),
    (b"alone\n", "glove", "vectors:1: no numbers; "),
    (b"a\t1\t2\nb\t3\n", "glove", "vectors:2: 1 number, but the first line has 2"),
    (b"a 1 2\nb\t3  4 5\n", "glove", "vectors:2: 3 numbers, but the first line has 2"),
    (b"a 1 2\nb\t3 4 5\n", "glove", "vectors:2: 3 numbers, but the first line has 2"),
    (b"1\t2\na\t1\n", "auto", "vectors:2: 1 number, but the header says 2"),
    (b"1 2\na 1,5 2\n", "auto", "vectors:2: what follows 'a' is not all finite numbers"),
    (b"1 2\nalone\n", "auto", "vectors:2: 0 numbers, but the header says 2"),
    (b"a 1 2\nb 3 x\n", "glove", "vectors:2: what follows 'b' is not all finite numbers"),
    (b"a 1 2\nb 3 1_0\n", "glove", "vectors:2: what follows 'b' is not all finite numbers"),
    (b"a 1 2\nb 3 nan\n", "glove", "vectors:2: what follows 'b' is not all finite numbers"),
    (b"a 1 2\nb 1e39 3\n", "glove", "vectors:2: what follows 'b' is not all finite numbers"),
    (b"a 1 2\nT\xffp 3 4\n", "glove", r"vectors:2: not UTF-8 \(byte 0xff in the word\)"),
    (
        b"3 2\na 1 2\nb 3 4\n",
        "auto",
        "vectors: the header says 3 words, but there are 2; the file is incomplete",
    ),
    (b"a 1 2\n", "word2vec", "vectors:1: no header; "),
    (binary()[:-6], "auto", "vectors: truncated in word 6 of the 6 "),
    (binary() + b"more", "auto", "vectors: continues after the 6 words "),
    (binary().replace("時間".encode(), b"\xffx"), "auto", "vectors: word 4: not UTF-8"),
    (b"\x1f\x8b\x08\x00rest", "auto", "vectors: compressed by gzip; decompress it first"),
    (b"PK\x03\x04rest", "auto", "vectors: compressed by zip; decompress it first"),
]


@pytest.mark.parametrize(
    ("content", "kind", "message"), BROKEN, ids=[message[:40] for _, _, message in BROKEN]
)
def test_errors_in_files_are_one_line(content, kind, message, tmp_path):
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, content, max_words=9, kind=kind)
    assert "\n" not in str(error.value)


def test_missing_file_or_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_vectors(tmp_path / "none", [], 1, True)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_vectors(tmp_path, [], 1, True)


# fastText's .bin

BUCKETS, SHORTEST, LONGEST = 7, 3, 4
MATRIX = np.random.default_rng(2).normal(size=(len(WORDS) + BUCKETS, 5)).astype("<f4")


def fasttext(words: list[str] = WORDS) -> bytes:
    """A skipgram model as fastText's `saveModel` writes it, version 12."""
    settings = [5, 5, 5, 1, 5, 1, 2, 2, BUCKETS, SHORTEST, LONGEST, 100]
    head = struct.pack("<2i12id", 793712314, 12, *settings, 1e-4)
    entries = b"".join(word.encode() + b"\0" + struct.pack("<qb", 9, 0) for word in words)
    dictionary = struct.pack("<3i2q", len(words), len(words), 0, 100, -1) + entries
    rows = struct.pack("<?2q", False, *MATRIX.shape) + MATRIX.tobytes()
    output = struct.pack("<?2q", False, len(words), 5) + np.zeros((len(words), 5), "<f4").tobytes()
    return head + dictionary + rows + output


def composed(word: str) -> np.ndarray:
    """Return the vector of a word by Bojanowski et al. 2017, section 3.2, and fastText's hash."""
    marked = f"<{word}>"
    row_indices = [WORDS.index(word)] if word in WORDS else []
    for start in range(len(marked)):
        for length in range(SHORTEST, LONGEST + 1):
            piece = marked[start : start + length]
            if len(piece) == length:
                number = 2166136261
                for byte in piece.encode():
                    # Bytes are signed there.
                    number = (
                        (number ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619
                    ) % 2**32
                row_indices.append(len(WORDS) + number % BUCKETS)
    return MATRIX[row_indices].mean(axis=0)


def test_fasttext_has_a_vector_for_every_word(tmp_path):
    pytest.importorskip(
        "gensim", reason="fastText's .bin needs gensim: pip install 'slotfill[fasttext]'"
    )
    actual = read(tmp_path, fasttext(), ["Taipeh", "leave", "時"], max_words=2)
    assert actual.words == ["the", "Taipei", "Taipeh", "leave", "時"] and actual.composed == [
        "Taipeh",
        "時",
    ]
    for word, vector in zip(actual.words, actual.vectors, strict=True):
        np.testing.assert_allclose(vector, composed(word), atol=1e-6)


def test_fasttext_lowercase(tmp_path):
    """Words that the file has in lower case need no subwords."""
    pytest.importorskip(
        "gensim", reason="fastText's .bin needs gensim: pip install 'slotfill[fasttext]'"
    )
    actual = read(tmp_path, fasttext(), ["Leave", "Boston"], lowercase=True)
    assert actual.words == ["leave", "Boston"] and actual.composed == ["Boston"]
    actual = read(tmp_path, fasttext(), ["Leave", "Boston"])
    assert actual.words == actual.composed == ["Leave", "Boston"]


@pytest.mark.parametrize(
    "content", [fasttext()[:40], fasttext()[:-150], fasttext()[:8] + b"\3" * 60]
)
def test_broken_fasttext_file_is_one_line(content, tmp_path):
    pytest.importorskip(
        "gensim", reason="fastText's .bin needs gensim: pip install 'slotfill[fasttext]'"
    )
    with pytest.raises(
        DataError, match=r"vectors: gensim cannot read it as fastText's \.bin \(.+\)"
    ) as error:
        read(tmp_path, content, ["x"])
    assert "\n" not in str(error.value)


def test_missing_gensim_names_the_package_to_install(tmp_path, monkeypatch):
    import sys

    from slotfill.errors import UsageError

    monkeypatch.setitem(sys.modules, "gensim.models.fasttext", None)
    with pytest.raises(UsageError, match=r"pip install 'slotfill\[fasttext\]'"):
        read(tmp_path, fasttext(), ["x"])
