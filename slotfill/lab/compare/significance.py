"""Significance of a difference in F1 between two systems on the same sentences: paired_randomization_test,
bootstrap, Holm.

Counts are `(seed, sentence, 3)`, as `slot_counts` gives them for each seed: slots right, predicted,
and gold. What is compared is the mean over the seeds of F1. Sentences are the sampling unit: what a
system gave to a sentence under all its seeds is swapped, or drawn, together.

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

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def mean_f1(counts: np.ndarray) -> float:
    """Return the mean over the seeds of F1, in percent."""
    return float(compute_f1(counts.sum(axis=1)).mean())


def paired_randomization_test(one: np.ndarray, other: np.ndarray, draws: int = DRAWS) -> float:
    """Return the p-value of the difference in F1, either way, by paired approximate paired_randomization_test.

    If the systems are alike, a sentence's outputs could as well be swapped between them: p is the
    share of random swaps whose difference is no smaller than the real one, itself counted in
    (Noreen 1989). The same every time.
    """
    real = abs(mean_f1(one) - mean_f1(other))
    # To swap what is the same changes nothing.
    differs = (one != other).any(axis=(0, 2))
    swapped = (other - one)[:, differs]
    as_large = 1
    for swaps in _draws(draws, int(differs.sum()), _coins):
        moved = _totals(swaps, swapped)
        difference = _mean(one.sum(axis=1) + moved) - _mean(other.sum(axis=1) - moved)
        as_large += int((np.abs(difference) >= real - 1e-9).sum())
    return as_large / (1 + draws)


def bootstrap(one: np.ndarray, other: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % interval of the F1 of `one` less that of `other`, over sentences drawn anew
    for both alike.
    """
    differences = [
        _mean(_totals(times, one)) - _mean(_totals(times, other))
        for times in _draws(draws, one.shape[1], _redraws)
    ]
    low, high = np.percentile(np.concatenate(differences), [2.5, 97.5])
    return float(low), float(high)


def holm(ps: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, each corrected for there being so many, in their
    order.
    """
    corrected = [0.0] * len(ps)
    worst = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = worst
    return corrected


def _draws(draws: int, sentences: int, draw: Draw) -> Iterator[np.ndarray]:
    """Yield what `draw` gives, `(draws, sentences)` in pieces, the same every time."""
    random = np.random.default_rng(0)
    for start in range(0, draws, _CHUNK):
        size = (min(_CHUNK, draws - start), sentences)
        yield draw(random, size)


def _coins(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return random.integers(0, 2, size, np.int8)


def _redraws(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """How often each sentence is drawn when as many are, with replacement."""
    draws, sentences = size
    places = random.integers(0, sentences, size) + np.arange(draws)[:, None] * sentences
    return np.bincount(places.ravel(), minlength=draws * sentences).reshape(size)


def _totals(times: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return `(draws, seed, 3)`: the counts of the sentences, each so many `times`, added up."""
    seeds, sentences, _ = counts.shape
    # Float32 for the fast product: the sums are whole numbers far below 2 ** 24, so they are exact.
    flat = counts.transpose(1, 0, 2).reshape(sentences, seeds * 3).astype(np.float32)
    return (times.astype(np.float32) @ flat).reshape(len(times), seeds, 3)


def _mean(totals: np.ndarray) -> np.ndarray:
    """Return `(draws,)`: the mean over the seeds of F1, of totals `(draws, seed, 3)` or `(seed,
    3)`.
    """
    return np.atleast_1d(compute_f1(totals.astype(np.float64)).mean(axis=-1))
