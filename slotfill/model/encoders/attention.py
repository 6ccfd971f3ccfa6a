"""Additive attention: concatenate to each token a weighted sum of all vectors of the sentence.

    e_ij = v . tanh(h_i W + h_j U)
    a_ij = exp(e_ij) / sum_k exp(e_ik)
    c_i  = sum_j a_ij h_j
    output_i = [h_i ; c_i]

Source: Liu & Lane 2016, "Attention-Based Recurrent Neural Network Models for Joint Intent Detection
and Slot Filling", section 3.2; the score: Bahdanau, Cho & Bengio 2015

It has no position encoding; stack it on an encoder that knows the order of the tokens, as in
`encoder: [recurrent, attention]`.
"""

import torch
from torch import Tensor

from slotfill.config.option_types import Fraction, Size
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import AdditiveAttention, LockedDropout, padding_mask


class Attention(Encoder):
    """Attend to the sentence from each of its tokens; records `weights` `(batch, 1, time, time)`.

    size: hidden size of the scoring network.
    dropout: dropout rate of the vectors that attention sees; the residual path has none.
    """

    def __init__(self, input_size: int, *, size: Size = 64, dropout: Fraction = 0.5) -> None:
        super().__init__()
        self.output_size = 2 * input_size
        self.dropout = LockedDropout(dropout)
        self.attention = AdditiveAttention(input_size, input_size, size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, 2 * input)`, zero at padding, which has no attention weight."""
        mask = padding_mask(lengths, x.shape[1])
        h = self.dropout(x)
        weights = self.attention(h, self.attention.key(h), mask)
        self.record(weights=weights.unsqueeze(1))
        return torch.cat((x, weights @ h), dim=2) * mask.unsqueeze(2)
