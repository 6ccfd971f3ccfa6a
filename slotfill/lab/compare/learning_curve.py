"""Learning curves: F1 by the number of training sentences, and what twice as many are worth.

The model of a curve is F1 = a_s + b log2(n), with an intercept for each seed s, fitted to the sizes
from a quarter of the largest on, since curves flatten. The variance of b has two sources: the runs,
each with its training sentences and its seed, and the test sentences, which all runs share. It is
the variance of the least squares fit, plus the variance over test sentences, minus the part of the
latter that is independent between runs and thus in both (two-way clustering).

Source: Cameron, Gelbach & Miller 2011, "Robust Inference With Multiway Clustering"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slotfill.evaluation.metrics import compute_f1
from slotfill.lab.compare.significance import student_quantile


@dataclass(slots=True)
class Doubling:
    """What twice as many training sentences are worth."""

    difference: float
    """In points of F1."""
    interval: tuple[float, float]
    """95 % interval."""
    sizes: list[int]
    """The numbers of sentences that it was fitted to."""


@dataclass(slots=True)
class LearningCurve:
    """F1 of a config by the number of training sentences."""

    config: str
    corpus: str
    split: str
    sizes: list[int]
    f1s: list[list[float]]
    """F1 of each size with each seed that finished with all sizes."""
    epochs: int | None
    """`train.epochs` of the config, if set: smaller sizes are then trained for fewer steps."""
    doubling: Doubling | None
    """None if there are too few runs to tell."""

    def __str__(self) -> str:
        """What the curve says, in words; nothing if the difference may be chance."""
        doubling = self.doubling
        if doubling is None or doubling.interval[0] <= 0 <= doubling.interval[1]:
            return ""
        low, high = doubling.interval
        hint = (
            ""
            if self.epochs is None
            else (
                f" With train.epochs={self.epochs} for all sizes, small ones are trained for fewer"
                " steps, which is part of the difference; leave it out."
            )
        )
        return (
            f"{self.config} on {self.corpus} {self.split}: doubling the training sentences is worth"
            f" about {doubling.difference:.1f} points of F1 (95% interval {low:.1f} to {high:.1f},"
            f" from {doubling.sizes[0]:,} to {doubling.sizes[-1]:,} sentences).{hint}"
        )


def fit_doubling(sizes: Sequence[int], counts: np.ndarray) -> Doubling | None:
    """Return what doubling is worth, or None if there are too few runs to tell.

    Args:
        counts: Slot counts of the test sentences, `(size, seed, sentence, 3)`.
    """
    used = [size >= max(sizes) / 4 for size in sizes]
    x = np.log2(np.compress(used, sizes))
    x -= x.mean()
    num_sizes, seeds = counts[used].shape[:2]
    freedom = (num_sizes - 1) * seeds - 1
    if freedom < 1:
        return None
    weights = x / (x @ x)
    f1 = compute_f1(counts[used].sum(axis=2))
    slope = float(weights @ f1.mean(axis=1))
    residuals = f1 - f1.mean(axis=0) - slope * x[:, None]
    of_runs = (residuals**2).sum() / freedom / seeds / (x @ x)
    # What each test sentence adds to the slope with each run, to first order.
    correct, predicted, gold = np.moveaxis(counts[used], -1, 0)
    labels = predicted + gold
    added = 200 * correct - f1[..., None] * labels
    added /= np.maximum(labels.sum(axis=2, keepdims=True), 1)
    added *= weights[:, None, None] / seeds
    of_sentences = (added.sum(axis=(0, 1)) ** 2).sum() - (added**2).sum()
    margin = student_quantile(freedom) * float(of_runs + max(of_sentences, 0)) ** 0.5
    used_sizes = [size for size, use in zip(sizes, used, strict=True) if use]
    return Doubling(slope, (slope - margin, slope + margin), used_sizes)
