"""The lines of text in UTF-8; the likely encoding of other text is named."""

from __future__ import annotations

import logging
import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import BinaryIO, Literal

from slotfill.errors import DataError, format_count

EncodingErrors = Literal["strict", "replace", "skip"]
"""What becomes of lines that are not UTF-8; replaced characters become U+FFFD."""

_UTF8_HINT = "save it as UTF-8, e.g. iconv -t utf-8 -f"
_BYTE_ORDER_MARKS = {  # The first mark of UTF-32 begins with one of UTF-16.
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}
_BINARY_FILES = {
    b"\x1f\x8b": "compressed by gzip, not text; unpack it first",
    b"BZh": "compressed by bzip2, not text; unpack it first",
    b"\xfd7zXZ": "compressed by xz, not text; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd, not text; unpack it first",
    b"PK\x03\x04": "a zip file or a spreadsheet, not text; unpack it, or save it as CSV",
    b"PAR1": "Parquet, not text; save it as a .parquet file",
    b"ARROW1": "Arrow, not text; save it as an .arrow file",
    b"x\x9c": "compressed by zlib, not text; if it is of spaCy, save it as a .spacy file",
    b"%PDF": "PDF, not text",
}
"""What a file is by its first bytes."""
_CONTROLS = re.compile(rb"[^\t\x20-\x7e]|^%PDF-")
_EAST_ASIAN_ENCODINGS = {
    "euc-kr": rb"[\xb0-\xc8].",
    "euc-jp": rb"[\xa4\xa5\xb0-\xcf].",
    "gb18030": rb"[\xb0-\xd7][\xa1-\xfe]",
    "big5": rb"[\xa4-\xc6].",
    "shift_jis": rb"[\x82\x83\x88-\x97].",
}
"""The bytes of common letters in each encoding: kana, hangul, the first level of ideographs."""

_SAMPLE_SIZE = 1_000_000
"""Bytes from which an encoding, and the end of lines, is guessed."""
_CHUNK_SIZE = 1 << 16

logger = logging.getLogger(__name__)


class LineTooLongError(DataError):
    """A line has more characters than are read."""


