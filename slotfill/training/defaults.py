"""TrainingBudget: batch size, epochs and patience where the config leaves them to the corpus.

What a network learns depends on the number of steps more than on the number of sentences. So few
sentences are trained on in small batches and in many epochs.
"""

import math
from dataclasses import dataclass

from slotfill.config.sections import TrainConfig

MIN_BATCH_SIZE, MAX_BATCH_SIZE = 8, 32

STEPS_PER_EPOCH = 100
"""The batch size is chosen for so many steps per epoch, within its bounds."""

EPOCHS = 30
STEPS = 1000
"""Train for so many epochs, or for more until so many steps are done."""

CONTINUED_EPOCHS = 3
CONTINUED_STEPS = 300
"""The same where training starts from the weights of a run."""

PATIENCE = 10
"""Epochs, or a third of all epochs if that is more."""


@dataclass(frozen=True, slots=True)
class TrainingBudget:
    """How long to train, and in which batches."""

    batch_size: int
    """Sentences per step."""
    epochs: int
    """Maximum number of epochs."""
    patience: int
    """Epochs without a better one after which training stops; 0 disables early stopping."""


def resolve_budget(config: TrainConfig, sentences: int, round: int = 0) -> TrainingBudget:
    """Return the budget of a round, with defaults for a number of training sentences."""
    batch_size = config.batch_size or min(
        max(sentences // STEPS_PER_EPOCH, MIN_BATCH_SIZE), MAX_BATCH_SIZE
    )
    steps_per_epoch = max(1, math.ceil(sentences / batch_size))
    least, steps = (EPOCHS, STEPS)
    if config.from_run is not None:
        least, steps = (CONTINUED_EPOCHS, CONTINUED_STEPS)
    elif round > 0:  # It continues the last, with text that may be long.
        least = 1
    epochs = config.epochs or max(least, math.ceil(steps / steps_per_epoch))
    patience = max(PATIENCE, epochs // 3) if config.patience is None else config.patience
    return TrainingBudget(batch_size, epochs, patience)
