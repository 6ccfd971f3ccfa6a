"""Lists of phrases and where they occur."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.indexers import GazetteerIndexer
from slotfill.data.phrases import PhraseMatcher, lookup_form, phrase_form, read_phrases
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError

TOKENS = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


def longest_from_left(phrases: set[tuple[str, ...]], tokens: list[str]) -> list[tuple[int, int]]:
    """The definition: at each position the longest phrase that starts there, if there is one."""
    found, start = [], 0
    while start < len(tokens):
        ends = [e for e in range(len(tokens), start, -1) if tuple(tokens[start:e]) in phrases]
        found += [(start, end) for end in ends[:1]]
        start = ends[0] if ends else start + 1
    return found


@settings(max_examples=100, derandomize=True)
@given(st.lists(TOKENS, min_size=1, max_size=6), TOKENS)
def test_longest_phrases_are_found_from_left_to_right(phrases, tokens):
    matcher = PhraseMatcher(map(" ".join, phrases))
    assert matcher.find(tokens) == longest_from_left(set(map(tuple, phrases)), tokens)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("New York", "NEW york"),
        ("Straße", "STRASSE"),
        ("Cafe\u0301", "CAFÉ"),
        ("Tokyo", "Ｔｏｋｙｏ"),
        ("O'Hare Airport", "o'hare  airport"),
        ("台北", "台北"),
        ("\u00a8 u", "\u00a8 U"),
    ],
)
def test_case_width_and_composition_do_not_matter(phrase, text):
    tokenizer = Tokenizer()
    tokens = tokenizer.tokenize(text).tokens
    matcher = PhraseMatcher([phrase_form(phrase, tokenizer)])
    assert matcher.find(["x", *tokens]) == [(1, 1 + len(tokens))]


def test_no_token_has_an_empty_form():
    assert all(lookup_form(chr(code)) for code in range(1, 0x3100))


def test_phrases_are_read_once_each(tmp_path):
    file = tmp_path / "cities.txt"
    file.write_text("\ufeffNew  York\r\n\r\nnew york\r\nSt. Louis\r\n", encoding="utf-8")
    assert read_phrases(file, Tokenizer()) == ["new york", "st . louis"]


def test_phrases_have_up_to_100_tokens(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"b\n{'a ' * 100}\n")
    assert len(read_phrases(path, Tokenizer())) == 2
    path.write_text(f"b\n{'a ' * 101}\n")
    with pytest.raises(DataError) as raised:
        read_phrases(path, Tokenizer())
    problem = "a phrase of 101 tokens; at most 100 are allowed: give one phrase a line"
    assert str(raised.value) == f"{path}:2: {problem}"


def test_a_matcher_of_long_phrases_is_copied():
    matcher = copy.deepcopy(PhraseMatcher(["a " * 5000 + "b"]))
    assert matcher.find([*["a"] * 5000, "b"]) == [(0, 5001)]


def test_empty_list_is_an_error(tmp_path):
    file = tmp_path / "cities.txt"
    file.write_text("\n \n")
    with pytest.raises(DataError) as error:
        read_phrases(file, Tokenizer())
    assert str(error.value) == f"{file}: the file has no phrases; write one a line"


def test_ids_of_overlapping_lists():
    indexer = GazetteerIndexer([["a b", "c"], ["b", "b c"]], files=["1", "2"])
    (ids,) = indexer.index([["A", "b", "c"], ["c"]])
    assert ids.tolist() == [[[1, 0], [2, 3], [1, 4]], [[1, 0], [0, 0], [0, 0]]]
