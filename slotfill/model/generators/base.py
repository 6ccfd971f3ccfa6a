"""Base class of generators: language models of labelled sentences, which are sampled from.

A sentence is a sequence of symbols x_1 ... x_T, see `data.linearization`, the last one END. A
generator with latent vectors z is trained on the evidence lower bound (ELBO), of which one sample
of z is drawn:

    log p(x) >= E_q(z|x) [log p(x | z)] - KL(q(z | x) || p(z)) = ELBO
    loss = - log p(x | z) + max(KL, free_nats * number of latent vectors)

The means over the batch are compared. So z may carry `free_nats` nats each at no cost, and there is
nothing to gain from ignoring z, to which training otherwise tends.

Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes"; free bits: Kingma et al. 2016,
"Improved Variational Inference with Inverse Autoregressive Flow", section C.8
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from slotfill.config.registry import CELLS
from slotfill.data.batching import Batch
from slotfill.data.linearization import END, PADDING, UNKNOWN, Linearization
from slotfill.data.sentence import Sentence
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError
from slotfill.model.cells.base import Cell, State
from slotfill.model.layers import LockedDropout
from slotfill.model.recurrence import run_cell

if TYPE_CHECKING:
    from slotfill.model.network import Network

UNKNOWN_RATE = 0.1
"""How often a token that occurs once is learned as an unknown one."""

MAX_SYMBOLS = 200
"""Of a sampled sentence; longer ones are malformed."""

SAMPLE_SIZE = 128
"""Sentences that are sampled at a time, so that more of them begin with the same ones."""

Memory = Any
"""What a generator remembers from symbol to symbol while it samples."""


class Gaussian(NamedTuple):
    """Independent normal distributions."""

    mean: Tensor
    log_deviation: Tensor

    def sample(self, random: torch.Generator | None = None) -> Tensor:
        """Return a sample; `random` is the source of random numbers, torch's own by default."""
        noise = torch.empty_like(self.mean).normal_(generator=random)
        return torch.addcmul(self.mean, self.log_deviation.exp(), noise)

    def log_density(self, z: Tensor) -> Tensor:
        """Return the log density of `z` but for a constant, summed over the last axis."""
        distance = (z - self.mean) / self.log_deviation.exp()
        return -(0.5 * distance.square() + self.log_deviation).sum(-1)

    def divergence(self, prior: Gaussian) -> Tensor:
        """Return KL(self || prior), summed over the last axis."""
        m = (self.mean - prior.mean) / prior.log_deviation.exp()
        log_s = self.log_deviation - prior.log_deviation
        return (0.5 * ((2 * log_s).exp() + m.square() - 1) - log_s).sum(-1)

    @classmethod
    def standard(cls, like: Tensor) -> Gaussian:
        """Return N(0, 1) for each number of `like`."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    @classmethod
    def stack(cls, steps: Sequence[Gaussian]) -> Gaussian:
        """Return the distributions of several steps, stacked along axis 1."""
        means, deviations = zip(*steps, strict=True)
        return cls(torch.stack(means, dim=1), torch.stack(deviations, dim=1))


class Terms(NamedTuple):
    """What the likelihood of each sentence is computed from, each `(batch,)`, in nats."""

    log_likelihood: Tensor
    """log p(x | z) of the sampled z; log p(x) without latent vectors."""
    kl: Tensor
    """KL(q || p), in closed form for each latent vector; 0 without them."""
    log_ratio: Tensor
    """log q(z | x) - log p(z) of the sampled z, whose expectation is the KL."""
    latents: Tensor
    """The number of latent vectors."""

    @classmethod
    def without_latents(cls, log_likelihood: Tensor) -> Terms:
        """Return the terms of a generator that has no latent vectors."""
        zeros = torch.zeros_like(log_likelihood)
        return cls(log_likelihood, zeros, zeros, zeros)

    @classmethod
    def with_latents(
        cls, log_likelihood: Tensor, z: Tensor, posterior: Gaussian, prior: Gaussian, mask: Tensor
    ) -> Terms:
        """Return the terms of latent vectors `z` `(batch, latents, size)` that are in `mask`."""
        kl = posterior.divergence(prior) * mask
        log_ratio = (posterior.log_density(z) - prior.log_density(z)) * mask
        return cls(log_likelihood, kl.sum(1), log_ratio.sum(1), mask.to(kl).sum(1))


class GaussianLayer(nn.Module):
    """A normal distribution by a hidden layer: phi of Chung et al. 2015."""

    def __init__(self, input_size: int, hidden_size: int, latent_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(input_size, hidden_size)
        self.output = nn.Linear(hidden_size, 2 * latent_size)

    def forward(self, *inputs: Tensor) -> Gaussian:
        """Return the distribution given `inputs`, which are concatenated along the last axis."""
        hidden = self.hidden(torch.cat(inputs, dim=-1)).tanh()
        mean, log_deviation = self.output(hidden).chunk(2, dim=-1)
        return Gaussian(mean, log_deviation.clamp(-7, 7))


class Generator(nn.Module):
    """A language model of linearised sentences; a subclass says how x depends on z and the past.

    The output layer has the symbol vectors as its weights (Press & Wolf 2017).
    """

    free_nats = 0.0
    """The KL, in nats for each latent vector, that is not in the loss."""

    def __init__(self, vocab: Vocab, embedding_size: int, output_size: int, dropout: float) -> None:
        """`output_size` is that of the states from which `logits` computes the next symbol."""
        super().__init__()
        self.linearization = Linearization(vocab)
        self.indexers = [self.linearization.indexer]
        size = self.linearization.size
        self.vectors = nn.Parameter(torch.empty(size, embedding_size).normal_(std=0.1))
        """`(symbols, embedding)`; END is also the symbol before the first."""
        self.projection = nn.Linear(output_size, embedding_size)
        self.bias = nn.Parameter(torch.zeros(size))
        self.dropout = LockedDropout(dropout)
        once = torch.from_numpy(self.linearization.counts == 1)
        self.register_buffer("occurs_once", once, persistent=False)
        self.occurs_once: Tensor
        self.regularization_loss = torch.zeros(())
        """The KL of the last batch of `loss`, in nats a sentence."""

    @property
    def members(self) -> list[Network]:
        """No taggers, of which an ensemble may have several."""
        return []

    def terms(self, symbols: Tensor, lengths: Tensor) -> Terms:
        """Return the terms of sentences `(batch, time)` of `lengths`, with sampled latents."""
        raise NotImplementedError

    def start(self, batch: int, random: torch.Generator) -> Memory:
        """Return what `next` needs to sample the first symbols of `batch` sentences."""
        raise NotImplementedError

    def next(
        self, previous: Tensor, memory: Memory, random: torch.Generator
    ) -> tuple[Tensor, Memory]:
        """Return the states `(batch, output_size)` of the next symbols, and what it needs then.

        `previous` are the last symbols `(batch,)`, at first END.
        """
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a labelled batch, a mean over its sentences."""
        symbols, lengths = self.encode(batch)
        if self.training:
            drawn = torch.rand(symbols.shape, device=symbols.device) < UNKNOWN_RATE
            symbols = symbols.masked_fill(drawn & self.occurs_once[symbols], UNKNOWN)
        terms = self.terms(symbols, lengths)
        kl = self.regularization_loss = terms.kl.mean()
        likelihoods = terms.log_likelihood
        if batch.weights is not None:
            likelihoods = likelihoods * torch.from_numpy(batch.weights).to(likelihoods)
        return kl.maximum(self.free_nats * terms.latents.mean()) - likelihoods.mean()

    @torch.inference_mode()
    def measure(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ELBO, the KL and the number of symbols of each sentence, `(batch,)` each.

        The samples of latents are the same in each call.
        """
        symbols, lengths = self.encode(batch)
        with torch.random.fork_rng([symbols.device] if symbols.is_cuda else []):
            torch.manual_seed(0)
            terms = self.terms(symbols, lengths)
        elbo, kl = terms.log_likelihood - terms.kl, terms.kl
        return elbo.double().cpu().numpy(), kl.double().cpu().numpy(), lengths.cpu().numpy()

    @torch.inference_mode()
    def sample(self, seed: int) -> Iterator[Sentence | None]:
        """Yield sampled sentences without end; None for each that is malformed.

        Unknown symbols are not sampled.
        """
        device = self.vectors.device
        random = torch.Generator(device).manual_seed(seed)
        while True:
            memory = self.start(SAMPLE_SIZE, random)
            previous = torch.full((SAMPLE_SIZE,), END, device=device)
            done = torch.zeros(SAMPLE_SIZE, dtype=torch.bool, device=device)
            columns = list[Tensor]()
            while len(columns) < MAX_SYMBOLS and not done.all():
                states, memory = self.next(previous, memory, random)
                logits = self.logits(states)
                logits[:, [PADDING, UNKNOWN]] = -torch.inf
                previous = torch.multinomial(logits.softmax(1), 1, generator=random).squeeze(1)
                columns.append(previous)
                done |= previous == END
            for row in torch.stack(columns, dim=1).tolist():
                end = row.index(END) + 1 if END in row else len(row)
                yield self.linearization.decode(row[:end])

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the symbols `(batch, time)` of a labelled batch and their number `(batch,)`."""
        symbols, lengths = self.linearization.encode(batch)
        device = self.vectors.device
        return torch.from_numpy(symbols).to(device), torch.from_numpy(lengths).to(device)

    def embed(self, symbols: Tensor) -> Tensor:
        """Return the vectors of symbols `(batch, time)`, with dropout in training."""
        return self.dropout(self.vectors[symbols])

    def embed_previous(self, symbols: Tensor) -> Tensor:
        """Return the vectors of the symbol before each of `symbols`, at first of END."""
        return self.embed(torch.cat((torch.full_like(symbols[:, :1], END), symbols[:, :-1]), dim=1))

    def logits(self, states: Tensor) -> Tensor:
        """Return the scores `(..., symbols)` of the symbols after `states` `(..., output_size)`."""
        return linear(self.projection(states), self.vectors, self.bias)

    def log_likelihood(self, states: Tensor, symbols: Tensor) -> Tensor:
        """Return the log-likelihood `(batch,)` of symbols given their states."""
        logits = self.logits(self.dropout(states)).transpose(1, 2)
        losses = cross_entropy(logits, symbols, ignore_index=PADDING, reduction="none")
        return -losses.sum(dim=1)


class Recurrence(nn.Module):
    """A cell of one direction over tensors whose first axis is the batch.

    Raises ConfigError if the cell has a loss of its own.
    """

    def __init__(self, cell: str | Mapping[str, Any], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell: Cell = CELLS.build(cell, input_size, hidden_size, 1)
        self.input_size = input_size
        if self.cell.has_kl_term:
            raise ConfigError("has a loss of its own, which only taggers add to theirs", key="cell")

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs `(batch, time, hidden)` for inputs `(batch, time, input)`."""
        return run_cell(self.cell, x.transpose(0, 1).unsqueeze(0))[0][0].transpose(0, 1)

    def step(self, state: State, *inputs: Tensor) -> tuple[Tensor, State]:
        """Return the output `(batch, hidden)` of a step, and the next state.

        The `inputs` `(batch, size)` are concatenated along the last axis.
        """
        x = torch.cat(inputs, dim=1).unsqueeze(0)
        output, state = self.cell.step(self.cell.project(x), state)
        return output[0], state

    def initial_state(self, batch: int) -> State:
        """Return the state of `batch` sentences before the first step."""
        zeros = self.cell.bias.new_zeros(1, batch, self.input_size)
        return self.cell.initial_state(self.cell.project(zeros))
