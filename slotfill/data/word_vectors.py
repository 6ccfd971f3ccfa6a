"""Word vectors: files of GloVe, word2vec and fastText, of which only the needed words are read.

Text files and word2vec's binary files are memory-mapped and scanned once; only the vectors of
needed words are parsed. fastText's `.bin` is read by gensim.
"""

from __future__ import annotations

import mmap
import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from slotfill.config.option_types import MAX_SIZE
from slotfill.errors import DataError, format_count, shorten_text
from slotfill.extras import required_for

Kind = Literal["auto", "glove", "word2vec", "word2vec_binary", "fasttext"]

_HEADER = re.compile(rb"(\d{1,18})[ \t]+(\d{1,18})[ \t]*\r?\n")
_CONTROLS = re.compile("[^\t\n\r -\U0010ffff]")
_TAB = ord("\t")
_BOM = b"\xef\xbb\xbf"
_FASTTEXT = bytes.fromhex("ba164f2f")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\3\4": "zip", b"BZh91AY&SY": "bzip2", b"\xfd7zXZ\0": "xz"}


@dataclass
class Vectors:
    """Words of a file and their vectors."""

    words: list[str]
    """Each once, in the order of the file."""
    vectors: np.ndarray
    """Their vectors `(words, size)`."""
    composed: list[str]
    """Words that the file does not have, whose vectors come from subwords."""


def read_vectors(
    path: Path, wanted: Iterable[str], max_words: int, lowercase: bool, kind: Kind = "auto"
) -> Vectors:
    """Return the vectors of the first `max_words` words of a file and of the `wanted` ones.

    Files begin with the most frequent words. fastText's `.bin` composes vectors of missing words
    from their subwords. `lowercase` is whether to read the wanted words in lower case, too. Raises
    DataError if the file is not valid, and UsageError if gensim is needed and missing.
    """
    try:
        if not path.stat().st_size:
            problem = "empty; a file of word vectors has a word and its numbers in each line"
            raise DataError(f"{path}: {problem}")
        if kind == "auto":
            kind = _detect_kind(path)
        if kind == "fasttext":
            return _read_fasttext(path, wanted, max_words, lowercase)
        sought = {
            form.encode() for word in wanted for form in (word, word.lower() if lowercase else word)
        }
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_rows(path, data, sought, max_words, kind)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _detect_kind(path: Path) -> Kind:
    """Return the kind of a file, from its first bytes."""
    with path.open("rb") as file:
        begin = file.read(1 << 16).removeprefix(_BOM)
    if begin.startswith(_FASTTEXT):
        return "fasttext"
    for magic, program in _COMPRESSED.items():
        if begin.startswith(magic):
            raise DataError(f"{path}: compressed by {program}; decompress it first")
    header = _HEADER.match(begin)
    if header is None:
        return "glove"
    rows = begin[header.end() :]
    _, *numbers = _join_fields(rows.partition(b"\n")[0]).split(b" ")
    # Words may be in another encoding than UTF-8, and numbers may be damaged.
    is_text = (numbers and _parse_numbers(numbers) is not None) or _is_text(rows)
    return "word2vec" if is_text else "word2vec_binary"


def _is_text(content: bytes) -> bool:
    """Return whether `content`, which may end inside a character, is UTF-8 without controls."""
    try:
        return not _CONTROLS.search(getincrementaldecoder("utf-8")().decode(content))
    except UnicodeDecodeError:
        return False


def _join_fields(line: bytes) -> bytes:
    """Return `line` with one space for each run of spaces and tabs, and none at its ends."""
    line = line.replace(b"\t", b" ").strip(b" \r\n")
    while b"  " in line:
        line = line.replace(b"  ", b" ")
    return line


def _read_rows(
    path: Path, data: mmap.mmap, wanted: set[bytes], max_words: int, kind: Kind
) -> Vectors:
    count = size = 0
    start = len(_BOM) if data[: len(_BOM)] == _BOM else 0
    if kind != "glove":
        header = _HEADER.match(data, start)
        if header is None:
            problem = "a word2vec file begins with two numbers: words, numbers of each"
            raise DataError(f"{path}:1: no header; {problem}")
        count, size, start = int(header[1]), int(header[2]), header.end()
        _check_size(size, f"{path}:1")
    binary = kind == "word2vec_binary"
    vectors: dict[str, np.ndarray] = {}
    rows = (_read_binary if binary else _read_text)(path, data, start, size, count)
    for number, (location, raw_word, raw) in enumerate(rows, start=1):
        if number > max_words and raw_word not in wanted:
            continue
        try:
            word = raw_word.decode()
        except UnicodeDecodeError as error:
            byte = f"byte 0x{raw_word[error.start]:02x} in the word"
            raise DataError(f"{location}: not UTF-8 ({byte})") from None
        if word not in vectors:
            vector = np.frombuffer(raw, "<f4") if binary else _parse_numbers(raw.split(b" "))
            if vector is None or not np.isfinite(vector).all():
                shown = shorten_text(repr(word))  # A binary file may have line ends in words.
                raise DataError(f"{location}: what follows {shown} is not all finite numbers")
            vectors[word] = vector
    return Vectors(list(vectors), np.array([*vectors.values()], np.float32), [])


