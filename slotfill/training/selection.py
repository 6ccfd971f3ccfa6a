"""Selection of the epoch whose weights a run keeps, and early stopping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochSelector:
    """Selects the epoch to keep: the best on valid or, where valid is too small, the last one.

    The first of several epochs with the best score is kept, since the later ones are no better on
    valid and have been trained for longer.
    """

    patience: int
    """Stop after so many epochs without a better score; 0 disables early stopping."""
    valid_ranks_epochs: bool
    """Whether valid has enough labels for its scores to rank epochs."""

    def is_better(self, score: tuple[float, ...], best: tuple[float, ...] | None) -> bool:
        """Return whether an epoch with `score` is to be kept in place of one with `best`."""
        return best is None or not self.valid_ranks_epochs or score > best

    def should_stop(self, epochs_since_best: int) -> bool:
        """Return whether training stops early."""
        return self.valid_ranks_epochs and 0 < self.patience <= epochs_since_best
