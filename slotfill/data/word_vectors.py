"""Files of word vectors: GloVe, word2vec and fastText, of which only the words that are needed are
read.

A file of text, or of word2vec's binary kind, is mapped into memory and gone through once; numbers
are read of the words that are kept, and of no others. fastText's `.bin` is read by gensim.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from slotfill.errors import DataError, UsageError

Kind = Literal["auto", "glove", "word2vec", "word2vec_binary", "fasttext"]

_HEADER = re.compile(rb"(\d+) (\d+) ?\r?\n")
_BOM = b"\xef\xbb\xbf"
_FASTTEXT = bytes.fromhex("ba164f2f")
_PACKED = {b"\x1f\x8b": "gzip", b"PK\3\4": "zip", b"BZh91AY&SY": "bzip2", b"\xfd7zXZ\0": "xz"}


@dataclass
class Vectors:
    """Words kept of a file and their vectors `(word, number)`; those of `composed` come from
    subwords.
    """

    words: list[str]
    vectors: np.ndarray
    composed: list[str]


class _Row(NamedTuple):
    """A word as the file has it, where its numbers stand, and where the row is, for messages."""

    word: bytes
    start: int
    end: int
    place: str


def read_vectors(
    path: Path, wanted: Iterable[str], most: int, lowercase: bool, kind: Kind = "auto"
) -> Vectors:
    """Return the vectors of the first `most` words of a file, which are its most frequent, and of
    those `wanted`.

    With `lowercase` also those of the wanted words in lower case. One that the file has twice
    counts once. fastText's `.bin` makes the vectors of wanted words that it does not have from
    their subwords. Raises DataError where the file is not what it should be, UsageError where a
    library is missing.
    """
    try:
        if not path.stat().st_size:
            raise DataError(
                f"{path}: empty; a file of word vectors has a word and its numbers in each line"
            )
        if kind == "auto":
            kind = _kind(path)
        if kind == "fasttext":
            return _fasttext(path, wanted, most, lowercase)
        sought = {
            form.encode() for word in wanted for form in (word, word.lower() if lowercase else word)
        }
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _taken(path, data, sought, most, kind)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read: {fault.strerror}") from None


def _kind(path: Path) -> Kind:
    """Return the kind of a file by how it begins."""
    with path.open("rb") as file:
        begin = file.read(1 << 16).removeprefix(_BOM)
    if begin.startswith(_FASTTEXT):
        return "fasttext"
    for magic, packed in _PACKED.items():
        if begin.startswith(magic):
            raise DataError(
                f"{path}: packed by {packed}; unpack it first, so that it can be mapped into memory"
            )
    header = _HEADER.match(begin)
    if header is None:
        return "glove"
    line = begin[header.end() :].partition(b"\n")[0].strip(b" \r")
    return "word2vec" if _numbers(line.split(b" ")[1:]) is not None else "word2vec_binary"


def _taken(path: Path, data: mmap.mmap, wanted: set[bytes], most: int, kind: Kind) -> Vectors:
    count = size = 0
    start = len(_BOM) if data[: len(_BOM)] == _BOM else 0
    if kind != "glove":
        header = _HEADER.match(data, start)
        if header is None:
            raise DataError(
                f"{path}:1: no header; a word2vec file begins with two numbers: words, numbers of"
                " each"
            )
        count, size, start = int(header[1]), int(header[2]), header.end()
    binary = kind == "word2vec_binary"
    found: dict[str, np.ndarray] = {}
    for number, row in enumerate(
        (_binary_rows if binary else _text_rows)(path, data, start, size, count), start=1
    ):
        if number > most and row.word not in wanted:
            continue
        try:
            word = row.word.decode()
        except UnicodeDecodeError as fault:
            raise DataError(
                f"{row.place}: not UTF-8 (byte 0x{row.word[fault.start]:02x} in the word)"
            ) from None
        if word not in found:
            raw = data[row.start : row.end]
            vector = (
                np.frombuffer(raw, "<f4") if binary else _numbers(raw.strip(b" \r").split(b" "))
            )
            if vector is None or not np.isfinite(vector).all():
                raise DataError(f"{row.place}: what follows '{word}' is not all finite numbers")
            found[word] = vector
    return Vectors(list(found), np.array([*found.values()], np.float32), [])


def _text_rows(path: Path, data: mmap.mmap, start: int, size: int, count: int) -> Iterator[_Row]:
    """Yield the rows of a text: `count` of `size` numbers, or any number of as many as the first if
    these are 0.

    A word that holds blanks, as a few of GloVe's do, is passed over: it is no token.
    """
    first = number = 1 if size else 0
    told = "the header tells of" if size else "the first line has"
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        line = data[start:end].rstrip(b" \r")
        numbers = line.count(b" ")
        place = f"{path}:{number}"
        size = size or numbers
        if not size:
            raise DataError(
                f"{place}: no numbers; a line has a word and its numbers, with a blank before each"
                " of them"
            )
        if numbers != size:
            # After a word with blanks come as many numbers as after others.
            if numbers < size or _numbers(line.split(b" ")[-size - 1 :]) is not None:
                raise DataError(
                    f"{place}: {numbers} number{'s' * (numbers != 1)}, where {told} {size}"
                )
        else:
            blank = line.find(b" ")
            yield _Row(line[:blank], start + blank + 1, end, place)
        start = end + 1
    if count and count != number - first:
        raise DataError(
            f"{path}: the header tells of {count} words, and there are {number - first}; is it"
            " whole?"
        )


def _binary_rows(path: Path, data: mmap.mmap, start: int, size: int, count: int) -> Iterator[_Row]:
    """Yield the rows of word2vec's binary kind: the word, a blank, its numbers in 32 bits each,
    perhaps a line end.
    """
    for number in range(1, count + 1):
        blank = data.find(b" ", start)
        end = blank + 1 + 4 * size
        if blank < 0 or end > len(data):
            raise DataError(
                f"{path}: cut short in word {number} of the {count} that the header tells of"
            )
        yield _Row(data[start:blank].lstrip(b"\n"), blank + 1, end, f"{path}: word {number}")
        start = end
    if data[start:].strip(b"\n"):
        raise DataError(f"{path}: goes on after the {count} words that the header tells of")


def _numbers(pieces: list[bytes]) -> np.ndarray | None:
    try:
        return np.array([float(piece) for piece in pieces], np.float32)
    except ValueError:
        return None


def _fasttext(path: Path, wanted: Iterable[str], most: int, lowercase: bool) -> Vectors:
    try:
        from gensim.models.fasttext import load_facebook_vectors
    except ImportError:
        raise UsageError(
            f"{path}: fastText's .bin needs gensim: pip install 'slotfill[fasttext]'"
        ) from None
    try:
        model = load_facebook_vectors(str(path))
    except Exception as fault:
        # gensim has no class for what is wrong with a file: whatever fails first is told.
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise DataError(f"{path}: gensim cannot read it as fastText's .bin ({reason})") from None
    known = model.key_to_index
    words = dict.fromkeys(model.index_to_key[:most])
    composed = []
    for word in wanted:
        forms = [
            form for form in (word, word.lower()) if form in known and (lowercase or form == word)
        ]
        words.update(dict.fromkeys(forms))
        # A word too short for any subword has none but zeros.
        if not forms and word not in words and model.get_vector(word).any():
            composed.append(word)
            words[word] = None
    return Vectors(
        list(words), np.array([model.get_vector(word) for word in words], np.float32), composed
    )
