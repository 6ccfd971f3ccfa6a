"""Slots to tokens: which overlapping ones are kept, and the cost of many of them."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from slotfill.data.alignment import align, leave_out_overlaps
from slotfill.data.sentence import Example, Span
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError


def _priority(span):
    return span.start - span.end, span[:3]


def test_of_overlapping_slots_the_longest_are_kept():
    draw = random.Random(0)
    for _ in range(500):
        starts = [draw.randrange(30) for _ in range(draw.randrange(9))]
        spans = [Span(draw.choice("xy"), each, each + draw.randint(1, 12)) for each in starts]
        kept: list[Span] = []
        for span in sorted(set(spans), key=_priority):
            if all(span.end <= each.start or each.end <= span.start for each in kept):
                kept.append(span)
        example = Example("a" * 50, list(spans))
        leave_out_overlaps(example)
        assert sorted(set(example.spans)) == sorted(kept)
        assert len(example.issues) == len(set(spans)) - len(kept)


def _peak_memory(example, misaligned="split"):
    tracemalloc.start()
    try:
        leave_out_overlaps(example)
        align([example], Tokenizer("whitespace"), misaligned, keep_tokens=False, problems=[])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _nested(count):
    return Example("ab " * count, [Span("x", 0, 3 * each + 2) for each in range(count)])


def _inside_one_word(count):
    return Example("ab" * count, [Span("x", 2 * each, 2 * each + 1) for each in range(count)])


@pytest.mark.parametrize("make", [_nested, _inside_one_word])
def test_memory_of_many_slots_grows_with_their_number(make):
    small, large = _peak_memory(make(500)), _peak_memory(make(2000))
    assert large < 6 * small


def test_long_values_and_tokens_are_shortened_in_messages():
    word = "ab" * 5000
    with pytest.raises(DataError) as raised:
        align([Example(word, [Span("x", 0, 9999)])], Tokenizer(), "split", keep_tokens=False)
    assert len(str(raised.value)) < 300
    assert f"'{word[:39]}…'" in str(raised.value)
