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

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from slotfill.evaluation.metrics import compute_f1

DRAWS = 10_000
_CHUNK = 500

Sampler = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


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
    differs = (a != b).any(axis=(0, 2))
    change = (b - a)[:, differs]
    at_least_observed = 1
    for swaps in _draw(_random_swaps, draws, int(differs.sum())):
        moved = _totals(swaps, change)
        difference = _mean_f1(a.sum(axis=1) + moved) - _mean_f1(b.sum(axis=1) - moved)
        at_least_observed += int((np.abs(difference) >= observed - 1e-9).sum())
    return at_least_observed / (1 + draws)


def bootstrap_interval(a: np.ndarray, b: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % interval of F1(a) - F1(b) over sentences resampled for both alike."""
    differences = [
        _mean_f1(_totals(times, a)) - _mean_f1(_totals(times, b))
        for times in _draw(_bootstrap_counts, draws, a.shape[1])
    ]
    low, high = np.percentile(np.concatenate(differences), [2.5, 97.5])
    return float(low), float(high)


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, corrected for their number by Holm's method."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _draw(sampler: Sampler, draws: int, sentences: int) -> Iterator[np.ndarray]:
    """Yield samples `(draws, sentences)` in chunks, the same ones in each call."""
    random = np.random.default_rng(0)
    for start in range(0, draws, _CHUNK):
        yield sampler(random, (min(_CHUNK, draws - start), sentences))


def _random_swaps(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return random.integers(0, 2, size, np.int8)


def _bootstrap_counts(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return how often each sentence is drawn in a sample of the same size with replacement."""
    draws, sentences = size
    indices = random.integers(0, sentences, size) + np.arange(draws)[:, None] * sentences
    return np.bincount(indices.ravel(), minlength=draws * sentences).reshape(size)


def _totals(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return `(draw, seed, 3)`: sums of `counts` over sentences with weights `(draw, sentence)`."""
    seeds, sentences, _ = counts.shape
    # float32 for a fast product; exact, since the sums are integers far below 2 ** 24.
    flat = counts.transpose(1, 0, 2).reshape(sentences, seeds * 3).astype(np.float32)
    return (weights.astype(np.float32) @ flat).reshape(len(weights), seeds, 3)


def _mean_f1(totals: np.ndarray) -> np.ndarray:
    """Return the mean over the seeds `(draw,)` of the F1 of totals `(draw, seed, 3)`."""
    return compute_f1(totals.astype(np.float64)).mean(axis=-1)
