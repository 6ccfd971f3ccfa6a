"""Layers that several parts use: padding masks, dropout and additive attention."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MAX_ELEMENTS = 2**25
"""Largest number of elements of `(batch, query, time, size)` that attention holds at a time."""


def padding_mask(lengths: Tensor, time: int) -> Tensor:
    """Return `(batch, time)`: True at tokens, False at padding."""
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis of `scores`, exactly 0 where `mask` is False."""
    # Not minus infinity, which would give NaN for a sentence without tokens.
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)


def attend(projected: Tensor, heads: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return what attention heads read, and their weights `(batch, head, query, key)`.

    `projected` has the queries, keys and values of all heads, `(batch, time, 3 * heads * size)`;
    what they read is `(batch, time, heads * size)`. Keys where `mask` is False have weight 0.
    """
    q, k, v = projected.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    # Not torch's scaled_dot_product_attention, which does not return the weights.
    weights = masked_softmax(q.shape[3] ** -0.5 * q @ k.transpose(2, 3), mask[:, None, None])
    return (weights @ v).transpose(1, 2).flatten(2), weights


class LookupTable(nn.Embedding):
    """Vectors that are only looked up, so that training need not change the others in a step."""


class LockedDropout(nn.Module):
    """Drop the same dimensions at all tokens of a sentence, others in each sentence.

    It suits recurrence, and draws few random numbers, which on a CPU cost more than a product.

    Source: Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent
    Neural Networks"
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` `(batch, time, size)` with dimensions dropped and the others scaled up."""
        if not self.training or self.rate == 0:
            return x
        # A comparison takes a third of the time of torch's own dropout.
        mask = torch.rand(len(x), 1, x.shape[2], dtype=x.dtype, device=x.device) >= self.rate
        return x * (mask / (1 - self.rate)).to(x.dtype)


class AdditiveAttention(nn.Module):
    """The attention weights of queries over a sentence; `size` is that of the hidden layer.

        e_ij = v . tanh(q_i W + h_j U)
        c_i  = sum_j softmax_j(e_ij) h_j

    Source: Bahdanau, Cho & Bengio 2015, "Neural Machine Translation by Jointly Learning to Align
    and Translate"
    """

    def __init__(self, query_size: int, value_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(value_size, size, bias=False)
        self.score = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return the weights `(batch, query, time)`, which sum to 1 and are 0 at padding.

        `queries` is `(batch, query, query_size)`, and `keys` what `self.key` returns for the
        sentence, `(batch, time, size)`.
        """
        queries = self.query(queries)
        chunk = max(1, MAX_ELEMENTS // keys.numel())
        if queries.shape[1] <= chunk:
            return self._weights(queries, keys, mask)
        # A long sentence: some queries at a time, and again for the gradient, to bound memory.
        weights = [
            checkpoint(self._weights, part, keys, mask, use_reentrant=False)
            for part in queries.split(chunk, dim=1)
        ]
        return torch.cat(weights, dim=1)

    def _weights(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        scores = (queries.unsqueeze(2) + keys.unsqueeze(1)).tanh_() @ self.score
        return masked_softmax(scores, mask.unsqueeze(1))
