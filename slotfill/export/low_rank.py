"""Low-rank factorization of the first recurrent layer's input weights.

    W ~ A B, of rank r: C^(1/2) W = U S V', A = C^(-1/2) U_r, B = S_r V_r'

C is the second moment of the training tokens' vectors. A depends on each token on its own and is
applied once per distinct token, so that a step multiplies r inputs instead of the embedding size.

Source: Eckart & Young 1936, "The Approximation of One Matrix by Another of Lower Rank"
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.errors import UsageError
from slotfill.model.cells.base import Cell
from slotfill.model.encoders.base import Encoder
from slotfill.model.ensemble import Model
from slotfill.model.network import Network, to_device

_CHUNK = 1024
"""Tokens embedded at once."""


class LowRankProjection(Encoder):
    """The product with A, ahead of all encoders that use context."""

    is_context_free = True

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.output_size = weight.shape[1]

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, rank)` of `x` `(batch, time, input)`."""
        return x @ self.weight


@torch.no_grad()
def reduce_input_rank(model: Model, vocab: Vocab, rank: int) -> Model:
    """Return a copy of `model` whose first recurrent layer has input weights of rank `rank`.

    Raises UsageError if the first encoder is not recurrent, or its input size is not above `rank`.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    for member in model.members:
        index = len(member.context_free_encoders)
        encoder = member.encoders[index] if index < len(member.encoders) else None
        cell = getattr(encoder, "layers", [None])[0]
        if not isinstance(cell, Cell) or type(cell).project is not Cell.project:
            raise UsageError(
                "--rank: the first encoder is not recurrent or has a custom input projection"
            )
        directions, size, _ = cell.input_weight.shape
        if rank >= size:
            raise UsageError(
                f"--rank {rank}: must be below the input size of the first recurrent layer, {size}"
            )
        values, vectors = torch.linalg.eigh(_second_moment(member, vocab))
        # Clamp tiny eigenvalues before inverting.
        root = values.clamp_min(1e-6 * float(values.max())).sqrt()
        weight = torch.cat([*cell.input_weight.double()], dim=1)
        u, s, v = torch.linalg.svd((vectors * root) @ vectors.T @ weight, full_matrices=False)
        a = (vectors / root) @ vectors.T @ u[:, :rank]
        b = (s[:rank, None] * v[:rank]).chunk(directions, dim=1)
        cell.input_weight = nn.Parameter(torch.stack(b).float())
        member.encoders.insert(index, LowRankProjection(a.float()))
    return model


def _second_moment(member: Network, vocab: Vocab) -> Tensor:
    """Return the mean of x x' over the training tokens, `(input, input)`, x the layer's input."""
    moment: Any = 0.0
    words = list(vocab.tokens)
    for start in range(0, len(words), _CHUNK):
        chunk = words[start : start + _CHUNK]
        counts = torch.tensor([vocab.tokens[word] for word in chunk], dtype=torch.float64)
        batch = to_device(make_batch([chunk], member.indexers), member)
        x = member.encode_tokens(batch.features)[0].double()
        moment += (x * counts.unsqueeze(1)).T @ x / sum(vocab.tokens.values())
    return moment
