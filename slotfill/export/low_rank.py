"""A network whose first recurrent layer reads fewer numbers of a token, chosen so that little of
what it reads is lost.

    W ~ A B, of rank r: C^(1/2) W = U S V', A = C^(-1/2) U_r, B = S_r V_r'

C is the second moment of the tokens' vectors as training has them. A depends on the token alone and
is computed once for each, so that a step of the layer multiplies r numbers where W had as many as
the embeddings give.

Source: Eckart & Young 1936, "The Approximation of One Matrix by Another of Lower Rank"
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from slotfill.data.batching import make_batch
from slotfill.data.vocab import Vocab
from slotfill.errors import UsageError
from slotfill.model.cells.base import Cell
from slotfill.model.encoders.base import Encoder
from slotfill.model.tagger import SlotTagger

_AT_ONCE = 1024


class Narrow(Encoder):
    """The product with A, before any encoder that sees neighbours."""

    is_context_free = True

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.output_size = weight.shape[1]

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, rank)` of `x` `(batch, time, input)`."""
        return x @ self.weight


@torch.no_grad()
def narrowed(model: SlotTagger, vocab: Vocab, rank: int) -> SlotTagger:
    """Return a copy of `model` that reads `rank` numbers of a token; raises UsageError where it
    cannot be.
    """
    model = copy.deepcopy(model).cpu().float().eval()
    for member in model.members:
        place = len(member.context_free_encoders)
        encoder = member.encoders[place] if place < len(member.encoders) else None
        cell = getattr(encoder, "layers", [None])[0]
        if not isinstance(cell, Cell) or type(cell).project is not Cell.project:
            raise UsageError(
                "--rank: the first encoder is not recurrent, or its cell reads in a way of its own"
            )
        size = cell.input_weight.shape[1]
        if rank >= size:
            raise UsageError(
                f"--rank {rank}: the first recurrent layer reads no more than {size} numbers of a"
                " token"
            )
        moment = _moment(member, vocab)
        values, vectors = torch.linalg.eigh(moment)
        # What no token has does not count, and is not to be divided by.
        root = values.clamp_min(1e-6 * float(values.max())).sqrt()
        directions = cell.input_weight.shape[0]
        whole = torch.cat([*cell.input_weight.double()], dim=1)
        u, s, v = torch.linalg.svd((vectors * root) @ vectors.T @ whole, full_matrices=False)
        before = (vectors / root) @ vectors.T @ u[:, :rank]
        after = (s[:rank, None] * v[:rank]).chunk(directions, dim=1)
        cell.input_weight = nn.Parameter(torch.stack(after).float())
        member.encoders.insert(place, Narrow(before.float()))
    return model


def _moment(member: SlotTagger, vocab: Vocab) -> Tensor:
    """Return the mean of x x' over the tokens of training, `(size, size)`, x what the first
    recurrent layer reads.
    """
    total: Tensor | float = 0.0
    words = list(vocab.tokens)
    for start in range(0, len(words), _AT_ONCE):
        some = words[start : start + _AT_ONCE]
        counts = torch.tensor([vocab.tokens[word] for word in some], dtype=torch.float64)
        features, _ = member.to_device(make_batch([some], member.indexers))
        x = member.encode_tokens(features)[0].double()
        total = total + (x * counts.unsqueeze(1)).T @ x
    return cast(Tensor, total) / sum(vocab.tokens.values())
