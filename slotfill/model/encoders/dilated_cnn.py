"""Iterated dilated convolutions (ID-CNN): a block of wider and wider windows, applied repeatedly.

    D_d(x)_t = [x_{t-d} ; x_t ; x_{t+d}] W + b, zeros beyond the sentence
    b^0      = D_1(x)
    B(c)     = c^J, with c^0 = c and c^j = relu(D_{d_j}(c^{j-1})) for the dilations d_1 ... d_J
    b^k      = B(b^{k-1}), with the same weights in all K blocks; the output is b^K

A token sees 1 + K (d_1 + ... + d_J) neighbours on each side, 5 by default. As in the paper, each
convolution of the block is the identity at first. One block of the dilations 1, 2, 1 is what its
authors train on sentences; their three blocks, for documents, start from the weights of one, and
the output of each is trained to predict the tags. Here a tagger sees that of the last, and more
blocks learn more slowly.

Source: Strubell, Verga, Belanger & McCallum 2017, "Fast and Accurate Entity Recognition with
Iterated Dilated Convolutions"; Yu & Koltun 2016, "Multi-Scale Context Aggregation by Dilated
Convolutions"
"""

from torch import Tensor, nn

from slotfill.config.option_types import Depth, Fraction, Size
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout, padding_mask

INITIAL_BIAS = 0.01
"""Above 0, so that a unit which is off in one convolution learns in the next ones."""


class DilatedCNN(Encoder):
    """Convolutions of width 3 whose tokens are farther and farther apart.

    hidden_size: output size of each convolution.
    dilations: distance between the tokens that each convolution of the block sees.
    blocks: how often the block is applied.
    dropout: dropout rate of the input of the first convolution.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: Size = 128,
        dilations: list[Size] = [1, 2, 1],  # noqa: B006
        blocks: Depth = 1,
        dropout: Fraction = 0.3,
    ) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.blocks = blocks
        self.dropout = LockedDropout(dropout)
        self.first = nn.Conv1d(input_size, hidden_size, 3, padding=1)
        convolutions = [
            nn.Conv1d(hidden_size, hidden_size, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        ]
        # With torch's own initial weights the output would be almost the same for all inputs.
        for convolution in convolutions:
            nn.init.dirac_(convolution.weight)
            assert convolution.bias is not None
            nn.init.constant_(convolution.bias, INITIAL_BIAS)
        self.block = nn.ModuleList(convolutions)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, hidden)`, zero at padding, which convolutions see as zeros."""
        mask = padding_mask(lengths, x.shape[1]).unsqueeze(2)
        real = mask.transpose(1, 2)
        x = self.first((self.dropout(x) * mask).transpose(1, 2)) * real
        for _ in range(self.blocks):
            for convolution in self.block:
                x = convolution(x).relu() * real
        return x.transpose(1, 2)
