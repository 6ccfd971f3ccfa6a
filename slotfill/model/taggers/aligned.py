"""Encoder-decoder with attention and aligned inputs.

    e_tj = v . tanh(s_{t-1} W + h_j U)
    c_t  = sum_j softmax_j(e_tj) h_j
    s_t  = cell([tag_vector(y_{t-1}) ; h_t ; c_t], s_{t-1})
    P(y_t | y_1 ... y_{t-1}) = softmax(s_t V + b)

The first query is s_0 = tanh(h_1 W_0 + b_0): h_1 contains the backward encoder's last state, from
which the paper computes s_0. The cell itself starts from its own initial state. y_{t-1} is the gold
tag in training and the predicted tag in prediction; the first step has a learned vector instead.

Source: Liu & Lane 2016, "Attention-Based Recurrent Neural Network Models for Joint Intent Detection
and Slot Filling", section 3.1; the score: Bahdanau, Cho & Bengio 2015

Export: Exported only with beam: 1.
"""

import torch
from torch import Tensor, nn

from slotfill.config.option_types import BeamSize, CellPart, Fraction, Size
from slotfill.data.vocab import Vocab
from slotfill.model.layers import AdditiveAttention, padding_mask
from slotfill.model.taggers._decoder import Decoder, EncoderMemory


class Aligned(Decoder):
    """A decoder whose context is the state of its own token and an attention-weighted sum of all.

    Records the attention `weights` `(batch, 1, 1, time)` of each step.

    hidden_size: size of the decoder's state and of the attention's hidden layer.
    tag_size: dimension of the tag embeddings.
    cell: the decoder's recurrent cell.
    dropout: dropout rate on the encoder's output.
    beam: hypotheses in the beam search; 1 decodes greedily.
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
        beam: BeamSize = 1,
    ) -> None:
        super().__init__(2 * input_size, vocab, hidden_size, tag_size, cell, dropout, beam)
        self.first_query = nn.Linear(input_size, hidden_size)
        self.attention = AdditiveAttention(hidden_size, input_size, hidden_size)

    def prepare_memory(self, hidden: Tensor, lengths: Tensor) -> EncoderMemory:
        """Return the states, their keys and the padding mask, each `(batch, time, ...)`."""
        return hidden, self.attention.key(hidden), padding_mask(lengths, hidden.shape[1])

    def initial_output(self, memory: EncoderMemory) -> Tensor:
        """Return the first query, computed from h_1."""
        return self.first_query(memory[0][:, 0]).tanh()

    def decoder_input(self, memory: EncoderMemory, h: Tensor, s: Tensor) -> Tensor:
        """Return h_t and c_t, concatenated."""
        hidden, keys, mask = memory
        weights = self.attention(s.unsqueeze(1), keys, mask)
        self.record(weights=weights.unsqueeze(1))
        return torch.cat((h, (weights @ hidden)[:, 0]), dim=1)
