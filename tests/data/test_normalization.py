"""Unicode normalization in linear time."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.data.indexers import fold_case
from slotfill.data.normalization import normalize
from slotfill.data.phrases import lookup_form
from slotfill.data.tokenizers import Tokenizer

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=100, derandomize=True)
@given(st.text("aé한\u0301\u0323\u0f73\uff9e", max_size=25).map(lambda text: f"a{text}" * 3))
def test_up_to_30_marks_in_a_row_are_normalized(form, text):
    assert normalize(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", FORMS)
def test_more_marks_in_a_row_are_left(form):
    marks = "\u0301\u0323" * 15
    assert normalize(form, f"a{marks}b") == unicodedata.normalize(form, f"a{marks}b")
    assert normalize(form, f"a{marks}\u0301") == f"a{marks}\u0301"


# Each of them is unsorted after normalization to NFKD; by themselves, the last three are no marks.
@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0344\u0323", "\u0f73", "\u0301\uff9e"])
def test_many_marks_take_linear_time(marks):
    token = "a" + marks * 100_000  # Sorted, they would take minutes.
    start = time.process_time()
    tokens = Tokenizer("whitespace", "NFKC").tokenize(token).tokens
    assert (tokens, lookup_form(token)) == ([token], token.casefold())
    fold_case(token)
    assert time.process_time() - start < 10
