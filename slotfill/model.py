"""SlotTagger: embedding > encoder > tagger, built from a checked config and a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.batch import Batch
from slotfill.registry import EMBEDDINGS, ENCODERS, TAGGERS
from slotfill.vocab import Lookup, Vocab


class SlotTagger(nn.Module):
    """The network: what each listed embedding gives is joined, encoded, and scored for each tag."""

    def __init__(
        self,
        vocab: Vocab,
        embedding: Sequence[str | Mapping[str, Any]],
        encoder: str | Mapping[str, Any],
        tagger: str | Mapping[str, Any],
    ) -> None:
        super().__init__()
        embeddings = [EMBEDDINGS.build(part, vocab) for part in embedding]
        self.lookups: list[Lookup] = [part.lookup for part in embeddings]
        self.embeddings = nn.ModuleList(embeddings)
        self.encoder = ENCODERS.build(encoder, sum(part.output_size for part in embeddings))
        self.tagger = TAGGERS.build(tagger, self.encoder.output_size, vocab)

    def hidden(self, features: Sequence[Sequence[Tensor]], lengths: Tensor) -> Tensor:
        """Return what the tagger sees, `(batch, time, hidden)`; zero at padding."""
        vectors = [part(*arrays) for part, arrays in zip(self.embeddings, features, strict=True)]
        return self.encoder(torch.cat(vectors, dim=2), lengths)

    def forward(self, features: Sequence[Sequence[Tensor]], lengths: Tensor) -> Tensor:
        """Return emissions `(batch, time, tags)`."""
        return self.tagger(self.hidden(features, lengths), lengths)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a labelled batch, a mean over its sentences."""
        assert batch.tags is not None
        features, lengths = self._tensors(batch)
        return self.tagger.loss(self.hidden(features, lengths), lengths, self._tensor(batch.tags))

    @torch.inference_mode()
    def emissions(self, batch: Batch) -> np.ndarray:
        """Return emissions `(batch, time, tags)` as NumPy holds them."""
        return self(*self._tensors(batch)).float().cpu().numpy()

    def _tensors(self, batch: Batch) -> tuple[list[list[Tensor]], Tensor]:
        features = [[self._tensor(array) for array in arrays] for arrays in batch.features]
        return features, self._tensor(batch.lengths)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(next(self.parameters()).device)
