"""Predict the slots and intents of sentences."""

from __future__ import annotations

from collections.abc import Sequence

from slotfill.data.batching import bucket_batches, make_batch
from slotfill.data.sentence import Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.inference.engine import Engine

BATCH_SIZE = 128
BATCH_TOKENS = 1024
"""Largest batch, with padding: more is not faster, and the states of an LSTM take memory."""

MAX_TOKENS = 20_000
"""Longest sentence that is tagged; memory grows with its length, or its square with attention."""

MAX_CHARACTERS = 50 * MAX_TOKENS
"""Longest text that is split into tokens."""


def predict(
    engine: Engine, vocab: Vocab, sentences: Sequence[Sentence]
) -> tuple[list[list[Slot]], list[str | None]]:
    """Return the slots and the intent of each sentence; none for a sentence without tokens.

    The intent is None without an intent head, and may join several names. Raises DataError if a
    sentence has more than `MAX_TOKENS` tokens.
    """
    slots: list[list[Slot]] = [[] for _ in sentences]
    intents: list[str | None] = [None] * len(sentences)
    nonempty = [index for index, sentence in enumerate(sentences) if sentence.tokens]
    lengths = [len(sentences[index].tokens) for index in nonempty]
    _check_size(max(lengths, default=0), "tokens", MAX_TOKENS)
    for batch_positions in bucket_batches(lengths, BATCH_SIZE, max_tokens=BATCH_TOKENS):
        indices = [nonempty[position] for position in batch_positions]
        batch = make_batch([sentences[index].tokens for index in indices], engine.indexers)
        tag_ids, intent_ids = engine.predict(batch)
        for index, ids in zip(indices, tag_ids, strict=True):
            slots[index] = vocab.tags_to_slots(ids)
        for index, ids in zip(indices, intent_ids, strict=False):
            intents[index] = vocab.join_intents(ids)
    return slots, intents


def check_length(text: str) -> None:
    """Raise DataError if `text` has more than `MAX_CHARACTERS` characters, before it is split."""
    _check_size(len(text), "characters", MAX_CHARACTERS)


def _check_size(size: int, unit: str, allowed: int) -> None:
    if size > allowed:
        raise DataError(
            f"a sentence of {size:,} {unit}; at most {allowed:,} are allowed: give one sentence a"
            " line"
        )
