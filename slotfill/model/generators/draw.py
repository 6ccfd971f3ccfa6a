"""DRAW: a canvas for the complete sentence, refined in several steps, is then read as a sentence.

    e      = x - canvas                                        x: symbol vectors, by position
    r_k    = read(x, e, d_{k-1})                               N filters of each, at positions
    h_k    = cell([r_k, d_{k-1}], h_{k-1})                     the encoder
    z_k    ~ q(z_k | x) = N(posterior(h_k)),  p(z_k) = N(0, 1)
    d_k    = cell(z_k, d_{k-1})                                the decoder
    canvas = canvas + write(d_k)                               N vectors, at positions

    read(x, e, d)  = gamma [F x, F e]                          F, gamma from d
    write(d)       = F^T W(d) / gamma
    F_ia           = exp(-(a - mu_i)^2 / (2 sigma^2)), normalized over the positions a
    mu_i           = center + (i - (N - 1) / 2) stride,  i = 0 ... N - 1

The paper draws images, whose pixels are independent given the canvas. What is changed for
sentences: the canvas has a row for each symbol instead of a plane of pixels, so there is one axis
of filters; its rows have the size of symbol vectors; and symbols are not independent given the
canvas, which as words would not agree, but a recurrent language model reads row t of the canvas
with the symbol before:

    s_t = cell([x_{t-1}, canvas_t], s_{t-1})
    p(x_t | canvas, x_<t) = softmax of the symbols, from [s_t, canvas_t]

A canvas has a fixed number of rows; the symbols after them have rows of zeros.

Source: Gregor, Danihelka, Graves, Rezende & Wierstra 2015, "DRAW: A Recurrent Neural Network For
Image Generation", equations 3 to 8 and 19 to 29
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from slotfill.config.option_types import CellPart, Depth, Fraction, NonNegative, Size
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


class Draw(Generator):
    """Refine a canvas in several steps, each with a latent vector, and read a sentence from it.

    cell: the recurrent cell of encoder, decoder and language model.
    embedding_size: size of the vectors of symbols.
    hidden_size: hidden size of each of them.
    latent_size: size of z.
    steps: number of refinements.
    canvas_length: rows of the canvas.
    filters: filters for reading and for writing, N.
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
        steps: Depth = 8,
        canvas_length: Size = 32,
        filters: Depth = 5,
        free_nats: NonNegative = 1.0,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__(vocab, embedding_size, hidden_size + embedding_size, dropout)
        self.free_nats = free_nats
        self.latent_size = latent_size
        self.steps = steps
        self.canvas_shape = (canvas_length, embedding_size)
        self.hidden_size = hidden_size
        self.read_attention = _Filters(hidden_size, filters, canvas_length)
        self.write_attention = _Filters(hidden_size, filters, canvas_length)
        self.encoder = Recurrence(cell, 2 * filters * embedding_size + hidden_size, hidden_size)
        self.posterior = GaussianLayer(hidden_size, hidden_size, latent_size)
        self.decoder = Recurrence(cell, latent_size, hidden_size)
        self.write = nn.Linear(hidden_size, filters * embedding_size)
        self.reader = Recurrence(cell, 2 * embedding_size, hidden_size)

    def terms(self, symbols: Tensor, lengths: Tensor) -> Terms:
        batch, time = symbols.shape
        rows = self.canvas_shape[0]
        mask = padding_mask(lengths, rows).unsqueeze(2)
        x = self.embed(symbols)[:, :rows]
        x = pad(x, (0, 0, 0, rows - x.shape[1])) * mask
        canvas = torch.zeros_like(x)
        d = x.new_zeros(batch, self.hidden_size)
        encoder, decoder = self.encoder.initial_state(batch), self.decoder.initial_state(batch)
        posteriors, latents = [], []
        for _ in range(self.steps):
            filters, intensity = self.read_attention(d)
            both = torch.cat((x, (x - canvas) * mask), dim=2)
            glimpse = torch.bmm(filters, both).flatten(1) * intensity
            h, encoder = self.encoder.step(encoder, glimpse, d)
            posteriors.append(self.posterior(h))
            latents.append(posteriors[-1].sample())
            d, decoder = self.decoder.step(decoder, latents[-1])
            canvas = canvas + self._stroke(d)
        canvas = pad(canvas, (0, 0, 0, max(0, time - rows)))[:, :time]
        states = self.reader(torch.cat((self.embed_previous(symbols), canvas), dim=2))
        z = torch.stack(latents, dim=1)
        return Terms.with_latents(
            self.log_likelihood(torch.cat((states, canvas), dim=2), symbols),
            z,
            Gaussian.stack(posteriors),
            Gaussian.standard(z),
            torch.ones_like(z[..., 0], dtype=torch.bool),
        )

    def start(self, batch: int, random: torch.Generator) -> Memory:
        canvas = self.vectors.new_zeros(batch, *self.canvas_shape)
        state = self.decoder.initial_state(batch)
        prior = Gaussian.standard(self.vectors.new_zeros(batch, self.latent_size))
        for _ in range(self.steps):
            d, state = self.decoder.step(state, prior.sample(random))
            canvas = canvas + self._stroke(d)
        return canvas, self.reader.initial_state(batch)

    def next(
        self, previous: Tensor, memory: Memory, random: torch.Generator
    ) -> tuple[Tensor, Memory]:
        canvas, state = memory
        if canvas.shape[1] == 0:
            canvas = canvas.new_zeros(len(canvas), 1, canvas.shape[2])
        row, rest = canvas[:, 0], canvas[:, 1:]
        s, state = self.reader.step(state, self.vectors[previous], row)
        return torch.cat((s, row), dim=1), (rest, state)

    def _stroke(self, d: Tensor) -> Tensor:
        """Return what the decoder's output `(batch, hidden)` adds to the canvas."""
        filters, intensity = self.write_attention(d)
        vectors = self.write(d).unflatten(1, (filters.shape[1], -1))
        return torch.bmm(filters.transpose(1, 2), vectors) / intensity.unsqueeze(2)


class _Filters(nn.Module):
    """Gaussian filters over the rows of a canvas, equations 19 to 26 along one axis."""

    def __init__(self, input_size: int, filters: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.parameters_layer = nn.Linear(input_size, 4)
        self.register_buffer("offsets", torch.arange(filters) - (filters - 1) / 2, persistent=False)
        self.register_buffer("positions", torch.arange(rows), persistent=False)
        self.offsets: Tensor
        self.positions: Tensor

    def forward(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return F `(batch, filters, rows)` and gamma `(batch, 1)` for outputs `d`."""
        center, log_variance, log_stride, log_intensity = self.parameters_layer(d).split(1, dim=1)
        center = (self.rows - 1) / 2 * (center + 1)
        stride = (self.rows - 1) / max(len(self.offsets) - 1, 1) * log_stride.exp()
        means = (center + self.offsets * stride).unsqueeze(2)
        distances = (self.positions - means).square() / (2 * log_variance.exp().unsqueeze(2))
        return (-distances).softmax(dim=2), log_intensity.exp()
