"""Predict the slots and intents of sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

from slotfill.data.batching import bucket_batches, make_batch
from slotfill.data.sentence import Confidence, Sentence, Slot
from slotfill.data.vocab import Vocab
from slotfill.errors import DataError
from slotfill.inference.confidence import intent_confidences, slot_confidences
from slotfill.inference.decoding import select_intents
from slotfill.inference.engine import Engine

BATCH_SIZE = 128
BATCH_TOKENS = 1024
"""Largest batch, with padding: more is not faster, and the states of an LSTM take memory."""

MAX_TOKENS = 20_000
"""Longest sentence that is tagged; memory grows with its length, or its square with attention."""

MAX_CHARACTERS = 50 * MAX_TOKENS
"""Longest text that is split into tokens."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores become probabilities."""

    slots: float = 1.0
    """The temperature of slots."""
    intents: float = 1.0
    """The temperature of intents."""


class Predictions(NamedTuple):
    """What is predicted for each of several sentences."""

    slots: list[list[Slot]]
    """None for a sentence without tokens."""
    intents: list[str | None]
    """None without an intent head; may join several names."""
    confidences: list[Confidence] | None = None
    """The probabilities of the slots and the intent, if they were asked for."""


def predict(
    engine: Engine,
    vocab: Vocab,
    sentences: Sequence[Sentence],
    calibration: Calibration | None = None,
) -> Predictions:
    """Return the slots and the intent of each sentence.

    Args:
        calibration: Also return confidences, with these temperatures.

    Raises:
        DataError: A sentence has more than `MAX_TOKENS` tokens.
    """
    slots: list[list[Slot]] = [[] for _ in sentences]
    intents: list[str | None] = [None] * len(sentences)
    confidences = [Confidence([], 1.0)] * len(sentences)
    nonempty = [index for index, sentence in enumerate(sentences) if sentence.tokens]
    lengths = [len(sentences[index].tokens) for index in nonempty]
    _check_size(max(lengths, default=0), "tokens", MAX_TOKENS)
    for batch_positions in bucket_batches(lengths, BATCH_SIZE, max_tokens=BATCH_TOKENS):
        indices = [nonempty[position] for position in batch_positions]
        batch = make_batch([sentences[index].tokens for index in indices], engine.indexers)
        scores = engine.scores(batch)
        tags = scores.best_tags(batch.lengths)
        batch_slots = list(map(vocab.tags_to_slots, tags))
        for index, own_slots in zip(indices, batch_slots, strict=True):
            slots[index] = own_slots
        logits = scores.intent_logits
        if logits is not None:
            intent_ids = select_intents(logits, engine.is_multi_intent)
            for index, ids in zip(indices, intent_ids, strict=True):
                intents[index] = vocab.join_intents(ids)
        if calibration is None:
            continue
        intent_confidence: Iterable[float | None] = repeat(None)
        if logits is not None:
            intent_confidence = intent_confidences(
                logits, intent_ids, engine.is_multi_intent, calibration.intents
            )
        slot_confidence = slot_confidences(
            scores, batch.lengths, tags, batch_slots, vocab.tags_to_slots, calibration.slots
        )
        for index, confidence, probability in zip(
            indices, slot_confidence, intent_confidence, strict=False
        ):
            confidences[index] = Confidence(*confidence[:2], probability)
    return Predictions(slots, intents, None if calibration is None else confidences)


def check_length(text: str) -> None:
    """Raise DataError if `text` has more than `MAX_CHARACTERS` characters, before it is split."""
    _check_size(len(text), "characters", MAX_CHARACTERS)


def _check_size(size: int, unit: str, allowed: int) -> None:
    if size > allowed:
        raise DataError(
            f"a sentence of {size:,} {unit}; at most {allowed:,} are allowed: give one sentence a"
            " line"
        )
