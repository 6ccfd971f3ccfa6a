"""Minimal GRU (minGRU): a GRU whose update gate and candidate see the input only.

    z_t = sigmoid(x_t W_z + b_z)
    n_t = x_t W_n + b_n                                            candidate: linear
    n_t = p + 1/2 where p = x_t W_n + b_n >= 0, else sigmoid(p)    candidate: positive
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t

The positive candidate is the one that the paper trains in logarithms, which is not needed here.

Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs All We Needed?"
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from slotfill.model.linear_recurrence import LinearCell


class MinGRU(LinearCell):
    """Interpolate between the old state and a candidate by a gate that sees the input only.

    gate_bias: initial bias of the gate; below 0 the cell remembers more than it writes.
    candidate: `linear`, or `positive`, so that no state is negative.
    """

    gates = ("update", "candidate")
    gate_meanings: ClassVar[dict[str, str]] = {"update": "1 writes the new state"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        gate_bias: float = 0.0,
        candidate: Literal["linear", "positive"] = "linear",
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.candidate = candidate
        self.bias.detach()[:, :, :hidden_size] = gate_bias

    def coefficients(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        z, n = projected.split(self.hidden_size, dim=-1)
        z = z.sigmoid()
        if self.candidate == "positive":
            n = torch.where(n >= 0, n + 0.5, n.sigmoid())
        self.record(update=z, candidate=n)
        return 1 - z, z * n
