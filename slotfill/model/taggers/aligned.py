"""Aligned encoder-decoder with attention: each step sees its token's vector, a weighted sum of all,
and the tag before.

    e_tj = v . tanh(s_{t-1} W + h_j U)
    c_t  = sum_j softmax_j(e_tj) h_j
    s_t  = cell([tag_vector(y_{t-1}) ; h_t ; c_t], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

The first query is s_0 = tanh(h_1 W_0 + b_0): h_1 holds the backward encoder's last state, of which
the paper makes s_0. The cell itself starts from its own start. y_{t-1} is the gold tag in training,
the tag chosen in prediction; before the first there is a vector of its own.

Source: Liu & Lane 2016, "Attention-Based Recurrent Neural Network Models for Joint Intent Detection
and Slot Filling", section 3.1; the score: Bahdanau, Cho & Bengio 2015

Export: With a beam wider than 1 torch predicts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slotfill.config.option_types import CellPart, Fraction, Size
from slotfill.data.vocab import Vocab
from slotfill.model.attention import AdditiveAttention
from slotfill.model.masks import padding_mask
from slotfill.model.taggers._decoder import Decoder, Sentences


class Aligned(Decoder):
    """A decoder that looks at its own token, and where it likes; notes the `weights` `(batch, 1, 1,
    time)` a step.

    hidden_size: numbers in the decoder's output, and in the layer that weighs the tokens.
    tag_size: numbers in each tag's vector.
    cell: the decoder's recurrence.
    dropout: share of the encoder's output that is dropped while training.
    beam: how many beginnings of a sentence's tags the search keeps; with 1 the best tag is taken at
    each token.
    """

    def __init__(
        self,
        input_size: int,
        vocab: Vocab,
        *,
        hidden_size: Size = 128,
        tag_size: Size = 32,
        cell: CellPart = "lstm",
        dropout: Fraction = 0.5,
        beam: Size = 1,
    ) -> None:
        super().__init__(2 * input_size, vocab, hidden_size, tag_size, cell, dropout, beam)
        self.first_query = nn.Linear(input_size, hidden_size)
        self.attention = AdditiveAttention(hidden_size, input_size, hidden_size)

    def look(self, hidden: Tensor, lengths: Tensor) -> Sentences:
        """Return the vectors, the keys to them and the mask of padding, each `(batch, time, ...)`."""
        return hidden, self.attention.key(hidden), padding_mask(lengths, hidden.shape[1])

    def before_first(self, sentences: Sentences) -> Tensor:
        """Return the first query, which comes from h_1."""
        return self.first_query(sentences[0][:, 0]).tanh()

    def see(self, sentences: Sentences, h: Tensor, s: Tensor) -> Tensor:
        """Return h_t and c_t, joined."""
        hidden, keys, mask = sentences
        weights = self.attention(s.unsqueeze(1), keys, mask)
        self.record(weights=weights.unsqueeze(1))
        return torch.cat((h, (weights @ hidden)[:, 0]), dim=1)
