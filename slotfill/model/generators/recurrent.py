"""Recurrent language model: the state after each symbol predicts the next one.

    h_t = cell(x_{t-1}, h_{t-1})
    p(x_t | x_1 ... x_{t-1}) = softmax(V (h_t W + b) + c)       V: the vectors of the symbols

Source: Mikolov, Karafiát, Burget, Cernocký & Khudanpur 2010, "Recurrent neural network based
language model"; of labelled sentences: Ding et al. 2020, "DAGA: Data Augmentation with a Generation
Approach for Low-resource Tagging Tasks"
"""

from __future__ import annotations

import torch
from torch import Tensor

from slotfill.config.option_types import CellPart, Fraction, Size
from slotfill.data.vocab import Vocab
from slotfill.model.generators.base import Generator, Memory, Recurrence, Terms


class Recurrent(Generator):
    """Predict each symbol from those before it, without latent vectors.

    cell: the recurrent cell.
    embedding_size: size of the vectors of symbols.
    hidden_size: hidden size of the cell.
    dropout: dropout rate of the vectors of symbols, and of the states that predict them.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        cell: CellPart = "lstm",
        embedding_size: Size = 100,
        hidden_size: Size = 128,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__(vocab, embedding_size, hidden_size, dropout)
        self.recurrence = Recurrence(cell, embedding_size, hidden_size)

    def terms(self, symbols: Tensor, lengths: Tensor) -> Terms:
        states = self.recurrence(self.embed_previous(symbols))
        return Terms.without_latents(self.log_likelihood(states, symbols))

    def start(self, batch: int, random: torch.Generator) -> Memory:
        return self.recurrence.initial_state(batch)

    def next(
        self, previous: Tensor, memory: Memory, random: torch.Generator
    ) -> tuple[Tensor, Memory]:
        return self.recurrence.step(memory, self.vectors[previous])
