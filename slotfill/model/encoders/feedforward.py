"""Feed-forward layers: each token on its own, or with a window of its neighbours.

    h^0_t = [x_{t-w} ; ... ; x_t ; ... ; x_{t+w}], zeros beyond the sentence
    h^l_t = f(h^{l-1}_t W_l + b_l)

Source: Rumelhart, Hinton & Williams 1986, "Learning Representations by Back-propagating Errors";
the window: Collobert et al. 2011, "Natural Language Processing (Almost) from Scratch"
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import DepthOrZero, Fraction, Size
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout, padding_mask


class Feedforward(Encoder):
    """Concatenate the vectors of a window around each token and apply dense layers.

    hidden_size: output size of each layer.
    layers: number of layers; with 0 the window is only concatenated.
    window: number of neighbours on each side; with 0 a word has the same output everywhere.
    activation: the activation after each layer.
    dropout: dropout rate of each layer's input.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: Size = 128,
        layers: DepthOrZero = 1,
        window: DepthOrZero = 0,
        activation: Literal["relu", "tanh", "sigmoid"] = "relu",
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.window = window
        self.is_context_free = window == 0
        self.activation = activation
        self.dropout = LockedDropout(dropout)
        sizes = [input_size * (2 * window + 1)] + [hidden_size] * layers
        self.output_size = sizes[-1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, output_size)`, zero at padding, which windows see as zeros."""
        mask = padding_mask(lengths, x.shape[1]).unsqueeze(2)
        x = x * mask
        if self.window:
            padded = nn.functional.pad(x, (0, 0, self.window, self.window))
            time = x.shape[1]
            shifts = range(2 * self.window + 1)
            x = torch.cat([padded[:, shift : shift + time] for shift in shifts], dim=2)
        for layer in self.layers:
            x = getattr(torch, self.activation)(layer(self.dropout(x)))
        return x * mask
