"""Offsets of slots in a text, checked against their values and corrected where they differ.

Tools count characters in different units: Unicode code points, as here; UTF-16 code units, in
which an emoji is two (JavaScript, Java, C#); code points with each line end as two, or CRLF as one;
bytes; or code points after Unicode normalization, where an accent is part of its letter (NFC) or a
character of its own (NFD). Values are compared after normalization, too.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from unicodedata import category, combining

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
    if value and (place := _find_nearest(text, value, start)):
        return *place, NEAREST
    return None


class ForwardSearch:
    """Finds what follows at places of a text that never decrease, in linear time for each value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: dict[str, int] = {}

    def find(self, value: str, start: int) -> int:
        """Return where `value` is at or after `start`; the length of the text if it is nowhere."""
        found = self._found.get(value, -1)
        if found < start:
            found = self.text.find(value, start)
            found = len(self.text) if found < 0 else found
            self._found[value] = found
        return found


_PIECE = re.compile(r"[^\W\u0e00-\U0010ffff]+|[\u0e00-\U0010ffff]")
"""A word, or a character of the scripts from Thai on, several of which have no spaces."""


class _Occurrences:
    """Finds each value that is in a text, by the rarest of its words."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._places: dict[str, list[int]] = defaultdict(list)
        self._found: dict[str, Sequence[tuple[int, int]]] = {}
        for match in _PIECE.finditer(text):
            self._places[match[0]].append(match.start())

    def find(self, value: str) -> Sequence[tuple[int, int]]:
        """Return what `find_all` does."""
        if value not in self._found:
            forms = normal_forms(value)
            places = [place for form in forms for place in self._find_words(form)]
            places = places or [place for form in forms for place in self._find_parts(form)]
            self._found[value] = sorted(places)
        return self._found[value]

    def _find_words(self, value: str) -> Iterator[tuple[int, int]]:
        pieces = [(match[0], match.start()) for match in _PIECE.finditer(value)]
        for start in self._list(value, pieces):
            if not self._is_in_word(value, start):
                yield start, start + len(value)

    def _find_parts(self, value: str) -> Iterator[tuple[int, int]]:
        pieces = [
            (match[0], match.start())
            for match in _PIECE.finditer(value)
            # Only such a piece is one of the text, too, if value is inside of words.
            if match[0] >= "\u0e00" or 0 < match.start() < len(value) - len(match[0])
        ]
        for start in self._list(value, pieces):
            yield start, start + len(value)

    def _list(self, value: str, pieces: Sequence[tuple[str, int]]) -> list[int]:
        """Return where `value` is and has the `pieces` at their offsets; anywhere without one."""
        if pieces:
            rarest, at = min(pieces, key=lambda piece: len(self._places.get(piece[0], ())))
            return [
                place - at
                for place in self._places.get(rarest, ())
                if place >= at and self._text.startswith(value, place - at)
            ]
        found, start = [], self._text.find(value)
        while start >= 0:
            found.append(start)
            start = self._text.find(value, start + 1)
        return found

    def _is_in_word(self, value: str, start: int) -> bool:
        end = start + len(value)
        beside = self._text[max(start - 1, 0) : start] + self._text[end : end + 1]
        return any(
            character.isalnum() or character == "_" or category(character).startswith("M")
            for character in beside
        )


@lru_cache(maxsize=4)
def _index(text: str) -> _Occurrences:
    return _Occurrences(text)


def find_all(text: str, value: str) -> Sequence[tuple[int, int]]:
    """Return where `value` is in `text`, in order: as complete words, or if it never is, anywhere.

    It may be there in another normalization form. Complete words have no letter, combining mark,
    digit or underscore beside them.

    Returns:
        The first and last character (exclusive) of each place.
    """
    return _index(text).find(value)


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


def to_utf16(text: str, character: int) -> int:
    """Return how many UTF-16 code units are before a character of a text."""
    return _count_units(text, _UTF16)[character]


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


_NEAR = 1000
"""So many characters around its offset, a value is looked for without counting words."""


def _find_nearest(text: str, value: str, start: int) -> tuple[int, int] | None:
    """Return where `value` is nearest to `start`, and first of two places; None for nowhere.

    Far from `start` complete words go first.
    """
    start = min(max(start, 0), len(text))
    places: Sequence[tuple[int, int]] = [
        (place, place + len(form))
        for form in normal_forms(value)
        for place in (
            text.rfind(form, max(start - _NEAR, 0), start + len(form)),
            text.find(form, start, start + _NEAR + len(form)),
        )
        if place >= 0
    ]
    if not places:
        places = find_all(text, value)
        index = bisect_left(places, (start,))
        places = places[max(index - 1, 0) : index + 1]
    return min(places, key=lambda place: (abs(place[0] - start), place), default=None)
