"""What a checkpoint holds besides tensors, validated: it may be of a stranger, or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Json, ValidationError
from torch import Tensor

from slotfill.data.sentence import Confidence, Slot
from slotfill.training.progress import Count, EpochMetrics, Seconds


@dataclass(slots=True)
class Begun:
    """How far an epoch is in a checkpoint, and its sums so far; all zero between epochs."""

    steps: Count = 0
    loss: float = 0.0
    kl: float = 0.0
    gradient_norm: float = 0.0
    tokens: Count = 0
    sentences: Count = 0
    seconds: Seconds = 0.0


class CheckpointNotes(BaseModel):
    """What a checkpoint has besides tensors; it may be of a stranger."""

    history: Json[list[EpochMetrics]]
    best: Count
    steps_done: Count
    steps: Count
    round: Count
    begun: Json[Begun]
    predicted: Json[list[tuple[list[Slot], str | None, Confidence]]]

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> CheckpointNotes:
        """Raises ValueError, which names the first value that is not valid."""
        try:
            notes = cls.model_validate(metadata)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if [row.epoch for row in notes.history] != [*range(1, len(notes.history) + 1)]:
            raise ValueError("history: its epochs are not numbered from 1")
        if notes.best > len(notes.history):
            raise ValueError("best: not an epoch of the history")
        if (notes.round > 0) != bool(notes.predicted):
            raise ValueError("predicted: does not fit the round")
        return notes


def check_fits(group: str, tensors: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless `tensors` have the names, shapes and dtypes of `needed`."""
    for name in {**needed, **tensors}:
        found, expected = (
            f"{each[name].dtype} {tuple(each[name].shape)}" if name in each else "missing"
            for each in (tensors, needed)
        )
        if found != expected:
            raise ValueError(f"{group}/{name} is {found}, but must be {expected}")
