"""Ensemble: several networks of one kind, trained side by side, whose scores are averaged.

    emissions = (emissions_1 + ... + emissions_K) / K, and so for transitions and the scores of
    intents

Each errs in its own way where it has seen little, so that the mean errs less than any of them.

Source: Hansen & Salamon 1990, "Neural Network Ensembles"
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.data.batching import Batch
from slotfill.errors import ConfigError
from slotfill.inference.decoding import Transitions, decode
from slotfill.model.tagger import SlotTagger

_TRANSITIONS = ("start", "between", "end")


class Ensemble(SlotTagger):
    """A SlotTagger that has no parts of its own but `members`, each with its own weights.

    Raises ConfigError where their tags come from a search, of which there is no mean.
    """

    def __init__(self, members: Sequence[SlotTagger]) -> None:
        nn.Module.__init__(self)
        first = members[0]
        if first.tagger.uses_beam_search:
            raise ConfigError(
                "ensemble_size: the tags of this tagger come from a search, so there is no mean; give 1"
            )
        self.indexers = first.indexers
        for member in members[1:]:
            # All look up the same, and one table of it is enough.
            member.indexers = first.indexers
            for part, same in zip(member.embeddings, first.embeddings, strict=True):
                part.indexer = same.indexer
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> list[SlotTagger]:
        """The networks."""
        return list(self._members)  # type: ignore[arg-type]

    def scores(
        self, features: Sequence[Sequence[Tensor]], lengths: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the means of emissions `(batch, time, tags)`, and of intents `(batch, intents)`
        where learned.
        """
        return average_outputs([member.scores(features, lengths) for member in self.members])

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean of the members' losses: each learns as if it were alone."""
        return torch.stack([member.loss(batch) for member in self.members]).mean()

    @property
    def regularization_loss(self) -> Tensor | float:
        """The mean of what the members' encoders have added to the last loss."""
        return sum(member.regularization_loss for member in self.members) / len(self.members)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of the best tags of each sentence, and of its intents; no list where none
        are learned.
        """
        emissions, scores = self.scores(*self.to_device(batch))
        head = self.members[0].intent
        intents = [] if head is None or scores is None else head.predict(scores)
        return decode(emissions.float().cpu().numpy(), batch.lengths, self.transitions()), intents

    def transitions(self) -> Transitions | None:
        """Return the means of the learned scores, or None where there are none."""
        found = [
            transitions
            for member in self.members
            if (transitions := member.transitions()) is not None
        ]
        if not found:
            return None
        return Transitions(
            *(np.mean([getattr(each, name) for each in found], axis=0) for name in _TRANSITIONS)
        )


def average_outputs(scores: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Return the means of emissions and of the scores of intents, None where there are none."""
    emissions, intents = zip(*scores, strict=True)
    return _mean(emissions), None if intents[0] is None else _mean(intents)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for each in tensors[1:]:
        total = total + each
    return total / len(tensors) if len(tensors) > 1 else total
