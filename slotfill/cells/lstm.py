"""Long short-term memory: a cell that gates let write, keep and read.

    i, f, o = sigmoid(x_t W + h_{t-1} U + b), one block of products each
    g       = tanh(x_t W_g + h_{t-1} U_g + b_g)
    c_t     = f * c_{t-1} + i * g
    h_t     = o * tanh(c_t)

Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; forget gate: Gers, Schmidhuber & Cummins 2000
"""

from __future__ import annotations

import torch
from torch import Tensor

from slotfill.cells._cell import Cell, State


class LSTM(Cell):
    """Keep a memory c that changes by sums, so that gradients last.

    forget_bias: what the forget gate's bias starts from; at 1 the cell keeps what it has until it learns
        otherwise (Jozefowicz et al. 2015, section 2.2).
    """

    gates = ("input", "forget", "output", "candidate")

    def __init__(self, input_size: int, hidden_size: int, directions: int = 1, *, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, hidden_size, directions, products=4)
        self.bias.detach()[:, :, hidden_size : 2 * hidden_size] = forget_bias

    def start(self, projected: Tensor) -> State:
        """Return h_0 and c_0, zeros."""
        zeros = projected.new_zeros(*projected.shape[:2], self.hidden_size)
        return zeros, zeros

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, c_t) as the state."""
        h, c = state
        products = torch.baddbmm(projected, h, self.recurrent_weight)
        size = self.hidden_size
        i, f, o = products[..., : 3 * size].sigmoid().split(size, dim=2)
        g = products[..., 3 * size :].tanh()
        c = torch.addcmul(f * c, i, g)
        h = o * c.tanh()
        self.note(input=i, forget=f, output=o, candidate=g, memory=c)
        return h, (h, c)
