"""Offsets of slots in a text, checked against their values and corrected where they differ.

Tools count characters in different units: Unicode code points, as here; UTF-16 code units, in
which an emoji is two (JavaScript, Java, C#); code points with each line end as two, or CRLF as one;
bytes; or code points after Unicode normalization, where an accent is part of its letter (NFC) or a
character of its own (NFD). Values are compared after normalization, too.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from unicodedata import combining

from slotfill.data.normalization import normalize

NEAREST = "the nearest occurrence"
"""How a value was found that is at its offsets in no unit."""

_UTF16 = "UTF-16 code units"


def find_value(text: str, start: int, end: int, value: str) -> tuple[int, int, str] | None:
    """Return where `value` is in `text`, near the offsets `start` and `end` of a file.

    Returns:
        Its first and last character (exclusive) and how they were found: an empty text if the
        offsets are right, else the unit in which they are, or that the nearest occurrence was
        taken. None if the text does not contain the value.
    """
    for unit in _UNITS:
        first, last = (_to_character(text, unit, offset) for offset in (start, end))
        if first is not None and last is not None and _is_at(text, first, last, value):
            return first, last, unit
    for form in normal_forms(value):
        if form and (place := _find_nearest(text, form, start)) is not None:
            return place, place + len(form), NEAREST
    return None


class ForwardSearch:
    """Finds what follows at places of a text that never decrease, in linear time for each value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: dict[tuple[str, bool], int] = {}

    def find(self, value: str, start: int, *, is_word: bool = False) -> int:
        """Return where `value` is at or after `start`; the length of the text if it is nowhere.

        With `is_word` there is no letter, digit or underscore beside it.
        """
        text, found = self.text, self._found.get((value, is_word), -1)
        if found < start:
            found = text.find(value, start)
            while is_word and found >= 0 and _is_in_word(text, found, found + len(value)):
                found = text.find(value, found + 1)
            found = len(text) if found < 0 else found
            self._found[value, is_word] = found
        return found


def _is_in_word(text: str, start: int, end: int) -> bool:
    return any(
        char.isalnum() or char == "_"
        for char in (text[max(start - 1, 0) : start], text[end : end + 1])
    )


def is_same(text: str, other: str) -> bool:
    """Return whether two texts have the same characters after Unicode normalization."""
    return text == other or (not text.isascii() and _nfc(text) == _nfc(other))


def normal_forms(text: str) -> Iterable[str]:
    """Return `text` as it is, and in NFC and NFD if that is different."""
    return (text,) if text.isascii() else dict.fromkeys((text, _nfc(text), _nfd(text)))


def _nfc(text: str) -> str:
    return normalize("NFC", text)


def _nfd(text: str) -> str:
    return normalize("NFD", text)


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
    return bool(combining(character)) or "\u1160" <= character <= "\u11ff"


def _each(size: Callable[[str], int]) -> Callable[[str], Iterable[int]]:
    return lambda text: map(size, text)


_UNITS: dict[str, Callable[[str], Iterable[int]]] = {
    "": _each(lambda character: 1),
    _UTF16: _each(lambda character: 2 if character > "\uffff" else 1),
    "line ends of two characters": _each(lambda character: 2 if character == "\n" else 1),
    "line ends of one character": _each(lambda character: int(character != "\r")),
    "bytes": _each(lambda character: len(character.encode(errors="surrogatepass"))),
    "characters in NFC": _count_nfc,
    "characters in NFD": _each(lambda character: len(_nfd(character))),
}
"""How long each character of a text is in each unit."""

_LINE_ENDS = ("line ends of two characters", "line ends of one character")
"""The units in which an ASCII character may have another length than 1."""


@lru_cache(maxsize=64)
def _count_units(text: str, unit: str) -> array[int]:
    """Return how many units are before each character of a text, and before its end."""
    return array("I", accumulate(_UNITS[unit](text), initial=0))


def from_utf16(text: str, offset: int) -> int:
    """Return how many characters of a text end within its first `offset` UTF-16 code units."""
    return bisect_right(_count_units(text, _UTF16), offset, lo=1) - 1


def _to_character(text: str, unit: str, offset: int) -> int | None:
    """Return the character at which `offset` units have passed; None if there is none."""
    if not unit or (text.isascii() and unit not in _LINE_ENDS):
        return offset if 0 <= offset <= len(text) else None
    passed = _count_units(text, unit)
    index = bisect_left(passed, offset)
    return index if index < len(passed) and passed[index] == offset else None


def _is_at(text: str, start: int, end: int, value: str) -> bool:
    """Return whether `value` is at these characters; a longer run of them is not looked at."""
    return end - start <= len(_nfd(value)) and is_same(text[start:end], value)


@lru_cache(maxsize=1024)
def _contains(text: str, value: str) -> bool:
    return value in text


def _find_nearest(text: str, value: str, start: int) -> int | None:
    """Return where `value` is nearest to `start`, and first of two places; None for nowhere."""
    start = min(max(start, 0), len(text))
    reach = 64
    while True:
        first, last = max(start - reach, 0), start + reach
        before = text.rfind(value, first, start + len(value))
        after = text.find(value, start, last + len(value))
        places = [place for place in (before, after) if place >= 0]
        if places:
            return min(places, key=lambda place: abs(place - start))
        if not _contains(text, value):
            return None
        reach *= 4