def decode_lines(
    file: BinaryIO,
    name: str,
    errors: EncodingErrors = "strict",
    max_characters: int | None = None,
) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of an open UTF-8 file called `name`.

    A byte-order mark is dropped. Lines end in LF or CRLF, or in CR if the file has no LF. Lines
    that are not UTF-8 are logged if `errors` is "replace" or "skip". A line of more than
    `max_characters` is not read to its end, which may never come.

    Raises:
        LineTooLongError: A line has more than `max_characters`.
        DataError: The file is not text, it mixes line ends, or it is not UTF-8 if `errors` is
            "strict".
    """
    undecodable = 0
    max_bytes = None if max_characters is None else 4 * max_characters + 4
    for number, line in enumerate(_split_lines(file, max_bytes), 1):
        is_cut = max_bytes is not None and len(line) > max_bytes
        if number == 1:
            for encoding, marks in _BYTE_ORDER_MARKS.items():
                if line.startswith(marks):
                    hint = f"{_UTF8_HINT} {encoding.lower()}"
                    raise DataError(f"{name}:1: {encoding}, not UTF-8; {hint}")
            for mark, what in _BINARY_FILES.items():
                if line.startswith(mark) and _CONTROLS.search(line):
                    raise DataError(f"{name}: {what}")
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in line:
            raise DataError(
                f"{name}:{number}: a CR at column {line.index(13) + 1}, though lines end in LF;"
                " replace it by LF or a space"
            )
        if b"\n" in line:
            raise DataError(f"{name}:{number}: an LF, though lines end in CR; let all end in LF")
        if b"\0" in line:
            raise DataError(
                f"{name}:{number}: a NUL byte at column {line.index(0) + 1}; not a text file"
            )
        try:
            # The last character of a line that is cut may be incomplete.
            text = getincrementaldecoder("utf-8")().decode(line) if is_cut else line.decode()
        except UnicodeDecodeError as error:
            column = len(line[: error.start].decode()) + 1
            byte = f"byte 0x{line[error.start]:02x}"
            message = f"{name}:{number}: not UTF-8 ({byte} at column {column})"
            if errors == "strict":
                raise DataError(f"{message}; {_encoding_hint(_sample(file, line))}") from None
            undecodable += 1
            logger.warning("%s; %s", message, "replaced" if errors == "replace" else "skipped")
            if errors == "skip":
                continue
            text = line.decode(errors="replace")
        if max_characters is not None and len(text) > max_characters:
            problem = f"a line of more than {max_characters:,} characters; give one sentence a line"
            raise LineTooLongError(f"{name}:{number}: {problem}")
        yield number, text
    if undecodable:
        verb = "is" if undecodable == 1 else "are"
        logger.warning("%s: %s %s not UTF-8", name, format_count(undecodable, "line"), verb)


def _split_lines(file: BinaryIO, max_bytes: int | None) -> Iterator[bytes]:
    """Yield the lines of `file` without line ends, of a longer one `max_bytes` and one more.

    They end in CR if there is no LF in the first of them.
    """
    size = -1 if max_bytes is None else max_bytes + 1
    line = file.readline(_SAMPLE_SIZE if max_bytes is None else min(_SAMPLE_SIZE, size))
    if not re.search(rb"[\r\n]", line) and len(line) != size:
        line += file.readline(size if max_bytes is None else size - len(line))
    if line.endswith(b"\r"):  # Perhaps the half of a CRLF.
        line += file.read(1)
    if not line.endswith(b"\n") and b"\r" in line[:-1]:
        yield from _split_at_cr(file, line, max_bytes)
        return
    while line:
        yield line.removesuffix(b"\n").removesuffix(b"\r")
        while max_bytes is not None and len(line) > max_bytes and not line.endswith(b"\n"):
            line = file.readline(size)
        line = file.readline(size)


def _split_at_cr(file: BinaryIO, begin: bytes, max_bytes: int | None) -> Iterator[bytes]:
    """Yield the lines of `file`, of which `begin` is read, as `_split_lines` does."""
    *lines, rest = begin.split(b"\r")
    is_cut = False
    while True:
        for line in lines:
            if not is_cut:
                yield line
            is_cut = False
        if max_bytes is not None and len(rest) > max_bytes:
            if not is_cut:
                yield rest
            rest, is_cut = b"", True
        chunk = getattr(file, "read1", file.read)(_CHUNK_SIZE)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\r")
    if rest and not is_cut:
        yield rest


def _sample(file: BinaryIO, line: bytes) -> bytes:
    """Return the beginning of `file`, or `line` if what was read of it is gone."""
    if not file.seekable():
        return line[:_SAMPLE_SIZE]
    file.seek(0)
    return file.read(_SAMPLE_SIZE)


def _encoding_hint(content: bytes) -> str:
    """Return how a file that is not UTF-8 is corrected: its likely encodings, the best first."""
    text = content.decode(errors="replace")
    not_utf8 = text.count("\ufffd")
    if sum(character > "\x7f" for character in text) > 2 * not_utf8:
        return "the rest of the file is UTF-8; correct the line"
    scores = {name: _measure_common_letters(content, name) for name in _EAST_ASIAN_ENCODINGS}
    best = max(scores.values())
    # In Latin text, a letter that is not ASCII has ASCII around it, and no byte is a control.
    runs = re.findall(rb"[\x80-\xff]+", content)
    latin = [run for run in runs if re.fullmatch(rb"[\xc0-\xff]", run)]
    if len(latin) > len(runs) / 2 and not re.search(rb"[\x80-\x9f]", content):
        names = ["latin1"]
    else:
        likely = [name for name, score in scores.items() if score > max(0.7, best - 0.1)]
        names = sorted(likely, key=lambda name: -scores[name])
    if len(names) == 1:
        return f"{_UTF8_HINT} {names[0]}"
    return f"{_UTF8_HINT} ENCODING" + (f" (perhaps {' or '.join(names)})" if names else "")


def _measure_common_letters(content: bytes, encoding: str) -> float:
    """Return the share of common letters among those that are not ASCII; 0 if it cannot decode."""
    try:  # The last character may be incomplete.
        text = getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return 0.0
    letters = [letter for letter in text if letter > "\x7f" and letter.isalpha()]
    common = re.compile(_EAST_ASIAN_ENCODINGS[encoding], re.DOTALL)
    return sum(bool(common.fullmatch(each.encode(encoding))) for each in letters) / max(
        1, len(letters)
    )
