"""Transformer encoder, trained from scratch: layers of self-attention and feed-forward networks.

    x^0_t = sqrt(hidden_size) (x_t W + b) + p_t         p_t is the position (section 3.4)
    norm: post, as published                            norm: pre
    a   = LayerNorm(x^l + MultiHead(x^l))               a = x^l + MultiHead(LayerNorm(x^l))
    x^{l+1} = LayerNorm(a + F(a))                       x^{l+1} = a + F(LayerNorm(a))
                                                        output = LayerNorm(x^L)
    F(a) = relu(a W_1 + b_1) W_2 + b_2                                        (section 3.3)
    MultiHead(x) = [head_1 ; head_2 ; ...] W_o                                (section 3.2.2)
    head = softmax_j(q_i . k_j / sqrt(head_size)) v_j, summed over j          (section 3.2.1)
    p_{t,2i}, p_{t,2i+1} = sin, cos(t / 10000^(2i / hidden_size))             (section 3.5)
                    or learned vectors, of which the last stands for all tokens after it

Each token sees the complete sentence. Pretrained Transformers are embeddings: `embedding: {name:
transformer, path: FOLDER}`; this one learns from the labelled sentences alone.

Source: Vaswani et al. 2017, "Attention Is All You Need"; norm: pre: Xiong et al. 2020, "On Layer
Normalization in the Transformer Architecture"
"""

from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Depth, Fraction, Size
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout, attend, padding_mask

MAX_LEARNED = 512
"""Number of learned positions."""


class Transformer(Encoder):
    """Layers of self-attention, each with a feed-forward network; records `weights`.

    The attention weights of each layer are `(batch, heads, time, time)`, from queries to keys.

    hidden_size: size of the vectors between layers.
    layers: number of layers.
    heads: number of attention heads in each layer.
    head_size: size of each head.
    feedforward_size: size of the hidden layer of the feed-forward networks.
    positions: sinusoidal functions or learned vectors, added to the input; or none.
    norm: normalize the input of each sublayer (pre), or its output with the residual (post).
    dropout: dropout rate of the input and of the output of each sublayer.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: Size = 128,
        layers: Depth = 2,
        heads: Size = 4,
        head_size: Size = 32,
        feedforward_size: Size = 256,
        positions: Literal["sinusoidal", "learned", "none"] = "sinusoidal",
        norm: Literal["pre", "post"] = "pre",
        dropout: Fraction = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.positions = positions
        self.input = nn.Linear(input_size, hidden_size)
        self.dropout = LockedDropout(dropout)
        if positions == "learned":
            self.position_vectors = nn.Parameter(0.02 * torch.randn(MAX_LEARNED, hidden_size))
        sizes = (hidden_size, heads, head_size, feedforward_size)
        self.layers = nn.ModuleList(_Layer(*sizes, norm, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden_size) if norm == "pre" else None

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, hidden)`, zero at padding, which has no attention weight."""
        mask = padding_mask(lengths, x.shape[1])
        # Otherwise the vectors of words are small beside those of positions.
        x = self.output_size**0.5 * self.input(x)
        if self.positions != "none":
            x = x + self._position_vectors(torch.arange(x.shape[1], device=x.device), x)
        x = self.dropout(x)
        for number, layer in enumerate(self.layers, start=1):
            x, weights = layer(x, mask)
            self.record(**{f"layer {number} weights": weights})
        if self.norm is not None:
            x = self.norm(x)
        return x * mask.unsqueeze(2)

    def _position_vectors(self, positions: Tensor, x: Tensor) -> Tensor:
        """Return the vectors `(time, hidden)` of `positions`, of the dtype of `x`."""
        if self.positions == "learned":
            return self.position_vectors[positions.clamp(max=MAX_LEARNED - 1)]
        units = torch.arange(self.output_size, dtype=x.dtype, device=x.device)
        is_odd = units % 2
        rates = 10000.0 ** ((is_odd - units) / self.output_size)
        # The cosine is a sine a quarter of a period earlier.
        return (positions.unsqueeze(1).to(x.dtype) * rates + is_odd * (torch.pi / 2)).sin()


_UNCHANGED = (nn.Identity(), nn.Identity())


class _Layer(nn.Module):
    """Self-attention and a feed-forward network, each with its normalization."""

    def __init__(
        self,
        size: int,
        heads: int,
        head_size: int,
        feedforward_size: int,
        norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.is_pre_norm = norm == "pre"
        self.projections = nn.Linear(size, 3 * heads * head_size, bias=False)
        self.join = nn.Linear(heads * head_size, size, bias=False)
        self.expand = nn.Linear(size, feedforward_size)
        self.reduce = nn.Linear(feedforward_size, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.dropout = LockedDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output `(batch, time, size)` and the attention weights."""
        before, after = (self.norms, _UNCHANGED) if self.is_pre_norm else (_UNCHANGED, self.norms)
        heads, weights = attend(self.projections(before[0](x)), self.heads, mask)
        x = after[0](x + self.dropout(self.join(heads)))
        hidden = self.expand(before[1](x)).relu()
        return after[1](x + self.dropout(self.reduce(hidden))), weights
