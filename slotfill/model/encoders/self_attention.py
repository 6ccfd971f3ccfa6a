"""Multi-head self-attention with a residual connection and layer normalization.

    a    = softmax_j(q_i . k_j / sqrt(head_size)) in each head, with q = x W_q, k = x W_k
    head = sum_j a_ij v_j, with v = x W_v
    output = LayerNorm(x + Dropout([head_1 ; head_2 ; ...] W_o))

Source: Vaswani et al. 2017, "Attention Is All You Need", sections 3.1 and 3.2

It has no position encoding: permuting the tokens permutes the outputs. Stack it on an encoder that
knows their order, as in `encoder: [recurrent, self_attention]`. The encoder `transformer` has such
sublayers, feed-forward networks and positions.
"""

from torch import Tensor, nn

from slotfill.config.option_types import Fraction, Size
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout, attend, padding_mask


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
        self.projections = nn.Linear(input_size, 3 * heads * head_size, bias=False)
        self.join = nn.Linear(heads * head_size, input_size, bias=False)
        self.dropout = LockedDropout(dropout)
        self.norm = nn.LayerNorm(input_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, input)`, zero at padding, which has no attention weight."""
        mask = padding_mask(lengths, x.shape[1])
        heads, weights = attend(self.projections(x), self.heads, mask)
        self.record(weights=weights)
        return self.norm(x + self.dropout(self.join(heads))) * mask.unsqueeze(2)
