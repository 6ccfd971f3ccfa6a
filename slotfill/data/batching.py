"""Batch: sentences of like length side by side, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slotfill.data.indexers import Indexer

MAX_PADDED_TOKENS = 16384
"""A batch never holds more tokens than this, padding included, unless it is a single sentence."""


@dataclass(slots=True)
class Batch:
    """Sentences of a batch.

    `features`: for each embedding, the arrays it takes. `lengths`: `(batch,)`, in tokens.
    `tags`: `(batch, time)` ids, 0 at padding, or None where the sentences are not labelled.
    `intents`: `(batch, intents)`, 1 for those of the sentence and 0 for the others, or None where
    they are not learned. `words`: `(batch, time)` ids, 0 at padding, of what a language model is to
    foretell, or None where there is none.
    """

    features: list[tuple[np.ndarray, ...]]
    lengths: np.ndarray
    tags: np.ndarray | None = None
    intents: np.ndarray | None = None
    words: np.ndarray | None = None


def make_batch(
    tokens: Sequence[Sequence[str]],
    indexers: Sequence[Indexer],
    tags: Sequence[Sequence[int]] | None = None,
    intents: Sequence[np.ndarray] = (),
    words: Sequence[Sequence[int]] = (),
) -> Batch:
    """Return the batch of sentences given by `tokens`, with their ids of tags, rows of intents and
    ids of words.
    """
    lengths = np.array([len(sentence) for sentence in tokens], np.int64)
    return Batch(
        [indexer.index(tokens) for indexer in indexers],
        lengths,
        None if tags is None else _pad(tags, lengths),
        np.stack(intents) if intents else None,
        _pad(words, lengths) if words else None,
    )


def _pad(rows: Sequence[Sequence[int]], lengths: np.ndarray) -> np.ndarray:
    padded = np.zeros((len(rows), int(lengths.max(initial=0))), np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def bucket_batches(
    lengths: Sequence[int],
    size: int,
    seed: tuple[int, ...] | None = None,
    most: int = MAX_PADDED_TOKENS,
) -> list[list[int]]:
    """Return the sentences' indices in batches of at most `size`, and `most` tokens, neighbours in
    length together.

    Without `seed`, from short to long. With it, which sentences of like length meet, and the order
    of the batches, are drawn from it.
    """
    if len(lengths) == 1:
        # One sentence, which somebody waits for.
        return [[0]]
    keys = np.asarray(lengths, np.float64)
    random = None if seed is None else np.random.default_rng(seed)
    if random is not None:
        # Up to a token of noise: lengths next to each other mix, yet little is padded.
        keys = keys + random.uniform(0, 1.5, len(keys))
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for index in np.argsort(keys, kind="stable").tolist():
        longest = max(longest, lengths[index])
        if current and (len(current) == size or (len(current) + 1) * longest > most):
            batches.append(current)
            current, longest = [], lengths[index]
        current.append(index)
    if current:
        batches.append(current)
    if random is not None:
        random.shuffle(batches)
    return batches
