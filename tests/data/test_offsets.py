"""Offsets that other tools counted in another unit are found by the slot's value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotfill.data.offsets import find_value
from slotfill.data.sentence import Example
from slotfill.errors import DataError

UNITS = {
    "UTF-16 code units": lambda text: len(text.encode("utf-16-le")) // 2,
    "line ends of two characters": lambda text: len(text.replace("\n", "\r\n")),
    "bytes": lambda text: len(text.encode()),
}


@pytest.mark.parametrize("unit", UNITS)
@given(before=st.text("a✈🛫é\n", max_size=8), after=st.text("a✈🛫é\n", max_size=8))
def test_offsets_in_other_units_are_corrected(unit, before, after):
    text = f"{before}Oslo{after}"
    start, size = UNITS[unit](before), UNITS[unit]("Oslo")
    first, last, found = find_value(text, start, start + size, "Oslo")
    assert (first, last) == (len(before), len(before) + 4)
    assert found in ("", *UNITS)


def test_each_unit_is_named():
    assert find_value("🛫 to Oslo", 6, 10, "Oslo") == (5, 9, "UTF-16 code units")
    assert find_value("é to Oslo", 6, 10, "Oslo") == (5, 9, "bytes")
    assert find_value("a\nto Oslo", 6, 10, "Oslo") == (5, 9, "line ends of two characters")


def test_else_the_nearest_occurrence_is_taken():
    text = "Oslo to Oslo or Oslo"
    assert find_value(text, 7, 11, "Oslo") == (8, 12, "the nearest occurrence")
    assert find_value(text, -3, 1, "Oslo") == (0, 4, "the nearest occurrence")
    assert find_value(text, 90, 99, "Oslo") == (16, 20, "the nearest occurrence")
    assert find_value(text, 0, 4, "Rome") is None


def test_corrections_are_listed():
    example = Example("🛫 to Oslo", location="a:1")
    example.add_span("city", 6, 10, "Oslo")
    example.add_span("mode", 0, 1, "🛫", resolved="plane")
    assert example.spans == [("city", 5, 9, None), ("mode", 0, 1, "plane")]
    assert example.issues == (
        (
            "corrected offset",
            "a:1",
            "slot 'city' ('Oslo'): 6 to 10 read as 5 to 9 (UTF-16 code units)",
        ),
    )
    with pytest.raises(DataError, match=r"a:1: slot 'city' has the value 'Rome', which is not in"):
        example.add_span("city", 5, 9, "Rome")
