"""Files are converted between all pairs of formats without a loss, or not at all."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path

import pytest
from conftest import empty_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from slotfill.config.registry import FORMATS
from slotfill.data.convert import convert_file
from slotfill.data.corpus import read_sentences, write_sentences
from slotfill.data.detection import writable_formats
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.errors import DataError

WORDS = [
    "fly",
    "to",
    "New",
    "York",
    "台北",
    "St.",
    "'s",
    "🛫",
    "é",
    "قطار",
    "a:b",
    "[x]",
    '"',
    ",",
    "#",
]
NAMES = ["city", "city.origin", "出發地", "day-of-week"]
INTENTS = [None, "flight", "flight#fare", "book a flight"]


@st.composite
def sentences(draw):
    """Draw a text with slots, an intent and values that stand for others, or unlabelled."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5))
    sentence = Tokenizer("words").tokenize(" ".join(words))
    sentence.intent = draw(st.sampled_from(INTENTS))
    if draw(st.sampled_from([True, True, True, False])):
        ends = draw(st.lists(st.integers(0, len(sentence.tokens)), max_size=4, unique=True))
        edges = sorted(ends)
        names = st.sampled_from(NAMES)
        pairs = zip(edges[::2], edges[1::2], strict=False)
        sentence.slots = [Slot(draw(names), start, end) for start, end in pairs]
        values = [draw(st.sampled_from([None, None, "TPE"])) for _ in sentence.slots]
        sentence.resolved = values if any(values) else None
    return sentence


def describe(sentence: Sentence) -> tuple[object, ...]:
    """Return what a sentence says, however it is tokenized."""
    spans = None
    if sentence.slots is not None:
        pairs = zip(sentence.slots, sentence.resolved or repeat(None), strict=False)
        spans = [(slot.name, *sentence.span(slot), meaning) for slot, meaning in pairs]
    return sentence.text, spans, sentence.intent or None


def read(path: Path, format: str) -> list[Sentence]:
    return read_sentences(path, format=format, keep_tokens=True, labelled=False).sentences


@pytest.mark.parametrize("source", writable_formats())
@given(drawn=st.lists(sentences(), min_size=1, max_size=3))
@settings(max_examples=3, derandomize=True)
def test_converting_keeps_everything_or_writes_nothing(source, drawn):
    with empty_folder() as folder:
        first = folder / "first"
        try:
            write_sentences(first, drawn, format=source)
        except DataError:
            assert not first.exists()
            return
        before = read(first, source)
        for target in writable_formats():
            second = folder / target
            try:
                convert_file(first, second, from_format=source, to_format=target)
            except DataError as error:
                assert not second.exists() and "\n" not in str(error)
                continue
            expected = FORMATS.build(target).arrange(before)
            assert list(map(describe, read(second, target))) == list(map(describe, expected))


def test_every_format_keeps_plain_sentences():
    """So that not all are refused: what each format can hold passes through it."""
    sentence = Tokenizer("words").tokenize("fly to New York", "a:1")
    sentence.slots = [Slot("destination", 2, 4)]
    for format in writable_formats():
        part = FORMATS.part(format).load()
        sentence.intent = "flight" if part.holds_intents else None
        with empty_folder() as folder:
            path, back = folder / "x", folder / "back.jsonl"
            write_sentences(path, [sentence], format=format)
            convert_file(path, back, from_format=format)
            assert list(map(describe, read(back, "jsonl"))) == [describe(sentence)]
