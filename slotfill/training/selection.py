"""Selection of the epoch whose weights a run keeps, and early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slotfill.data.sentence import Sentence, intent_names

MIN_VALID_LABELS = 200
"""Slots (and intents, if learned) of valid from which its F1 ranks epochs."""


@dataclass(frozen=True, slots=True)
class EpochSelector:
    """Selects the epoch to keep: the best on valid or, where valid is too small, the last one.

    The first of several epochs with the best score is kept, since the later ones are no better on
    valid and have been trained for longer.
    """

    patience: int
    """Epochs without a better score after which training stops; 0 disables early stopping."""
    valid_ranks_epochs: bool
    """Whether valid has enough labels for its scores to rank epochs."""

    @classmethod
    def from_valid(
        cls, patience: int, valid: Sequence[Sentence], *, intents: bool
    ) -> EpochSelector:
        """Return the selector for the sentences of `valid`."""
        labels = sum(len(sentence.slots or ()) for sentence in valid)
        if intents:
            labels += sum(len(intent_names(sentence.intent)) for sentence in valid)
        return cls(patience, labels >= MIN_VALID_LABELS)

    def is_better(self, score: tuple[float, ...], best: tuple[float, ...] | None) -> bool:
        """Return whether an epoch with `score` is to be kept in place of one with `best`."""
        return best is None or not self.valid_ranks_epochs or score > best

    def should_stop(self, epochs_since_best: int) -> bool:
        """Return whether training stops early."""
        return self.valid_ranks_epochs and 0 < self.patience <= epochs_since_best
