"""Tagging: sentences in, slots and intents out."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.data.batching import bucket_batches, make_batch
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.inference.engine import Engine

BATCH_SIZE = 128
BATCH_TOKENS = 1024
"""The most of a batch, padding included: more is not faster, and what an LSTM keeps of them takes
memory.
"""


def tag(model: Engine, vocab: Vocab, sentences: Sequence[Sentence]) -> list[list[Slot]]:
    """Return the slots that `model` gives to each of `sentences`, in their order; none to one
    without tokens.
    """
    return label(model, vocab, sentences)[0]


def label(
    model: Engine, vocab: Vocab, sentences: Sequence[Sentence]
) -> tuple[list[list[Slot]], list[str | None]]:
    """Return the slots and the intent that `model` gives to each of `sentences`; none to one
    without tokens.

    The intent is None where intents are not learned, and may be several, as `intent_names` tells.
    """
    slots: list[list[Slot]] = [[] for _ in sentences]
    intents: list[str | None] = [None] * len(sentences)
    spoken = [index for index, sentence in enumerate(sentences) if sentence.tokens]
    for places in bucket_batches(
        [len(sentences[index].tokens) for index in spoken], BATCH_SIZE, most=BATCH_TOKENS
    ):
        indices = [spoken[place] for place in places]
        batch = make_batch([sentences[i].tokens for i in indices], model.indexers)
        paths, found = model.predict(batch)
        for index, path in zip(indices, paths, strict=True):
            slots[index] = vocab.tags_to_slots(path)
        for index, ids in zip(indices, found, strict=False):
            intents[index] = vocab.join_intents(ids)
    return slots, intents
