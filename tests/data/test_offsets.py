"""Offsets that other tools counted in another unit are found by the slot's value."""

from __future__ import annotations

import json
from itertools import permutations
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotfill.data.corpus import read_examples
from slotfill.data.offsets import find_all, find_value
from slotfill.data.sentence import Example

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


def test_far_away_complete_words_go_first():
    text = f"a Oslo {'b ' * 1000}Oslos"
    assert find_value(text, len(text), len(text), "Oslo") == (2007, 2011, "the nearest occurrence")
    assert find_value(f"{text}{' b' * 1000}", 9000, 9004, "Oslo") == (
        2,
        6,
        "the nearest occurrence",
    )
    assert find_value(f"Oslos {'b ' * 1000}", 9000, 9004, "Oslo") == (
        0,
        4,
        "the nearest occurrence",
    )


@pytest.mark.parametrize(
    ("text", "value", "places"),
    [
        ("ab b b_ b.", "b", [3, 8]),
        ("ab b_ cb", "b", [1, 3, 7]),
        ("a b a b a", "a b a", [0, 4]),
        ("new york, a new york", "new york", [0, 12]),
        ("renew yorks", "new york", [2]),
        ("去台北和台北", "台北", [1, 4]),
        ("(a) b", "(a)", [0]),
        ("a, b.", ", ", [1]),
        ("ab", "cd", []),
        ("cafe\u0301s s cafe", "cafe", [9]),
        ("cafe\u0301s s cafe", "s", [7]),
        ("cafe\u0301s", "cafe", [0]),
        ("\u2764\ufe0f", "\u2764", [0]),
        ("cafe\u0301 \u00e9 e\u0301", "\u00e9", [6, 8]),
        ("cafe\u0301 caf\u00e9", "e\u0301", [3, 9]),
    ],
)
def test_a_value_is_found_as_words_or_else_anywhere(text, value, places):
    assert [first for first, _ in find_all(text, value)] == places


def test_corrections_are_listed():
    example = Example("🛫 to Oslo", location="a:1")
    example.add_span("city", 6, 10, "Oslo")
    example.add_span("mode", 0, 1, "🛫", resolved="plane")
    assert example.spans == [("city", 5, 9, None), ("mode", 0, 1, "plane")]
    assert example.issues == [
        (
            "corrected offset",
            "a:1",
            "slot 'city' ('Oslo'): 6 to 10 read as 5 to 9 (UTF-16 code units)",
        ),
    ]
    example.add_span("city", 5, 9, "Rome")


LETTERS = "Zae\u00fc\u0301\u0308\u1ea1\u1112\u1161\u11ab \U0001f6eb"


@given(
    before=st.text(LETTERS, max_size=8),
    value=st.sampled_from(["Z\u00fcrich", "\ud55c\uad6d", "\u1ea1\u0301x", "Oslo"]),
    after=st.sampled_from(["", " a", "! \u00fc"]),
    forms=st.tuples(*[st.sampled_from(["NFC", "NFD"])] * 3),
)
def test_values_and_offsets_of_another_normalization_are_found(before, value, after, forms):
    of_text, of_value, of_offsets = forms
    before, after = f"{before} ", f" {after}"
    text = normalize(of_text, before + value + after)
    start = len(normalize(of_offsets, before))
    end = start + len(normalize(of_offsets, value))
    first, last, unit = find_value(text, start, end, normalize(of_value, value))
    assert text[first:last] == normalize(of_text, value)
    assert first == len(normalize(of_text, before)) or unit == "the nearest occurrence"


def test_offsets_are_not_corrected_where_only_the_normalization_differs():
    for of_text, of_value in permutations(("NFC", "NFD")):
        text, value = normalize(of_text, "nach Z\u00fcrich"), normalize(of_value, "Z\u00fcrich")
        example = Example(text, location="a:1")
        example.add_span("city", 5, len(text), value)
        assert example.spans == [("city", 5, len(text), None)] and example.issues == ()
    example = Example(normalize("NFD", "\u00fcber Z\u00fcrich!"), location="a:1")
    example.add_span("city", 5, 11, "Z\u00fcrich")
    assert [issue.message for issue in example.issues] == [
        "slot 'city' ('Z\u00fcrich'): 5 to 11 read as 6 to 13 (characters in NFC)"
    ]


@pytest.mark.parametrize(("of_text", "of_value"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_formats_compare_texts_after_normalization(of_text, of_value, tmp_path):
    text, value = normalize(of_text, "nach Z\u00fcrich"), normalize(of_value, "Z\u00fcrich")
    start, end = 5, len(text)
    brat = f"T1\tcity {start} {end}\t{value}\n"
    region = {"start": start, "end": end, "text": value, "labels": ["city"]}
    rows = {
        "a.jsonl": {"text": text, "tokens": ["nach", value], "tags": ["O", "B-city"]},
        "b.jsonl": {"text": text, "slots": [{"name": "city", "value": value, **ends(5, end)}]},
        "c.jsonl": {"input": text, "output": {"entities": {"city": [value]}}},
        "d.jsonl": {"utt": text, "annot_utt": f"nach [city : {value}]"},
        "e.json": [
            {
                "data": {"text": text},
                "annotations": [
                    {"result": [{"type": "labels", "from_name": "l", "value": region}]}
                ],
            }
        ],
    }
    (tmp_path / "f.txt").write_text(f"{text}\n", encoding="utf-8")
    (tmp_path / "f.ann").write_text(brat, encoding="utf-8")
    for name, content in rows.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    for name in [*rows, "f.txt"]:
        (example,) = read_examples(tmp_path / name)
        assert example.spans == [("city", 5, len(text), None)], name
        assert example.issues == (), name


def ends(start, end):
    return {"start": start, "end": end}
