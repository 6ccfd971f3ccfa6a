"""The network: embeddings, encoders, an optional intent head and a tagger, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from slotfill.config.registry import EMBEDDINGS, ENCODERS, INTENTS, TAGGERS
from slotfill.data.batching import Batch
from slotfill.data.indexers import Indexer
from slotfill.data.vocab import Vocab, check_described_slots
from slotfill.inference.decoding import Hypotheses, Scores, Transitions
from slotfill.inference.engine import Engine
from slotfill.model.embeddings.base import Embedding
from slotfill.model.encoders.base import Encoder
from slotfill.model.intents.base import IntentHead
from slotfill.model.language_model import LanguageModelHead

Part = str | Mapping[str, Any]
Features = Sequence[Sequence[Tensor]]
"""For each embedding, the tensors of ids that its indexer returns."""


class TaggerOutput(NamedTuple):
    """The result of a forward pass; an ensemble's has no states."""

    emissions: Tensor
    """Scores of the tags, `(batch, time, tags)`; any number at padding."""
    intent_logits: Tensor | None
    """`(batch, intents)`, or None without an intent head."""
    states: Tensor | None = None
    """The tagger's input, `(batch, time, size)`."""
    first_states: Tensor | None = None
    """States of the first encoder, `(batch, time, hidden)`, for the language-model head."""

    def to_scores(
        self, transitions: Transitions | None, hypotheses: list[Hypotheses] | None = None
    ) -> Scores:
        """Return the output as arrays of 32-bit floats."""
        logits = None if self.intent_logits is None else to_numpy(self.intent_logits)
        return Scores(to_numpy(self.emissions), transitions, logits, hypotheses)


class Network(Engine, nn.Module):
    """Concatenated embeddings, a stack of encoders, an optional intent head and a tagger.

    Contextual embeddings come last, so that the vectors of the others can be cached by token.
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
            EMBEDDINGS.build(part, vocab, key=f"embedding.{index}")
            for index, part in enumerate(embedding)
        ]
        embeddings.sort(key=lambda part: part.contextual)
        self.indexers: list[Indexer] = [part.indexer for part in embeddings]
        self.embeddings = nn.ModuleList(embeddings)
        size = sum(part.output_size for part in embeddings)
        self.encoders = nn.ModuleList()
        parts = [encoder] if isinstance(encoder, str | Mapping) else encoder
        for index, part in enumerate(parts):
            key = f"encoder.{index}" if parts is encoder else "encoder"
            self.encoders.append(ENCODERS.build(part, size, key=key))
            size = self.encoders[-1].output_size
        self.is_multi_intent = vocab.is_multi_intent
        self.intent: IntentHead | None = None
        if intent is not None:
            self.intent = INTENTS.build(intent, size, vocab)
            size = self.intent.output_size
        self.tagger = TAGGERS.build(tagger, size, vocab)
        check_described_slots(
            vocab.unlabelled_slots,
            {*vocab.slot_names} - vocab.unlabelled_slots,
            uses_names=self.tagger.uses_slot_names,
        )
        self.language_model: LanguageModelHead | None = None
        """An auxiliary head, in training only."""
        self.focal_gamma = 0.0
        """The exponent of the focal loss, in training only."""

    @property
    def members(self) -> list[Network]:
        """The networks of this model: itself; an `Ensemble` has several."""
        return [self]

    @property
    def context_free_encoders(self) -> list[nn.Module]:
        """The leading encoders that look at each token on its own; none after its context."""
        if any(cast(Embedding, part).contextual for part in self.embeddings):
            return []
        encoders = cast(Iterable[Encoder], self.encoders)
        return list(takewhile(lambda encoder: encoder.is_context_free, encoders))

    def forward(
        self, features: Features, lengths: Tensor, tags: Tensor | None = None
    ) -> TaggerOutput:
        """Return the emissions, the intent logits and the states that they are computed from.

        `tags` `(batch, time)` are the gold tags in training, for a decoder (teacher forcing).
        """
        return self.forward_encoded(self.encode_tokens(features, lengths), lengths, tags)

    def encode_tokens(self, features: Features, lengths: Tensor | None = None) -> Tensor:
        """Return what depends on each token alone, `(batch, time, size)`: embeddings, encoded.

        `features` may be those of the first embeddings only, before the contextual ones. Without
        `lengths` all tokens are taken as real ones.
        """
        x = torch.cat(
            [part(*arrays) for part, arrays in zip(self.embeddings, features, strict=False)], dim=2
        )
        encoders = self.context_free_encoders
        if encoders and lengths is None:
            lengths = torch.ones_like(x[..., 0]).sum(dim=1)
        for encoder in encoders:
            x = encoder(x, lengths)
        return x

    def forward_encoded(
        self, x: Tensor, lengths: Tensor, tags: Tensor | None = None, context: Features = ()
    ) -> TaggerOutput:
        """Return the output for tokens that `encode_tokens` has encoded, `(batch, time, size)`.

        `context` are the features that it has not seen, those of the contextual embeddings.
        """
        if context:
            parts = self.embeddings[-len(context) :]
            vectors = [part(*arrays) for part, arrays in zip(parts, context, strict=True)]
            x = torch.cat([x, *vectors], dim=2)
        first_states = None
        for encoder in self.encoders[len(self.context_free_encoders) :]:
            x = encoder(x, lengths)
            first_states = x if first_states is None else first_states
        intent_logits = None
        if self.intent is not None:
            x, intent_logits = self.intent(x, lengths)
        return TaggerOutput(self.tagger(x, lengths, tags), intent_logits, x, first_states)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a mean over its sentences, with auxiliary losses.

        Where there are no tags, it is that of the language model alone, and where there are no
        words, it is that of the tags alone.
        """
        inputs = to_device(batch, self)
        output = self(inputs.features, inputs.lengths, inputs.tags)
        loss = torch.as_tensor(self.regularization_loss)
        if inputs.tags is not None:
            loss = loss + self._label_loss(output, inputs)
        if self.language_model is not None and inputs.words is not None:
            states = output.first_states
            loss = loss + self.language_model.loss(states, inputs.lengths, inputs.words)
        return loss

    def _label_loss(self, output: TaggerOutput, inputs: TensorBatch) -> Tensor:
        """Return the loss of tags and intents, a mean over the sentences."""
        assert inputs.tags is not None
        if inputs.soft_targets is None:
            losses = self.tagger.loss(output.emissions, inputs.lengths, inputs.tags)
        else:
            losses = self.tagger.soft_loss(output.emissions, inputs.lengths, *inputs.soft_targets)
        if self.focal_gamma:
            losses = losses * focal_factor(losses, inputs.lengths, self.focal_gamma)
        if inputs.weights is not None:
            losses = losses * inputs.weights
        if self.intent is None:
            return losses.mean()
        assert inputs.intents is not None and output.intent_logits is not None
        return losses.mean() + self.intent.loss(output.intent_logits, inputs.intents)

    @property
    def regularization_loss(self) -> Tensor | float:
        """The KL terms of the cells in the last forward pass, in nats a sentence."""
        parts = (*self.encoders, self.tagger)
        return sum(cast(Encoder, part).regularization_loss for part in parts)

    @torch.inference_mode()
    def scores(self, batch: Batch) -> Scores:
        inputs = to_device(batch, self)
        output = self(inputs.features, inputs.lengths)
        return output.to_scores(
            self.tagger.transitions(), self.tagger.search(output.states, inputs.lengths)
        )

    def transitions(self) -> Transitions | None:
        """Return the scores of pairs of tags that decoding adds to the emissions, if any."""
        return self.tagger.transitions()


