"""Offsets of slots in a text, checked against their values and corrected where they differ.

Tools count characters in different units: Unicode code points, as here; UTF-16 code units, in
which an emoji is two (JavaScript, Java, C#); code points with each line end as two, or CRLF as one;
bytes; or code points after Unicode normalization, where an accent is part of its letter (NFC) or a
character of its own (NFD). Values are compared after normalization, too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

NEAREST = "the nearest occurrence"
"""How a value was found that is at its offsets in no unit."""


def find_value(text: str, start: int, end: int, value: str) -> tuple[int, int, str] | None:
    """Return where `value` is in `text`, near the offsets `start` and `end` of a file.

    Returns:
        Its first and last character (exclusive) and how they were found: an empty text if the
        offsets are right, else the unit in which they are, or that the nearest occurrence was
        taken. None if the text does not contain the value.
    """
    for unit, sizes in _UNITS.items():
        first, last = (_to_characters(offset, sizes(text)) for offset in (start, end))
        if first is not None and last is not None and is_same(text[first:last], value):
            return first, last, unit
    for form in normal_forms(value):
        if places := list(_occurrences(text, form)):
            nearest = min(places, key=lambda place: abs(place - start))
            return nearest, nearest + len(form), NEAREST
    return None


def is_same(text: str, other: str) -> bool:
    """Return whether two texts have the same characters after Unicode normalization."""
    return text == other or (not text.isascii() and _nfc(text) == _nfc(other))


def normal_forms(text: str) -> Iterable[str]:
    """Return `text` as it is, and in NFC and NFD if that is different."""
    return (text,) if text.isascii() else dict.fromkeys((text, _nfc(text), _nfd(text)))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def _count_nfc(text: str) -> Iterator[int]:
    """Yield the length of each character after NFC, that of a letter with its accents first."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or not _joins(text[end]):
            yield len(_nfc(text[start:end]))
            yield from (0 for _ in range(start + 1, end))
            start = end


def _joins(character: str) -> bool:
    """Return whether `character` may become one with the character before it: an accent, a jamo."""
    return bool(unicodedata.combining(character)) or "\u1160" <= character <= "\u11ff"


def _each(size: Callable[[str], int]) -> Callable[[str], Iterable[int]]:
    return lambda text: map(size, text)


_UNITS: dict[str, Callable[[str], Iterable[int]]] = {
    "": _each(lambda character: 1),
    "UTF-16 code units": _each(lambda character: 2 if character > "\uffff" else 1),
    "line ends of two characters": _each(lambda character: 2 if character == "\n" else 1),
    "line ends of one character": _each(lambda character: int(character != "\r")),
    "bytes": _each(lambda character: len(character.encode(errors="surrogatepass"))),
    "characters in NFC": _count_nfc,
    "characters in NFD": _each(lambda character: len(_nfd(character))),
}
"""How long each character of a text is in each unit."""


def _to_characters(offset: int, sizes: Iterable[int]) -> int | None:
    """Return the character at which `offset` units have passed; None if there is none."""
    for index, passed in enumerate(accumulate(sizes, initial=0)):
        if passed >= offset:
            return index if passed == offset else None
    return None


def _occurrences(text: str, value: str) -> Iterator[int]:
    start = text.find(value) if value else -1
    while start >= 0:
        yield start
        start = text.find(value, start + 1)
