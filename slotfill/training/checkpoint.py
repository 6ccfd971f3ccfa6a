"""What a checkpoint holds, checked: it may be of a stranger, or damaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from pydantic import BaseModel, Json, ValidationError
from torch import Tensor

from slotfill.data.sentence import Confidence, Sentence, Slot, intent_names
from slotfill.data.vocab import Vocab
from slotfill.training.progress import Count, EpochMetrics, Seconds

Tensors = dict[str, Tensor]


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


def get_random_state() -> Tensors:
    """Return the state of the random numbers of this process."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Continue with the random numbers that follow `state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def check_random_states(groups: Mapping[str, Tensors]) -> None:
    """Raise ValueError unless "random" and each "random.RANK" of a checkpoint can be restored."""
    own = get_random_state()
    for group in {"random", *(name for name in groups if name.startswith("random."))}:
        state = {name: each for name, each in groups.get(group, {}).items() if name in own}
        # One that another kind of device has written has not all of them.
        check_fits(group, state, {name: own[name] for name in {"cpu", *state}})


def check_labels(sentences: Iterable[Sentence], vocab: Vocab) -> None:
    """Raise ValueError if predicted sentences have labels that no model of `vocab` can predict."""
    names, intents = {*vocab.slot_names}, {*vocab.intents}
    for sentence in sentences:
        end = 0
        for slot in sentence.slots or ():
            is_there = end <= slot.start < slot.end <= len(sentence.tokens)
            if slot.name not in names or not is_there:
                raise ValueError(f"predicted: {slot} is no slot of '{sentence.text}'")
            end = slot.end
        if not intents.issuperset(intent_names(sentence.intent)):
            raise ValueError(f"predicted: the intent {sentence.intent!r} is not known")
