"""Average several networks that are trained side by side.

    emissions = (emissions_1 + ... + emissions_K) / K, as transitions and intent logits

Where training data is scarce, networks make different errors, so their mean makes fewer.

Source: Hansen & Salamon 1990, "Neural Network Ensembles"
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.data.batching import Batch
from slotfill.errors import ConfigError
from slotfill.inference.decoding import Scores, Transitions
from slotfill.inference.engine import Engine
from slotfill.model.network import Features, Network, TaggerOutput, to_device


class Ensemble(Engine, nn.Module):
    """The mean of `members`, networks of one config, with the methods of a `Network`.

    Raises ConfigError for taggers that decode by beam search, whose outputs cannot be averaged.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        first = members[0]
        if first.tagger.uses_beam_search:
            raise ConfigError(
                "this tagger decodes by beam search, so networks cannot be averaged;"
                " set ensemble_size: 1",
                key="ensemble_size",
            )
        self.indexers = first.indexers
        self.is_multi_intent = first.is_multi_intent
        for member in members[1:]:
            # All members look up the same ids, so they share one table.
            member.indexers = first.indexers
            for part, same in zip(member.embeddings, first.embeddings, strict=True):
                part.indexer = same.indexer
        self._members = nn.ModuleList(members)

    @property
    def members(self) -> list[Network]:
        return cast(list[Network], list(self._members))

    def forward(
        self, features: Features, lengths: Tensor, tags: Tensor | None = None
    ) -> TaggerOutput:
        return average_outputs([member(features, lengths, tags) for member in self.members])

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean of the members' losses, so that each learns as if it were alone."""
        return torch.stack([member.loss(batch) for member in self.members]).mean()

    @property
    def regularization_loss(self) -> Tensor | float:
        return sum(member.regularization_loss for member in self.members) / len(self.members)

    @torch.inference_mode()
    def scores(self, batch: Batch) -> Scores:
        inputs = to_device(batch, self)
        return self(inputs.features, inputs.lengths).to_scores(self.transitions())

    def transitions(self) -> Transitions | None:
        """Return the mean scores of pairs of tags, or None if the taggers have none."""
        tables = [member.transitions() for member in self.members]
        if None in tables:
            return None

        def mean(name: str) -> np.ndarray:
            return np.mean([getattr(table, name) for table in tables], axis=0)

        return Transitions(mean("start"), mean("matrix"), mean("end"))


Model = Network | Ensemble
"""What `build_model` returns: one network or several, with the same methods."""


def average_outputs(outputs: Sequence[TaggerOutput]) -> TaggerOutput:
    """Return the mean emissions and intent logits, without states."""
    return TaggerOutput(
        _mean([output.emissions for output in outputs]),
        _mean([output.intent_logits for output in outputs]),
    )


def _mean(tensors: Sequence[Any]) -> Any:
    return None if tensors[0] is None else sum(tensors[1:], tensors[0]) / len(tensors)
