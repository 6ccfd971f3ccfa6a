"""MUT1, a cell found by search: the update gate receives only the input, which is unweighted in n.

    z   = sigmoid(x_t W_z + b_z)
    r   = sigmoid(x_t W_r + h_{t-1} U_r + b_r)
    n   = tanh((r * h_{t-1}) U_n + tanh(x_t) + b_n)
    h_t = n * z + h_{t-1} * (1 - z)

x_t itself is the input if its size is that of h_t; otherwise it is x_t P, without a bias.

Source: Jozefowicz, Zaremba & Sutskever 2015, "An Empirical Exploration of Recurrent Network
Architectures"
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from slotfill.model.cells.base import Cell, State, xavier_parameter


class MUT1(Cell):
    """Update one state, which is memory and output, by the equations of MUT1."""

    gates = ("update", "reset", "candidate")
    gate_meanings: ClassVar[dict[str, str]] = {"update": "1 writes the new state"}

    def __init__(self, input_size: int, hidden_size: int, directions: int = 1) -> None:
        super().__init__(input_size, hidden_size, directions, num_gates=2)
        self.input_projection = None
        if input_size != hidden_size:
            self.input_projection = xavier_parameter(directions, input_size, hidden_size)
        self.candidate_bias = nn.Parameter(torch.zeros(directions, 1, hidden_size))

    def project(self, x: Tensor) -> Tensor:
        """Return the inputs of z, r and n, `(direction, time * batch, 3 * hidden)`."""
        projected = x if self.input_projection is None else torch.bmm(x, self.input_projection)
        return torch.cat((super().project(x), projected.tanh() + self.candidate_bias), dim=2)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        update_input, reset_input, candidate_input = projected.split(self.hidden_size, dim=2)
        reset_weight, candidate_weight = self.recurrent_weight.split(self.hidden_size, dim=2)
        z = update_input.sigmoid()
        r = torch.baddbmm(reset_input, h, reset_weight).sigmoid()
        n = torch.baddbmm(candidate_input, r * h, candidate_weight).tanh()
        self.record(update=z, reset=r, candidate=n)
        h = torch.lerp(h, n, z)
        return h, (h,)
