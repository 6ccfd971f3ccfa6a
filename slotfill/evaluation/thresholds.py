"""Thresholds: what precision costs, if slots of low confidence are left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class ThresholdScores(NamedTuple):
    """What is left of predicted slots above a threshold; shares from 0 to 1."""

    threshold: float
    precision: float
    """The share of the slots left that is correct; 1 if none is left."""
    recall: float
    """The share of the gold slots that is found."""
    coverage: float
    """The share of the predicted slots that is left."""


def score_thresholds(
    confidences: np.ndarray, correct: np.ndarray, gold: int, thresholds: Iterable[float]
) -> list[ThresholdScores]:
    """Return the scores of predicted slots `(slots,)` at each threshold, for `gold` gold slots."""
    rows = []
    for threshold in thresholds:
        kept = confidences >= threshold
        right, left = int(correct[kept].sum()), int(kept.sum())
        precision, coverage = right / left if left else 1.0, left / max(len(kept), 1)
        rows.append(ThresholdScores(threshold, precision, right / max(gold, 1), coverage))
    return rows


def find_threshold(confidences: np.ndarray, correct: np.ndarray, precision: float) -> float | None:
    """Return the lowest threshold of 4 decimals that reaches `precision`; None if none does."""
    order = np.argsort(confidences, kind="stable")
    ascending = confidences[order]
    # The correct and all slots from each position on.
    right = np.append(correct[order][::-1].cumsum()[::-1], 0)
    candidates = np.unique(np.append(np.floor(ascending * 1e4) / 1e4, 0.0))
    first = np.searchsorted(ascending, candidates)
    left = len(ascending) - first
    reached = candidates[(left > 0) & (right[first] >= precision * left)]
    return float(reached[0]) if len(reached) else None
