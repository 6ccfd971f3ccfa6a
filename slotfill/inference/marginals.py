"""Marginals: the probability of each tag at each token, and the expected counts of pairs of tags.

    marginals[t, y] = P(y_t = y)
    pairs[x, y]     = sum over t of P(y_t = x, y_(t+1) = y)

For a chain they come from the forward-backward algorithm, for a softmax from the tokens' own
probabilities, and for a beam search from its hypotheses.

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models", section III on reestimation
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slotfill.inference.confidence import softmax
from slotfill.inference.decoding import Hypotheses, Scores, Transitions
from slotfill.inference.lattice import Lattice


@np.errstate(all="ignore")  # As in `slot_confidences`.
def tag_marginals(
    scores: Scores, lengths: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the marginals `(batch, time, tags)`, 0 at padding, and pairs `(batch, tags, tags)`."""
    if scores.hypotheses is not None:
        shape = scores.emissions.shape
        marginals, pairs = np.zeros(shape), np.zeros((shape[0], shape[2], shape[2]))
        for row, hypotheses in enumerate(scores.hypotheses):
            _count_hypotheses(hypotheses, temperature, marginals[row], pairs[row])
        return marginals, pairs
    lattice = Lattice(scores.emissions, lengths, scores.transitions, temperature)
    marginals = (lattice.forward * lattice.backward).transpose(1, 0, 2)
    before = lattice.forward[:-1].transpose(1, 2, 0)
    after = (lattice.weights * lattice.backward)[1:].transpose(1, 0, 2)
    return marginals, np.matmul(before, after) * lattice.pairs


def average_scores(scores: Sequence[Scores]) -> Scores:
    """Return the mean of scores over the same tags, as those of an `Ensemble`; one as it is."""
    if len(scores) == 1:
        return scores[0]
    tables = [each.transitions for each in scores if each.transitions is not None]
    transitions = None
    if len(tables) == len(scores):
        names = ("start", "matrix", "end")
        transitions = Transitions(
            *(np.mean([getattr(table, name) for table in tables], axis=0) for name in names)
        )
    logits = [each.intent_logits for each in scores if each.intent_logits is not None]
    return Scores(
        np.mean([each.emissions for each in scores], axis=0),
        transitions,
        np.mean(logits, axis=0) if logits else None,
    )


def _count_hypotheses(
    hypotheses: Hypotheses, temperature: float, marginals: np.ndarray, pairs: np.ndarray
) -> None:
    """Add the tags and the pairs of tags of each hypothesis, times its probability."""
    for path, share in zip(hypotheses.paths, softmax(hypotheses.logp / temperature), strict=True):
        marginals[np.arange(len(path)), path] += share
        np.add.at(pairs, (path[:-1], path[1:]), share)