def focal_factor(losses: Tensor, lengths: Tensor, gamma: float) -> Tensor:
    """Return (1 - p)^gamma `(batch,)`, which is small for sentences that are already learned.

    p is the probability of a gold tag, as the geometric mean over the sentence.

    Source: Lin, Goyal, Girshick, He & Dollár 2017, "Focal Loss for Dense Object Detection"
    """
    # Not 0, where the gradient of powers below 1 is infinite.
    return (-torch.expm1(-losses / lengths)).clamp_min(1e-6) ** gamma


class TensorBatch(NamedTuple):
    """The arrays of a `Batch` as tensors on the device of a model."""

    features: Features
    lengths: Tensor
    tags: Tensor | None
    intents: Tensor | None
    words: Tensor | None
    weights: Tensor | None
    soft_targets: Sequence[Tensor] | None


def to_device(batch: Batch, model: nn.Module) -> TensorBatch:
    """Return the arrays of `batch` as tensors on the device of the weights of `model`."""
    device = next(model.parameters()).device

    def tensor(array: np.ndarray) -> Tensor:
        if device.type != "cuda":
            return torch.from_numpy(array).to(device)
        # The copy from pinned memory runs while the processor goes on.
        return torch.from_numpy(array).pin_memory().to(device, non_blocking=True)

    def optional(array: np.ndarray | None) -> Tensor | None:
        return None if array is None else tensor(array)

    return TensorBatch(
        [[tensor(array) for array in arrays] for arrays in batch.features],
        tensor(batch.lengths),
        optional(batch.tags),
        optional(batch.intents),
        optional(batch.words),
        optional(batch.weights),
        None if batch.soft_targets is None else [*map(tensor, batch.soft_targets)],
    )


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return `tensor` as an array of 32-bit floats."""
    return tensor.float().cpu().numpy()
