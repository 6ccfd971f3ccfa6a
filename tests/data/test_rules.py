"""Rules fill and veto slots, alone and where they collide."""

from __future__ import annotations

import warnings

import pytest

from slotfill.data.rules import Rules
from slotfill.data.sentence import Slot
from slotfill.data.tokenizers import Tokenizer

CITIES = ["new york", "york", "san juan", "san juan del sur"]
FLIGHT = {"slot": "flight_number", "action": "fill", "pattern": r"[A-Z]{2}\d{2,4}"}
CITY = {"slot": "city", "action": "fill", "phrases": CITIES}
NO_CITY = {"slot": "city", "action": "veto", "phrases": CITIES}


def applied(rules, text, slots=(), confidences=None):
    """The values after rules, as (name, value, confidence)."""
    sentence = Tokenizer().tokenize(text)
    confidences = [0.5] * len(slots) if confidences is None else confidences
    filled, own = Rules(rules).apply(sentence, slots, confidences)
    return [(s.name, sentence.value(s), p) for s, p in zip(filled, own, strict=True)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("take BR25 to Oslo", ["BR25"]),
        ("BR25, CI104 or JL8096?", ["BR25", "CI104", "JL8096"]),
        ("take br25", []),
        # Matches inside a token are none: not the last characters of XBR25, nor four of six digits.
        ("take XBR25 or BR250000", []),
        ("", []),
    ],
)
def test_pattern_fills_whole_tokens(text, values):
    assert applied([FLIGHT], text) == [("flight_number", value, 1.0) for value in values]


def test_group_is_the_value_in_its_context():
    rule = {"slot": "gate", "action": "fill", "pattern": r"(?i)gate (?P<value>\w+)"}
    assert applied([rule], "B12 is at Gate B12") == [("gate", "B12", 1.0)]


@pytest.mark.parametrize("pattern", ["seat:(?P<value>.*)", "seat:(?P<value> ?12A )", " 12A "])
def test_white_space_around_a_value_does_not_count(pattern):
    rule = {"slot": "seat", "action": "fill", "pattern": pattern}
    assert applied([rule], "my seat: 12A ") == [("seat", "12A", 1.0)]


def test_list_fills_its_longest_phrases():
    found = applied([CITY], "from NEW YORK to San Juan del Sur via San Juan")
    assert [value for _, value, _ in found] == ["NEW YORK", "San Juan del Sur", "San Juan"]


def test_filled_slot_replaces_all_that_overlaps_it():
    slots = [Slot("airline", 1, 2), Slot("city", 2, 4), Slot("time", 5, 6)]
    found = applied([CITY], "the Delta New York flight noon", slots[:2], [0.9, 0.4])
    assert found == [("airline", "Delta", 0.9), ("city", "New York", 1.0)]
    one = applied([CITY], "the old New York flight", [Slot("place", 1, 5)])
    assert one == [("city", "New York", 1.0)]


def test_first_of_two_rules_counts():
    other = {"slot": "name", "action": "fill", "pattern": "York"}
    assert [n for n, _, _ in applied([CITY, other], "New York")] == ["city"]
    assert applied([other, CITY], "New York") == [("name", "York", 1.0)]
    assert [v for _, v, _ in applied([other, CITY], "York San Juan")] == ["York", "San Juan"]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (NO_CITY, ["Oslo", "York"]),
        ({"slot": "city", "action": "veto", "pattern": "New York|Oslo"}, ["York"]),
        ({"slot": "city", "action": "veto", "pattern": "York"}, ["New York", "Oslo", "York"]),
        ({"slot": "town", "action": "veto", "pattern": ".*"}, ["New York", "Oslo", "York"]),
    ],
)
def test_veto_removes_slots_of_its_name_by_their_whole_value(rule, kept):
    slots = [Slot("city", 0, 2), Slot("city", 2, 3), Slot("person", 3, 4)]
    assert [value for _, value, _ in applied([rule], "New York Oslo York", slots)] == kept


def test_veto_does_not_remove_what_a_rule_fills():
    assert applied([CITY, NO_CITY], "New York", [Slot("city", 0, 2)]) == [("city", "New York", 1.0)]


def test_no_rule_changes_nothing():
    slots = [Slot("city", 0, 1)]
    assert not Rules([])
    assert applied([], "Oslo", slots) == [("city", "Oslo", 0.5)]


def test_a_run_with_a_pattern_of_which_python_warns_is_loaded_without_a_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Rules([{"slot": "city", "action": "fill", "pattern": "[[b]y"}])
    assert not caught
