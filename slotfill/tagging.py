"""Tagging: sentences in, slots out."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.batch import bucket, make_batch
from slotfill.engine import Engine
from slotfill.sentence import Sentence, Slot
from slotfill.vocab import Vocab

BATCH_SIZE = 128
BATCH_TOKENS = 1024
"""The most of a batch, padding included: more is not faster, and what an LSTM keeps of them takes memory."""


def tag(model: Engine, vocab: Vocab, sentences: Sequence[Sentence]) -> list[list[Slot]]:
    """Return the slots that `model` gives to each of `sentences`, in their order; none to one without tokens."""
    slots: list[list[Slot]] = [[] for _ in sentences]
    spoken = [index for index, sentence in enumerate(sentences) if sentence.tokens]
    for places in bucket([len(sentences[index].tokens) for index in spoken], BATCH_SIZE, most=BATCH_TOKENS):
        indices = [spoken[place] for place in places]
        batch = make_batch([sentences[i].tokens for i in indices], model.lookups)
        for index, path in zip(indices, model.tags(batch), strict=True):
            slots[index] = vocab.slots_of(path)
    return slots
