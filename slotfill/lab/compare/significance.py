"""Significance of the difference in F1 between two systems on the same sentences.

Counts are `(seed, sentence, 3)`, as `slot_counts` returns them for each seed: correct, predicted
and gold slots. The statistic is the difference of the means over the seeds of F1.

`compare_f1` is about configs: would the difference hold with other seeds and other sentences? It is
Welch's t-test with another component of variance. Two are those of the means over the seeds, one
for each system, since the seeds of one may differ more. The third is that of the sentences, on
which one system may be better than the other for every seed; it is the variance over sentences of
what each adds to the difference, to first order, less what the seeds alone add to that variance,
which the other components already have (two-way clustering). The degrees of freedom are
Satterthwaite's.

`paired_randomization_test` and `bootstrap_interval` are about two trained networks, or any two
outputs: would their difference hold on other sentences? They ignore that another seed would have
given other networks. A sentence's outputs under all seeds are swapped, or resampled, together.

Source: Student 1908; Satterthwaite 1946; Welch 1947, "The Generalization of 'Student's' Problem
when Several Different Population Variances are Involved"; Cameron, Gelbach & Miller 2011, "Robust
Inference With Multiway Clustering"; Noreen 1989, "Computer-Intensive Methods for Testing
Hypotheses"; Yeh 2000, "More accurate tests for the statistical significance of result differences";
Efron 1979;
Berg-Kirkpatrick, Burkett & Klein 2012, "An Empirical Investigation of Statistical Significance in
NLP"; Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from slotfill.evaluation.metrics import compute_f1

LEVEL = 0.05
"""Significance level."""

ENOUGH_SEEDS = 5
"""With fewer, only a large difference is found."""

ENOUGH_SENTENCES = 100
"""With fewer, p may be too small, as where a system fails in few sentences, in all their slots."""

DRAWS = 10_000
_CHUNK = 500
"""Samples that are drawn at a time."""

_POINTS = 10_000
"""Intervals over which the density of Student's t distribution is summed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference in F1; without an interval and p if one of the systems has a single seed."""

    difference: float
    interval: tuple[float, float] | None = None
    """95 % interval."""
    p: float | None = None


def mean_f1(counts: np.ndarray) -> float:
    """Return the mean over the seeds of F1, in percent."""
    return float(compute_f1(counts.sum(axis=1)).mean())


def compare_f1(a: np.ndarray, b: np.ndarray) -> Comparison:
    """Return F1(a) - F1(b), with its 95 % interval and p over seeds and sentences.

    The systems may have different numbers of seeds; seeds are not paired, sentences are.
    """
    difference = mean_f1(a) - mean_f1(b)
    if min(len(a), len(b)) < 2:
        return Comparison(difference)
    added = [_added_by_sentence(counts) for counts in (a, b)]
    change = added[0].mean(axis=0) - added[1].mean(axis=0)
    sentences = len(change)
    # The variance of F1 if the errors of a seed in different sentences are independent. It is at
    # least this, except by chance: a seed is rather good or bad in many sentences.
    independent = [_variance_of_mean(each) for each in added]
    measured = [_variance_of_mean(each.sum(axis=1)) for each in added]
    of_sentences = max(sentences * float(change.var()) - sum(independent), 0.0)
    variance = sum(map(max, measured, independent)) + of_sentences
    if variance == 0:
        return Comparison(difference, (difference, difference), float(difference == 0))
    squares = of_sentences**2 / max(sentences - 1, 1)
    for each, own, least in zip(added, measured, independent, strict=True):
        squares += max(own**2, least**2 / sentences) / (len(each) - 1)
    freedom = variance**2 / squares
    margin = student_quantile(freedom) * variance**0.5
    p = student_tail(abs(difference) / variance**0.5, freedom)
    return Comparison(difference, (difference - margin, difference + margin), p)


def _added_by_sentence(counts: np.ndarray) -> np.ndarray:
    """Return what each sentence adds to F1 of each seed beyond the mean, `(seed, sentence)`.

    The sum over the sentences is exactly F1 of the seed less the mean over the seeds.
    """
    correct, predicted, gold = np.moveaxis(counts.astype(np.float64), -1, 0)
    labels = predicted + gold
    total = np.maximum(labels.sum(axis=1, keepdims=True), 1)
    return (200 * correct - mean_f1(counts) * labels) / total


def _variance_of_mean(values: np.ndarray) -> float:
    """Return the variance of the mean over the first axis, the seeds, summed over the others."""
    return float(values.var(axis=0, ddof=1).sum()) / len(values)


def student_tail(t: float, freedom: float) -> float:
    """Return the probability of a value above t or below -t under Student's t distribution."""
    angles, tails = _student_tails(freedom)
    return float(np.interp(np.arctan(t / freedom**0.5), angles, tails))


def student_quantile(freedom: float, level: float = LEVEL) -> float:
    """Return the t that is exceeded, in either direction, with the probability `level`."""
    angles, tails = _student_tails(freedom)
    return float(np.tan(np.interp(level, tails[::-1], angles[::-1])) * freedom**0.5)


@lru_cache(maxsize=1)
def _student_tails(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Return angles from 0 to 90 degrees, and the `student_tail` of each.

    With t = tan(angle) * sqrt(freedom), the density is cos(angle) ** (freedom - 1).
    """
    angles = np.linspace(0, np.pi / 2, _POINTS + 1)
    areas = np.cos((angles[:-1] + angles[1:]) / 2) ** (freedom - 1)
    tails = np.append(areas[::-1].cumsum()[::-1], 0.0)
    return angles, tails / tails[0]


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
