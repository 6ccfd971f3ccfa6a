"""Attention pooling: a weighted average of the states, with learned weights.

    e_j = v . tanh(h_j W + b)
    a_j = exp(e_j) / sum_k exp(e_k)
    pooled = sum_j a_j h_j

Source: Liu & Lane 2016, "Attention-Based Recurrent Neural Network Models for Joint Intent Detection
and Slot Filling", section 3.2; the score: Yang et al. 2016, "Hierarchical Attention Networks for
Document Classification", equation 5
"""

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Fraction, Positive, Size
from slotfill.data.vocab import Vocab
from slotfill.model.intents.base import IntentHead
from slotfill.model.layers import masked_softmax


class Attention(IntentHead):
    """Attention pooling without a query; records the `weights` `(batch, 1, 1, time)`.

    size: size of the hidden layer that scores a token.
    dropout: dropout rate on the encoder's output, for this head.
    weight: weight of the intent loss; that of the slots is 1.
    feed: concatenate the intent probabilities to each token's state, as input of the tagger.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        size: Size = 64,
        dropout: Fraction = 0.5,
        weight: Positive = 1.0,
        feed: bool = False,
    ) -> None:
        super().__init__(input_size, input_size, vocab, dropout, weight, feed)
        self.key = nn.Linear(input_size, size)
        self.score = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted average `(batch, input)`, without padding."""
        weights = masked_softmax(self.key(hidden).tanh() @ self.score, mask).unsqueeze(1)
        self.record(weights=weights.unsqueeze(1))
        return (weights @ hidden).squeeze(1)
