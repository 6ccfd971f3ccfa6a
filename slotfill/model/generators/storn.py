"""Stochastic recurrent network: each step of a language model sees independent noise.

    p(z_t)               = N(0, 1)
    h_t                  = cell([x_{t-1}, z_t], h_{t-1})
    p(x_t | z_<=t, x_<t) = softmax of the symbols, from h_t
    q(z_t | x_<=t)       = N(posterior(r_t)),  r_t = cell(x_t, r_{t-1})    the recognition network

The posterior has one hidden layer. The prior does not depend on the past, in contrast to that of
`vrnn`.

Source: Bayer & Osendorfer 2015, "Learning Stochastic Recurrent Networks"
"""

from __future__ import annotations

import torch
from torch import Tensor

from slotfill.config.option_types import CellPart, Fraction, NonNegative, Size
from slotfill.data.vocab import Vocab
from slotfill.model.generators.base import (
    Gaussian,
    GaussianLayer,
    Generator,
    Memory,
    Recurrence,
    Terms,
)
from slotfill.model.layers import padding_mask


class STORN(Generator):
    """Predict each symbol from those before it and from noise that a second network recognizes.

    cell: the recurrent cell of both networks.
    embedding_size: size of the vectors of symbols.
    hidden_size: hidden size of each network.
    latent_size: size of z.
    free_nats: KL of each latent vector that is not in the loss, in nats.
    dropout: dropout rate of the vectors of symbols, and of the states that predict them.
    """

    def __init__(
        self,
        vocab: Vocab,
        *,
        cell: CellPart = "lstm",
        embedding_size: Size = 100,
        hidden_size: Size = 128,
        latent_size: Size = 16,
        free_nats: NonNegative = 0.5,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__(vocab, embedding_size, hidden_size, dropout)
        self.free_nats = free_nats
        self.latent_size = latent_size
        self.recurrence = Recurrence(cell, embedding_size + latent_size, hidden_size)
        self.recognition = Recurrence(cell, embedding_size, hidden_size)
        self.posterior = GaussianLayer(hidden_size, hidden_size, latent_size)

    def terms(self, symbols: Tensor, lengths: Tensor) -> Terms:
        posterior = self.posterior(self.recognition(self.embed(symbols)))
        z = posterior.sample()
        states = self.recurrence(torch.cat((self.embed_previous(symbols), z), dim=2))
        return Terms.with_latents(
            self.log_likelihood(states, symbols),
            z,
            posterior,
            Gaussian.standard(z),
            padding_mask(lengths, symbols.shape[1]),
        )

    def start(self, batch: int, random: torch.Generator) -> Memory:
        return self.recurrence.initial_state(batch)

    def next(
        self, previous: Tensor, memory: Memory, random: torch.Generator
    ) -> tuple[Tensor, Memory]:
        zeros = self.vectors.new_zeros(len(previous), self.latent_size)
        z = Gaussian.standard(zeros).sample(random)
        return self.recurrence.step(memory, self.vectors[previous], z)
