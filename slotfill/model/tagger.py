"""SlotTagger: embedding > encoder > tagger, and an intent head if asked for, from a checked config
and a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.config.registry import EMBEDDINGS, ENCODERS, INTENTS, TAGGERS
from slotfill.data.batching import Batch
from slotfill.data.indexers import Indexer
from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import Transitions
from slotfill.model.encoders.base import Encoder
from slotfill.model.intents.base import IntentHead

if TYPE_CHECKING:
    from slotfill.model.language_model import LanguageModelHead


Part = str | Mapping[str, Any]


def _keyed(key: str, parts: Part | Sequence[Part]) -> list[tuple[str, Part]]:
    """Return one part, or each of several, after the key that it stands at in a config."""
    if isinstance(parts, str | Mapping):
        return [(key, parts)]
    return [(f"{key}.{place}", part) for place, part in enumerate(parts)]


class SlotTagger(nn.Module):
    """The network: what each listed embedding gives is joined, sent through the encoders, and
    scored for each tag.
    """

    def __init__(
        self,
        vocab: Vocab,
        embedding: Sequence[Part],
        encoder: Part | Sequence[Part],
        tagger: Part,
        intent: Part | None = None,
    ) -> None:
        super().__init__()
        embeddings = [
            EMBEDDINGS.build(part, vocab, key=key) for key, part in _keyed("embedding", embedding)
        ]
        self.indexers: list[Indexer] = [part.indexer for part in embeddings]
        self.embeddings = nn.ModuleList(embeddings)
        size = sum(part.output_size for part in embeddings)
        self.encoders = nn.ModuleList()
        for key, part in _keyed("encoder", encoder):
            self.encoders.append(ENCODERS.build(part, size, key=key))
            size = self.encoders[-1].output_size
        self.intent: IntentHead | None = None
        if intent is not None:
            self.intent = INTENTS.build(intent, size, vocab)
            size = self.intent.output_size
        self.tagger = TAGGERS.build(tagger, size, vocab)
        # A head that only training has.
        self.language_model: LanguageModelHead | None = None

    @property
    def members(self) -> list[SlotTagger]:
        """The networks whose scores are averaged: this one alone."""
        return [self]

    def embed(self, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return what the embeddings give, joined, `(batch, time, size)`; any number at padding."""
        return torch.cat(
            [part(*arrays) for part, arrays in zip(self.embeddings, features, strict=True)], dim=2
        )

    @property
    def context_free_encoders(self) -> list[nn.Module]:
        """The first encoders, as many as see no neighbours."""
        return list(
            takewhile(lambda encoder: cast(Encoder, encoder).is_context_free, self.encoders)
        )

    def encode_tokens(self, features: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return all that depends on each token alone, `(batch, time, size)`; any number at
        padding.
        """
        vectors = self.embed(features)
        if not (alone := self.context_free_encoders):
            return vectors
        return self.through(alone, vectors, torch.ones_like(vectors[..., 0]).sum(dim=1))

    def encode(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return what the encoders give, `(batch, time, hidden)`; zero at padding."""
        return self.through(self.encoders, vectors, lengths)

    def through(self, encoders: Iterable[nn.Module], x: Tensor, lengths: Tensor) -> Tensor:
        """Return what `encoders`, one after the other, make of `x` `(batch, time, size)`; zero at
        padding.
        """
        for encoder in encoders:
            x = encoder(x, lengths)
        return x

    def apply_intent_head(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the tagger sees of `hidden`, and scores of intents `(batch, intents)`, None
        without a head.
        """
        return (hidden, None) if self.intent is None else self.intent(hidden, lengths)

    def seen(
        self, features: Sequence[Sequence[Tensor]], lengths: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the tagger sees of a batch, and the scores of its intents."""
        return self.apply_intent_head(self.encode(self.embed(features), lengths), lengths)

    def scores(
        self, features: Sequence[Sequence[Tensor]], lengths: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return emissions `(batch, time, tags)`, and scores of intents `(batch, intents)`, None
        without a head.
        """
        hidden, scores = self.seen(features, lengths)
        return self.tagger(hidden, lengths), scores

    def forward(self, features: Sequence[Sequence[Tensor]], lengths: Tensor) -> Tensor:
        """Return emissions `(batch, time, tags)`."""
        return self.scores(features, lengths)[0]

    def transitions(self) -> Transitions | None:
        """Return the scores between tags that decoding adds to the emissions, or None if there are
        none.
        """
        return self.tagger.transitions()

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a labelled batch, a mean over its sentences, with all that is added to
        it.
        """
        assert batch.tags is not None
        features, lengths = self.to_device(batch)
        first = self.encoders[0](self.embed(features), lengths)
        hidden, scores = self.apply_intent_head(
            self.through(self.encoders[1:], first, lengths), lengths
        )
        loss = (
            self.tagger.loss(hidden, lengths, self._tensor(batch.tags)) + self.regularization_loss
        )
        if self.intent is not None and scores is not None:
            assert batch.intents is not None
            loss = loss + self.intent.loss(scores, self._tensor(batch.intents))
        if self.language_model is not None:
            assert batch.words is not None
            loss = loss + self.language_model.loss(first, lengths, self._tensor(batch.words))
        return loss

    @property
    def regularization_loss(self) -> Tensor | float:
        """What the encoders have added to the last loss: the Kullback-Leibler terms of variational
        cells, in nats.
        """
        return sum(cast(Encoder, encoder).regularization_loss for encoder in self.encoders)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the ids of the best tags of each sentence, and of its intents; no list where none
        are learned.
        """
        features, lengths = self.to_device(batch)
        hidden, scores = self.seen(features, lengths)
        intents = [] if self.intent is None or scores is None else self.intent.predict(scores)
        return self.tagger.tags(hidden, lengths), intents

    def tags(self, batch: Batch) -> list[list[int]]:
        """Return the ids of the best tags of each sentence."""
        return self.predict(batch)[0]

    @torch.inference_mode()
    def emissions(self, batch: Batch) -> np.ndarray:
        """Return emissions `(batch, time, tags)` as NumPy holds them."""
        return self(*self.to_device(batch)).float().cpu().numpy()

    def to_device(self, batch: Batch) -> tuple[list[list[Tensor]], Tensor]:
        """Return what the embeddings take of a batch, and its lengths, where the weights are."""
        features = [[self._tensor(array) for array in arrays] for arrays in batch.features]
        return features, self._tensor(batch.lengths)

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor, device = torch.from_numpy(array), next(self.parameters()).device
        # From memory that stays in its place a copy goes on beside what the processor does next.
        return (
            tensor.pin_memory().to(device, non_blocking=True)
            if device.type == "cuda"
            else tensor.to(device)
        )
