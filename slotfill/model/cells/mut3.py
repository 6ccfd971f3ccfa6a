"""MUT3, a cell found by search: the update gate receives the state through a tanh.

    z   = sigmoid(x_t W_z + tanh(h_{t-1}) U_z + b_z)
    r   = sigmoid(x_t W_r + h_{t-1} U_r + b_r)
    n   = tanh((r * h_{t-1}) U_n + x_t W_n + b_n)
    h_t = n * z + h_{t-1} * (1 - z)

Source: Jozefowicz, Zaremba & Sutskever 2015, "An Empirical Exploration of Recurrent Network
Architectures"
"""

from typing import ClassVar

import torch
from torch import Tensor

from slotfill.model.cells.base import Cell, State


class MUT3(Cell):
    """Update one state, which is memory and output, by the equations of MUT3."""

    gates = ("update", "reset", "candidate")
    gate_meanings: ClassVar[dict[str, str]] = {"update": "1 writes the new state"}

    def __init__(self, input_size: int, hidden_size: int, directions: int = 1) -> None:
        super().__init__(input_size, hidden_size, directions)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        size = self.hidden_size
        update_input, reset_input, candidate_input = projected.split(size, dim=2)
        update_weight, reset_weight, candidate_weight = self.recurrent_weight.split(size, dim=2)
        z = torch.baddbmm(update_input, h.tanh(), update_weight).sigmoid()
        r = torch.baddbmm(reset_input, h, reset_weight).sigmoid()
        n = torch.baddbmm(candidate_input, r * h, candidate_weight).tanh()
        self.record(update=z, reset=r, candidate=n)
        h = torch.lerp(h, n, z)
        return h, (h,)