_Rows = Iterator[tuple[str, bytes, bytes]]
"""The location, the word and the numbers of each row."""


def _check_size(size: int, location: str) -> None:
    if size > MAX_SIZE:
        problem = f"{size:,} numbers for each word; at most {MAX_SIZE:,} are allowed"
        raise DataError(f"{location}: {problem}")


def _read_text(path: Path, data: mmap.mmap, start: int, size: int, count: int) -> _Rows:
    """Yield the rows of a text file; `size` 0 is that of the first row, `count` 0 any number.

    Words that contain spaces, as a few of GloVe's do, are skipped: they are no tokens.
    """
    first = number = 1 if size else 0
    expected = "the header says" if size else "the first line has"
    data.seek(start)
    while line := data.readline():
        number += 1
        line = line.rstrip(b" \r\n")
        word, _, rest = line.partition(b" ")
        rest = rest.lstrip(b" ")
        numbers = rest.count(b" ") + bool(rest)
        if numbers != size or _TAB in word:  # Perhaps tabs or several spaces separate it.
            line = _join_fields(line)
            word, _, rest = line.partition(b" ")
            numbers = rest.count(b" ") + bool(rest)
        if not size:
            _check_size(numbers, f"{path}:{number}")
            size = numbers
        problem = ""
        if not size:
            problem = "no numbers; a line has a word and numbers, separated by spaces or tabs"
        elif numbers == size:
            yield f"{path}:{number}", word, rest
        # A word with spaces is followed by `size` numbers, too.
        elif numbers < size or _parse_numbers(line.split(b" ")[-size - 1 :]) is not None:
            problem = f"{format_count(numbers, 'number')}, but {expected} {size}"
        if problem:
            raise DataError(f"{path}:{number}: {problem}")
    if count and count != number - first:
        raise DataError(
            f"{path}: the header says {format_count(count, 'word')}, but there are"
            f" {number - first}; the file is"
            " incomplete"
        )


def _read_binary(path: Path, data: mmap.mmap, start: int, size: int, count: int) -> _Rows:
    """Yield the rows of a binary file: a word, a space, `size` 32-bit floats, maybe a line end."""
    for number in range(1, count + 1):
        space = data.find(b" ", start)
        end = space + 1 + 4 * size
        if space < 0 or end > len(data):
            raise DataError(
                f"{path}: truncated in word {number} of the {count} that the header says"
            )
        yield f"{path}: word {number}", data[start:space].lstrip(b"\n"), data[space + 1 : end]
        start = end
    if data[start:].strip(b"\n"):
        raise DataError(
            f"{path}: continues after the {format_count(count, 'word')} that the header says"
        )


@np.errstate(over="ignore")  # What is too large becomes inf, which is an error of the file.
def _parse_numbers(fields: list[bytes]) -> np.ndarray | None:
    if b"_" in b"".join(fields):  # Python would read 1_0 as 10.
        return None
    try:
        return np.array([float(field) for field in fields], np.float32)
    except ValueError:
        return None


def _read_fasttext(path: Path, wanted: Iterable[str], max_words: int, lowercase: bool) -> Vectors:
    with required_for(f"{path}: fastText's .bin"):
        from gensim.models.fasttext import load_facebook_vectors
    try:
        model = load_facebook_vectors(str(path))
    except Exception as error:
        # gensim has no class for errors in a file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: gensim cannot read it as fastText's .bin ({reason})") from None
    known = model.key_to_index
    words = dict.fromkeys(model.index_to_key[:max_words])
    composed = []
    for word in wanted:
        forms = [form for form in (word, word.lower() if lowercase else word) if form in known]
        # A word too short for any subword has none but zeros.
        if not forms and word not in words and model.get_vector(word).any():
            composed.append(word)
            forms = [word]
        words.update(dict.fromkeys(forms))
    vectors = np.array([model.get_vector(word) for word in words], np.float32)
    return Vectors(list(words), vectors, composed)
