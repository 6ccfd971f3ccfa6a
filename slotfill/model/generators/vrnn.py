"""Variational recurrent network: each symbol has a latent vector that depends on the past.

    p(z_t | x_<t, z_<t)   = N(prior(h_{t-1}))                                       eq. 5
    p(x_t | z_<=t, x_<t)  = softmax of the symbols, from [f_z(z_t), h_{t-1}]        eq. 6
    h_t                   = cell([f_x(x_t), f_z(z_t)], h_{t-1})                     eq. 7
    q(z_t | x_<=t, z_<t)  = N(posterior([f_x(x_t), h_{t-1}]))                       eq. 9

f_x and f_z are layers with tanh, prior and posterior have one hidden layer.

Source: Chung et al. 2015, "A Recurrent Latent Variable Model for Sequential Data"
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


class VRNN(Generator):
    """Sample a latent vector at each symbol from what came before, and then the symbol.

    cell: the recurrent cell.
    embedding_size: size of the vectors of symbols.
    hidden_size: hidden size of the cell and of the layers.
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
        super().__init__(vocab, embedding_size, 2 * hidden_size, dropout)
        self.free_nats = free_nats
        self.symbol_layer = nn.Linear(embedding_size, hidden_size)
        self.latent_layer = nn.Linear(latent_size, hidden_size)
        self.prior = GaussianLayer(hidden_size, hidden_size, latent_size)
        self.posterior = GaussianLayer(2 * hidden_size, hidden_size, latent_size)
        self.recurrence = Recurrence(cell, 2 * hidden_size, hidden_size)
        self.hidden_size = hidden_size

    def terms(self, symbols: Tensor, lengths: Tensor) -> Terms:
        inputs = self.symbol_layer(self.embed(symbols)).tanh()
        state = self.recurrence.initial_state(len(symbols))
        h = inputs.new_zeros(len(symbols), self.hidden_size)
        posteriors, priors, latents, states = [], [], [], []
        for x in inputs.unbind(1):
            posteriors.append(self.posterior(x, h))
            priors.append(self.prior(h))
            latents.append(posteriors[-1].sample())
            z = self.latent_layer(latents[-1]).tanh()
            states.append(torch.cat((z, h), dim=1))
            h, state = self.recurrence.step(state, x, z)
        return Terms.with_latents(
            self.log_likelihood(torch.stack(states, dim=1), symbols),
            torch.stack(latents, dim=1),
            Gaussian.stack(posteriors),
            Gaussian.stack(priors),
            padding_mask(lengths, symbols.shape[1]),
        )

    def start(self, batch: int, random: torch.Generator) -> Memory:
        h = self.vectors.new_zeros(batch, self.hidden_size)
        return h, None, self.recurrence.initial_state(batch)

    def next(
        self, previous: Tensor, memory: Memory, random: torch.Generator
    ) -> tuple[Tensor, Memory]:
        h, z, state = memory
        if z is not None:  # None before the first symbol.
            x = self.symbol_layer(self.vectors[previous]).tanh()
            h, state = self.recurrence.step(state, x, z)
        z = self.latent_layer(self.prior(h).sample(random)).tanh()
        return torch.cat((z, h), dim=1), (h, z, state)
