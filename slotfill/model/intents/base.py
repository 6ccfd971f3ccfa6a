"""The base class of intent heads.

    logits = pooled W + b
    P(intent) = softmax(logits), or the sigmoid of each if a sentence may have several intents
    the tagger's input is h_t, or [h_t ; P(intent)] with `feed`

Source: feed: Qin, Che, Li, Wen & Liu 2019, "A Stack-Propagation Framework with Token-Level Intent
Detection for Spoken Language Understanding", simplified: one distribution for the sentence instead
of one for each token and a vote, and the tagger reads it instead of a separate decoder
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from slotfill.data.vocab import Vocab
from slotfill.model.activations import RecordsActivations
from slotfill.model.layers import LockedDropout, padding_mask


class IntentHead(RecordsActivations):
    """Intent logits of a sentence, their loss, and the tagger's input, of size `output_size`.

    A subclass takes the size of the encoder's output and the `Vocab`, and implements `pool`.
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
        self.multi_label = vocab.is_multi_intent
        self.weight = weight
        self.feed = feed
        self.output_size = input_size + count * feed
        self.dropout = LockedDropout(dropout)
        self.linear = nn.Linear(pooled_size, count)

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return one vector for each sentence, `(batch, pooled_size)`.

        `hidden` `(batch, time, input)` is zero at padding, where `mask` `(batch, time)` is False.
        """
        raise NotImplementedError

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tagger's input `(batch, time, output_size)` and the logits `(batch, intents)`.

        The former is zero at padding. A sentence's result does not depend on the rest of the batch.
        """
        mask = padding_mask(lengths, hidden.shape[1])
        logits = self.linear(self.pool(self.dropout(hidden), mask))
        if not self.feed:
            return hidden, logits
        probabilities = logits.sigmoid() if self.multi_label else logits.softmax(1)
        fed = probabilities.unsqueeze(1) * mask.unsqueeze(2)
        return torch.cat((hidden, fed), dim=2), logits

    def loss(self, logits: Tensor, intents: Tensor) -> Tensor:
        """Return the weighted cross-entropy, a mean over sentences.

        `intents` `(batch, intents)` is 1 for the sentence's intents, else 0.
        """
        logits = logits.to(self.linear.weight.dtype)
        intents = intents.to(logits.dtype)
        if not self.multi_label:
            return self.weight * cross_entropy(logits, intents)
        total = binary_cross_entropy_with_logits(logits, intents, reduction="sum")
        return self.weight * total / logits.shape[0]
