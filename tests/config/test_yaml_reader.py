"""YAML without the surprises of YAML 1.1, with the line of every key, and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotfill.config.yaml_reader import dump, parse, parse_override
from slotfill.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("2.", 2.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("2026-11-02", "2026-11-02"),
        ("010", 10),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("-7", -7),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("=", "="),
        ("[no, 1e-3]", ["no", 0.001]),
        ("{size: 50}", {"size": 50}),
    ],
)
def test_plain_scalars_follow_the_core_schema(text, value):
    found = parse(f"key: {text}", "x.yaml")[0]["key"]
    assert found == value
    assert type(found) is type(value)
    assert parse_override(text) == value


def test_every_key_and_list_item_has_its_line():
    data, lines = parse("a: 1\nb:\n  - c\n  - d: 2\n    e: {f: 3}\n\n# a comment\ng: h\n", "x.yaml")
    assert data == {"a": 1, "b": ["c", {"d": 2, "e": {"f": 3}}], "g": "h"}
    assert lines == {
        "": 1, "a": 1, "b": 2, "b.0": 3, "b.1": 4, "b.1.d": 4, "b.1.e": 5, "b.1.e.f": 5, "g": 8,
    }  # fmt: skip


def test_keys_are_words_and_no_text_is_no_keys():
    assert parse("3: x\nno: y\n~: z\n", "x.yaml")[0] == {"3": "x", "no": "y", "~": "z"}
    assert parse("", "x.yaml") == ({}, {})
    assert parse("# nothing yet\n", "x.yaml") == ({}, {})


def test_alias_has_the_value_and_line_of_its_anchor():
    data, lines = parse("a: &p {name: word}\nb:\n  - *p\n", "x.yaml")
    assert data == {"a": {"name": "word"}, "b": [{"name": "word"}]}
    assert lines["b.0"] == 1  # where it is written


@pytest.mark.parametrize(
    "text", ["a: [1", "a: *b", "? [a]\n: b", "a: 1\na: 2", "a: !!int x", "a: \0", "[" * 600]
)
def test_invalid_yaml_is_one_line(text):
    with pytest.raises(ConfigError) as error:
        parse(text, "x.yaml")
    assert str(error.value).startswith("x.yaml:")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError):
        parse_override(text)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
WORDS = [
    "no",
    "1e-3",
    "12:30",
    "<<",
    "~",
    "010",
    " x ",
    "",
    "台北",
    "a: b",
    "# c",
    "!!x",
    "-",
    "null",
    "\u2028",
    "a\x85b",
    "\x85",
    "\u2029x",
    "\ufeff",
    "\x07\x9b\x7f",
    "\ufffe",
    "\U0001f600",
    "\t",
]


@given(
    st.recursive(
        PLAIN | st.sampled_from(WORDS), lambda inner: st.lists(inner, max_size=3), max_leaves=6
    )
)
def test_dump_and_parse_round_trip(value):
    found, _ = parse(dump({"key": value}), "x.yaml")
    assert found == {"key": value}
    assert repr(found) == repr({"key": value})


@pytest.mark.parametrize("text", WORDS)
def test_unusual_characters_round_trip(text):
    assert parse(dump({"key": text, f"{text}x": 1}), "x.yaml")[0] == {"key": text, f"{text}x": 1}
