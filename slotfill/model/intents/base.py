"""What every intent head promises.

    scores = pooled W + b
    P(intent) = softmax(scores), or the sigmoid of each where a sentence may have several intents
    the tagger sees h_t, or [h_t ; P(intent)] where it is fed

Fed intents: Qin, Che, Li, Wen & Liu 2019, "A Stack-Propagation Framework with Token-Level Intent
Detection for Spoken Language Understanding", made simpler: one distribution for the sentence
instead of one for each token and a vote, and it is the tagger that reads it, not a decoder of its
own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from slotfill.data.vocab import Vocab
from slotfill.inference.decoding import select_intents
from slotfill.model.activations import RecordsActivations
from slotfill.model.dropout import LockedDropout
from slotfill.model.masks import padding_mask


class IntentHead(RecordsActivations):
    """From the states of a sentence to a score for each intent, the loss against the gold ones, and
    what the tagger sees, `output_size` numbers a token.

    A subclass takes the encoder's output size and the Vocab, and says how the states are `pooled`.
    """

    def __init__(
        self,
        input_size: int,
        pooled_size: int,
        vocab: Vocab,
        dropout: float,
        weight: float,
        feed: bool,
    ) -> None:
        super().__init__()
        count = len(vocab.intent_names)
        self.several = vocab.is_multi_intent
        self.weight = weight
        self.feed = feed
        self.output_size = input_size + count * feed
        self.dropout = LockedDropout(dropout)
        self.linear = nn.Linear(pooled_size, count)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return one vector a sentence, `(batch, pooled_size)`, of `hidden` `(batch, time, input)`,
        zero at padding.

        `mask` is `(batch, time)`.
        """
        raise NotImplementedError

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the tagger sees, `(batch, time, output_size)`, zero at padding, and scores
        `(batch, intents)`.

        A sentence's numbers never depend on its batch-mates.
        """
        mask = padding_mask(lengths, hidden.shape[1])
        scores = self.linear(self.pool(self.dropout(hidden), mask))
        if not self.feed:
            return hidden, scores
        told = scores.sigmoid() if self.several else scores.softmax(1)
        return torch.cat((hidden, told.unsqueeze(1) * mask.unsqueeze(2)), dim=2), scores

    def loss(self, scores: Tensor, intents: Tensor) -> Tensor:
        """Return the cross-entropy, times the head's weight, a mean over sentences; `intents`
        `(batch, intents)` is 1 where a sentence has the intent and 0 elsewhere."""
        scores = scores.to(self.linear.weight.dtype)
        intents = intents.to(scores.dtype)
        if self.several:
            loss = (
                binary_cross_entropy_with_logits(scores, intents, reduction="sum") / scores.shape[0]
            )
        else:
            loss = cross_entropy(scores, intents)
        return self.weight * loss

    def predict(self, scores: Tensor) -> list[list[int]]:
        """Return the ids of the intents of each sentence."""
        return select_intents(scores.float().cpu().numpy(), self.several)
