"""Distillation: a student learns the probabilities that teachers predict, besides the labels.

    Q = (1 - weight) labels + weight (mean of the teachers' distributions)

for a labelled sentence, where the labels are the distribution with all probability on one tag
sequence, and the teachers' mean alone for an unlabelled one. The loss is the cross-entropy of Q and
the student's distribution; it depends on Q by the marginals of tags and pairs of tags alone.

Source: Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network"; on tag
sequences: Wang et al. 2020, "Structure-Level Knowledge Distillation For Multilingual Sequence
Labeling"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slotfill.data.batching import SoftTargets

MIN_COUNT = 1e-4
"""Expected counts of pairs below this are taken for 0."""


@dataclass(slots=True)
class SoftTarget:
    """The distribution over the tags and intents of a sentence that a student learns."""

    marginals: np.ndarray
    """The probability of each tag at each token, `(time, tags)`, 16-bit floats."""
    pairs: np.ndarray
    """The tags of pairs of neighbours, `(2, pairs)`."""
    counts: np.ndarray
    """How often each is expected in the sentence, `(pairs,)`."""
    intents: np.ndarray | None = None
    """The probability of each intent, `(intents,)`; None if they are not learned."""

    @classmethod
    def from_arrays(
        cls, marginals: np.ndarray, pairs: np.ndarray, intents: np.ndarray | None = None
    ) -> SoftTarget:
        """Return the target with these `marginals` and expected counts of pairs `(tags, tags)`."""
        found = np.stack(np.nonzero(pairs > MIN_COUNT))
        counts = pairs[found[0], found[1]].astype(np.float32)
        return cls(marginals.astype(np.float16), found.astype(np.int16), counts, intents)


def one_hot(tags: Sequence[int], num_tags: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the marginals `(time, tags)` and pairs `(tags, tags)` of one tag sequence."""
    ids, pairs = np.array(tags, np.intp), np.zeros((num_tags, num_tags))
    np.add.at(pairs, (ids[:-1], ids[1:]), 1)
    return np.eye(num_tags)[ids], pairs


def stack_targets(targets: Sequence[SoftTarget]) -> SoftTargets:
    """Return the targets of the sentences of a batch, padded."""
    time = max(len(target.marginals) for target in targets)
    marginals = np.zeros((len(targets), time, targets[0].marginals.shape[1]), np.float32)
    for row, target in zip(marginals, targets, strict=True):
        row[: len(target.marginals)] = target.marginals
    return SoftTargets(
        marginals,
        np.repeat(np.arange(len(targets)), [len(target.counts) for target in targets]),
        np.concatenate([target.pairs for target in targets], axis=1).astype(np.int64),
        np.concatenate([target.counts for target in targets]),
    )
