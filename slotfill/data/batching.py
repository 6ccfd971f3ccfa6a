"""Batching: sentences of similar length, padded, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from slotfill.data.indexers import Indexer, pad

MAX_PADDED_TOKENS = 16384
"""Most tokens in a batch, padding included, unless it is a single sentence."""


UNKNOWN = -1
"""The id of a tag that is not known."""


class SoftTargets(NamedTuple):
    """Probabilities of the tags of each sentence instead of one tag sequence."""

    marginals: np.ndarray
    """The probability of each tag at each token, `(batch, time, tags)`; 0 at padding."""
    rows: np.ndarray
    """The sentence of each expected count of a pair of neighbouring tags, `(pairs,)`."""
    pairs: np.ndarray
    """The tags of that pair, `(2, pairs)`."""
    counts: np.ndarray
    """How often it is expected in the sentence, `(pairs,)`."""


@dataclass(slots=True)
class Batch:
    """Padded sentences."""

    features: list[tuple[np.ndarray, ...]]
    """The arrays that each embedding takes."""
    lengths: np.ndarray
    """Numbers of tokens `(batch,)`."""
    tags: np.ndarray | None = None
    """Tag ids `(batch, time)`, 0 at padding, `UNKNOWN` if not known; None if unlabelled."""
    intents: np.ndarray | None = None
    """Multi-hot intents `(batch, intents)`; None if they are not learned."""
    words: np.ndarray | None = None
    """Target ids `(batch, time)` of the language model, 0 at padding; None without one."""
    weights: np.ndarray | None = None
    """Weights of the sentences in the tagger's loss, `(batch,)`; None if all are 1."""
    soft_targets: SoftTargets | None = None
    """What the tagger learns instead of `tags` in distillation."""


def make_batch(
    tokens: Sequence[Sequence[str]],
    indexers: Sequence[Indexer],
    tags: Sequence[Sequence[int]] | None = None,
    intents: Sequence[np.ndarray] = (),
    words: Sequence[Sequence[int]] = (),
    weights: np.ndarray | None = None,
) -> Batch:
    """Return a batch of tokenized sentences, with the labels, word ids and weights if given."""
    lengths = np.array([len(sentence) for sentence in tokens], np.int64)
    return Batch(
        [indexer.index(tokens) for indexer in indexers],
        lengths,
        None if tags is None else pad(tags),
        np.stack(intents) if intents else None,
        pad(words) if words else None,
        weights,
    )


def bucket_batches(
    lengths: Sequence[int],
    size: int,
    seed: tuple[int, ...] | None = None,
    max_tokens: int = MAX_PADDED_TOKENS,
) -> list[list[int]]:
    """Return batches of sentence indices, at most `size` and `max_tokens` each, grouped by length.

    Without `seed`, batches go from short to long. With it, they are shuffled, and so are sentences
    of similar length.
    """
    if len(lengths) == 1:
        # Fast path for a single prediction.
        return [[0]]
    keys = np.asarray(lengths)
    if seed is not None:
        random = np.random.default_rng(seed)
        # Noise of 1.5 tokens mixes neighbouring lengths, yet little is padded.
        keys = keys + random.uniform(0, 1.5, len(keys))
    batches: list[list[int]] = []
    longest = 0
    for index in np.argsort(keys, kind="stable").tolist():
        longest = max(longest, lengths[index])
        count = len(batches[-1]) if batches else size
        if count == size or (count + 1) * longest > max_tokens:
            longest = lengths[index]
            batches.append([])
        batches[-1].append(index)
    if seed is not None:
        random.shuffle(batches)
    return batches
