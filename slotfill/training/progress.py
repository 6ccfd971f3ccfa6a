"""The progress of a training: the metrics of its epochs, and what is reported after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(slots=True)
class EpochMetrics:
    """One row of history.csv."""

    epoch: int
    loss: float
    """Mean training loss per sentence."""
    valid_f1: float | None
    """F1 of the validation slots, in percent; None if there are no validation sentences."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    tokens_per_second: float
    seconds: Seconds
    """Time for training and validation."""
    round: Count = 0
    """How many times `train.text` has been predicted."""
    kl: float = 0.0
    """The KL term of the loss, of cells or a generator with latent vectors, in nats."""
    gradient_norm: float | None = None
    """Norm of the gradient before clipping, a mean over the steps; None if it is not finite."""
    valid_loss: float | None = None
    """The loss of a validation sentence; None without any, or of a generator."""
    valid_intents: float | None = None
    """Accuracy of the validation intents, in percent; None if intents are not trained."""
    valid_perplexity: float | None = None
    """Perplexity of a validation symbol; None if it is no generator."""
    valid_elbo: float | None = None
    """ELBO of the validation sentences, in nats a sentence; None if it is no generator."""

    @property
    def selection_metric(self) -> tuple[float, float]:
        """Validation F1, ties broken by intent accuracy; of a generator the ELBO."""
        if self.valid_elbo is not None:
            return self.valid_elbo, 0.0
        return self.valid_f1 or 0.0, self.valid_intents or 0.0


@dataclass(slots=True)
class Progress:
    """Reported after each step, and once more after the validation of each epoch."""

    epoch: int
    epochs: int
    """Maximum number of epochs."""
    done: int
    """Steps done in this epoch."""
    steps: int
    """Steps per epoch."""
    loss: float
    """Mean training loss of the epoch so far."""
    tokens_per_second: float
    seconds_left: float
    history: list[EpochMetrics]
    """The finished epochs."""
    best: EpochMetrics | None
    """The best epoch so far; None if the validation set is too small to rank epochs."""


Report = Callable[[Progress], None]
