"""Additive attention: how well a query and a vector of the sentence go together, by a small
network.

    e_ij = v . tanh(q_i W + h_j U)
    c_i  = sum_j softmax_j(e_ij) h_j

Source: Bahdanau, Cho & Bengio 2015, "Neural Machine Translation by Jointly Learning to Align and
Translate"
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

AT_ONCE = 2**25
"""How many numbers of `(batch, query, time, size)` are held at a time."""


class AdditiveAttention(nn.Module):
    """Weigh the vectors of a sentence by their fit to a query; `size` numbers in between."""

    def __init__(self, query_size: int, value_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(value_size, size, bias=False)
        self.score = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return the weights `(batch, query, time)`: they add up to 1, and are 0 at padding.

        `queries` are `(batch, query, query_size)`, `keys` what `key` makes of the sentence,
        `(batch, time, size)`, `mask` `(batch, time)`.
        """
        queries = self.query(queries)
        rows = max(1, AT_ONCE // keys.numel())
        if queries.shape[1] <= rows:
            return self._weights(queries, keys, mask)
        # A long sentence: some queries at a time, and again for the gradient, so that nothing is
        # held till then.
        parts = queries.split(rows, dim=1)
        return torch.cat(
            [checkpoint(self._weights, part, keys, mask, use_reentrant=False) for part in parts],
            dim=1,
        )

    def _weights(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        scores = (queries.unsqueeze(2) + keys.unsqueeze(1)).tanh_() @ self.score
        return masked_softmax(scores, mask.unsqueeze(1))


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis of `scores`, exactly 0 where `mask` is False."""
    # Not minus infinity, which would make no numbers of a sentence without tokens.
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
