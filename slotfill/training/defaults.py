"""TrainingBudget: how many sentences a step has and how long training goes on, where a config leaves that to
the corpus.

What a network learns in a step hardly depends on how many sentences there are. So few of them are
taken in small steps, and often: a hundred in thirty epochs of steps of 32 would be seen 120 times,
and not be learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from slotfill.config.models import TrainConfig

MOST, LEAST = 32, 8
"""Sentences a step: the most, and the least where there are few."""

STEPS_AN_EPOCH = 100
"""As many steps an epoch, if that leaves them LEAST sentences."""

EPOCHS = 30
STEPS = 1000
"""EPOCHS of them, or more until so many steps are done."""

PATIENCE = 10
"""Epochs, or a third of all where that is more."""


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """`batch_size` sentences a step; at most `epochs`, and `patience` of them without a better one,
    0 for any.
    """

    batch_size: int
    epochs: int
    patience: int


def resolve_budget(config: TrainConfig, sentences: int) -> TrainingBudget:
    """Return what `config` says, and what suits so many `sentences` where it says nothing."""
    size = config.batch_size or min(max(sentences // STEPS_AN_EPOCH, LEAST), MOST)
    epochs = config.epochs or max(EPOCHS, math.ceil(STEPS / max(1, math.ceil(sentences / size))))
    patience = max(PATIENCE, epochs // 3) if config.patience is None else config.patience
    return TrainingBudget(size, epochs, patience)
