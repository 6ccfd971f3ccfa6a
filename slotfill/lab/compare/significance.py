"""Significance of the difference in F1 between two systems on the same sentences.

Counts are `(seed, sentence, 3)`, as `slot_counts` returns them for each seed: correct, predicted
and gold slots. The statistic is the mean over the seeds of F1. Sentences are the sampling unit: a
sentence's outputs under all seeds are swapped, or resampled, together.

Source: Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses"; Yeh 2000, "More accurate
tests for the statistical significance of result differences"; Efron 1979; Berg-Kirkpatrick, Burkett
& Klein 2012, "An Empirical Investigation of Statistical Significance in NLP"; Holm 1979, "A Simple
Sequentially Rejective Multiple Test Procedure"
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slotfill.evaluation.metrics import compute_f1

LEVEL = 0.05
"""Significance level."""

DRAWS = 10_000
_CHUNK = 500
"""Samples that are drawn at a time."""


def mean_f1(counts: np.ndarray) -> float:
    """Return the mean over the seeds of F1, in percent."""
    return float(compute_f1(counts.sum(axis=1)).mean())


def paired_randomization_test(a: np.ndarray, b: np.ndarray, draws: int = DRAWS) -> float:
    """Return the two-sided p-value of the difference in F1 (approximate randomization).

    Under H0 a sentence's outputs are exchangeable between the systems: p is the share of random
    swaps whose difference is at least the observed one, which counts as one of them (Noreen 1989).
    Deterministic.
    """
    observed = abs(mean_f1(a) - mean_f1(b))
    # Sentences with equal counts cannot change the difference.
    change = (b - a)[:, (a != b).any(axis=(0, 2))]
    random = np.random.default_rng(0)
    at_least_observed = 1
    for start in range(0, draws, _CHUNK):
        swaps = random.integers(0, 2, (min(_CHUNK, draws - start), change.shape[1]), np.int8)
        moved = _totals(swaps, change)
        difference = compute_f1(a.sum(axis=1) + moved) - compute_f1(b.sum(axis=1) - moved)
        at_least_observed += int((np.abs(difference.mean(axis=1)) >= observed - 1e-9).sum())
    return at_least_observed / (1 + draws)


def bootstrap_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of F1(a) - F1(b) over sentences resampled for both alike."""
    sentences = a.shape[1]
    random = np.random.default_rng(0)
    differences = []
    for _ in range(DRAWS // _CHUNK):
        samples = random.integers(0, sentences, (_CHUNK, sentences))
        times = np.array([np.bincount(sample, minlength=sentences) for sample in samples])
        difference = compute_f1(_totals(times, a)) - compute_f1(_totals(times, b))
        differences.append(difference.mean(axis=1))
    low, high = np.percentile(np.concatenate(differences), [2.5, 97.5])
    return float(low), float(high)


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, corrected for their number by Holm's method."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.minimum(1, factors * np.take(p_values, order)))
    return corrected.tolist()


def _totals(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return `(draw, seed, 3)`: sums of `counts` over sentences with weights `(draw, sentence)`."""
    # float32 for a fast product; exact, since the sums are integers far below 2 ** 24.
    product = np.tensordot(weights.astype(np.float32), counts.astype(np.float32), (1, 1))
    return product.astype(np.float64)
