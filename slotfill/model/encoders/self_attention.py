"""Multi-head self-attention: several weighted sums of the sentence at each token, added to its
vector.

    a    = softmax_j(q_i . k_j / sqrt(head_size)) in each head, with q = x W_q, k = x W_k
    head = sum_j a_ij v_j, with v = x W_v
    output = LayerNorm(x + Dropout([head_1 ; head_2 ; ...] W_o))

Source: Vaswani et al. 2017, "Attention Is All You Need", sections 3.1 and 3.2

It knows no order: a sentence's words in another order give the same vectors in that order. So it
follows an encoder that does know, as in `encoder: [recurrent, self_attention]`.
"""

from __future__ import annotations

from torch import Tensor, nn

from slotfill.config.option_types import Fraction, Size
from slotfill.model.attention import masked_softmax
from slotfill.model.dropout import LockedDropout
from slotfill.model.encoders.base import Encoder
from slotfill.model.masks import padding_mask


class SelfAttention(Encoder):
    """Let each token gather from the others; notes the `weights` `(batch, heads, time, time)`, from
    and to.

    heads: how many weighted sums there are.
    head_size: numbers in each of them.
    dropout: share of what is added to each vector that is dropped while training.
    """

    def __init__(
        self, input_size: int, *, heads: Size = 4, head_size: Size = 32, dropout: Fraction = 0.1
    ) -> None:
        super().__init__()
        self.output_size = input_size
        self.heads = heads
        self.scale = head_size**-0.5
        self.projections = nn.Linear(input_size, 3 * heads * head_size, bias=False)
        self.join = nn.Linear(heads * head_size, input_size, bias=False)
        self.dropout = LockedDropout(dropout)
        self.norm = nn.LayerNorm(input_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, input)`; padding is given no weight, and is zero in the output."""
        mask = padding_mask(lengths, x.shape[1])
        projected = self.projections(x).unflatten(2, (3, self.heads, -1))
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        # matmul, since torch's own attention does not give the weights, which are there to be
        # looked at.
        weights = masked_softmax(self.scale * q @ k.transpose(2, 3), mask[:, None, None])
        self.record(weights=weights)
        joined = self.join((weights @ v).transpose(1, 2).flatten(2))
        return self.norm(x + self.dropout(joined)) * mask.unsqueeze(2)
