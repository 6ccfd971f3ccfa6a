"""Offsets of slots in a text, checked against their values and corrected where they differ.

Tools count characters in different units: Unicode code points, as here; UTF-16 code units, in
which an emoji is two (JavaScript, Java, C#); code points with each line end as two, or CRLF as one;
or bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        first, last = _to_characters(text, start, sizes), _to_characters(text, end, sizes)
        if first is not None and last is not None and text[first:last] == value:
            return first, last, unit
    places = list(_occurrences(text, value))
    if not places:
        return None
    nearest = min(places, key=lambda place: abs(place - start))
    return nearest, nearest + len(value), NEAREST


_UNITS: dict[str, Callable[[str], int]] = {
    "": lambda character: 1,
    "UTF-16 code units": lambda character: 2 if character > "\uffff" else 1,
    "line ends of two characters": lambda character: 2 if character == "\n" else 1,
    "line ends of one character": lambda character: int(character != "\r"),
    "bytes": lambda character: len(character.encode(errors="surrogatepass")),
}
"""How long a character is in each unit."""


def _to_characters(text: str, offset: int, size: Callable[[str], int]) -> int | None:
    """Return the character at which `offset` units have passed; None if there is none."""
    for index, passed in enumerate(accumulate(map(size, text), initial=0)):
        if passed >= offset:
            return index if passed == offset else None
    return None


def _occurrences(text: str, value: str) -> Iterator[int]:
    start = text.find(value) if value else -1
    while start >= 0:
        yield start
        start = text.find(value, start + 1)
