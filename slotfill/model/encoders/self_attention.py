"""Multi-head self-attention with a residual connection and layer normalization.

    a    = softmax_j(q_i . k_j / sqrt(head_size)) in each head, with q = x W_q, k = x W_k
    head = sum_j a_ij v_j, with v = x W_v
    output = LayerNorm(x + Dropout([head_1 ; head_2 ; ...] W_o))

Source: Vaswani et al. 2017, "Attention Is All You Need", sections 3.1 and 3.2

It has no position encoding: permuting the tokens permutes the outputs. Stack it on an encoder that
knows their order, as in `encoder: [recurrent, self_attention]`.
"""

from torch import Tensor, nn

from slotfill.config.option_types import Fraction, Size
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout, masked_softmax, padding_mask


class SelfAttention(Encoder):
    """Add to each token what its attention heads read; records `weights`.

    The attention weights are `(batch, heads, time, time)`, from queries to keys.

    heads: number of attention heads.
    head_size: size of each head.
    dropout: dropout rate of the attention output.
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
        """Return `(batch, time, input)`, zero at padding, which has no attention weight."""
        mask = padding_mask(lengths, x.shape[1])
        projected = self.projections(x).unflatten(2, (3, self.heads, -1))
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        # Not torch's scaled_dot_product_attention, which does not return the weights.
        weights = masked_softmax(self.scale * q @ k.transpose(2, 3), mask[:, None, None])
        self.record(weights=weights)
        joined = self.join((weights @ v).transpose(1, 2).flatten(2))
        return self.norm(x + self.dropout(joined)) * mask.unsqueeze(2)
