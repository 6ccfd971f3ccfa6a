"""Simple recurrent unit: a light recurrence without products, and a highway from input to output.

    f_t = sigmoid(x_t W_f + v_f * c_{t-1} + b_f)
    r_t = sigmoid(x_t W_r + v_r * c_{t-1} + b_r)
    c_t = f_t * c_{t-1} + (1 - f_t) * (x_t W)
    h_t = r_t * c_t + (1 - r_t) * alpha * x_t            alpha = sqrt(1 + 2 exp(b)), b: highway_bias

x_t itself is the input if its size is that of h_t; otherwise it is x_t P, without a bias. Without
the peepholes v, as in the paper's first version, all steps are computed at once.

Source: Lei, Zhang, Wang, Dai & Artzi 2018, "Simple Recurrent Units for Highly Parallelizable
Recurrence"
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from slotfill.model.cells.base import State, xavier_parameter
from slotfill.model.linear_recurrence import LinearCell


class SRU(LinearCell):
    """Average candidates in a memory, and interpolate between the memory and the input.

    peepholes: the gates see c_{t-1}.
    forget_bias: initial bias of the forget gate; above 0 the cell remembers more than it writes.
    highway_bias: initial bias of the reset gate; below 0 the output is nearer to the input.
    """

    gates = ("forget", "reset", "candidate")
    gate_meanings: ClassVar[dict[str, str]] = {
        "forget": "1 keeps the old memory",
        "reset": "1 outputs the memory, 0 the input",
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        peepholes: bool = True,
        forget_bias: float = 0.0,
        highway_bias: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.input_scale = math.sqrt(1 + 2 * math.exp(highway_bias))
        # Of the gates only: the candidate has none.
        self.bias = nn.Parameter(torch.zeros(directions, 1, 2 * hidden_size))
        self.bias.detach()[:, :, :hidden_size] = forget_bias
        self.bias.detach()[:, :, hidden_size:] = highway_bias
        self.peepholes = peepholes
        if peepholes:
            weight = torch.empty(directions, 1, 2 * hidden_size).uniform_(-1, 1)
            self.recurrent_weight = nn.Parameter(weight)
        self.input_projection = None
        if input_size != hidden_size:
            self.input_projection = xavier_parameter(directions, input_size, hidden_size)

    def project(self, x: Tensor) -> Tensor:
        """Return the inputs of f and r, the candidate, and alpha x_t."""
        skipped = x if self.input_projection is None else torch.bmm(x, self.input_projection)
        bias = nn.functional.pad(self.bias, (0, self.hidden_size))
        projected = torch.baddbmm(bias, x, self.input_weight)
        return torch.cat((projected, self.input_scale * skipped), dim=2)

    def coefficients(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        f, _, candidate, _ = projected.split(self.hidden_size, dim=-1)
        f = f.sigmoid()
        self.record(forget=f, candidate=candidate)
        return f, candidate - f * candidate

    def output(self, projected: Tensor, memory: Tensor) -> Tensor:
        """Return r_t * c_t + (1 - r_t) * alpha * x_t."""
        _, r, _, skipped = projected.split(self.hidden_size, dim=-1)
        r = r.sigmoid()
        self.record(reset=r, memory=memory)
        return torch.lerp(skipped, memory, r)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and c_t as the state."""
        if self.peepholes:
            gates, rest = projected.split(2 * self.hidden_size, dim=2)
            gates = torch.addcmul(gates, self.recurrent_weight, torch.cat((*state, *state), dim=2))
            projected = torch.cat((gates, rest), dim=2)
        return super().step(projected, state)

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        return None if self.peepholes else super().forward_sequence(x)
