"""Gated recurrent unit: one vector is both memory and output, an update gate mixes old and new.

    r, z = sigmoid(x_t W + h_{t-1} U + b)
    n    = tanh(x_t W_n + b_n + r * (h_{t-1} U_n + b_u))
    h_t  = (1 - z) * n + z * h_{t-1}

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder"; the reset gate is applied
after the product, as in cuDNN and torch
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slotfill.cells._cell import Cell, State


class GRU(Cell):
    """Keep what the update gate says, and let the reset gate choose what the new part may see of the old."""

    gates = ("reset", "update", "candidate")

    def __init__(self, input_size: int, hidden_size: int, directions: int = 1) -> None:
        super().__init__(input_size, hidden_size, directions, products=3)
        self.recurrent_bias = nn.Parameter(torch.zeros(directions, 1, hidden_size))

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and h_t as the state."""
        (h,) = state
        size = self.hidden_size
        both, candidate = self.recurrent_weight.split([2 * size, size], dim=2)
        r, z = torch.baddbmm(projected[..., : 2 * size], h, both).sigmoid().split(size, dim=2)
        n = torch.addcmul(projected[..., 2 * size :], r, torch.baddbmm(self.recurrent_bias, h, candidate)).tanh()
        self.note(reset=r, update=z, candidate=n)
        h = torch.lerp(n, h, z)
        return h, (h,)
