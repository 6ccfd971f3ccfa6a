"""Minimal LSTM (minLSTM): no output gate, and gates that see the input only and sum to 1.

    i, f = sigmoid(x_t W + b), stacked in one product
    g    = x_t W_g + b_g                                           candidate: linear
    g    = p + 1/2 where p = x_t W_g + b_g >= 0, else sigmoid(p)   candidate: positive
    h_t  = f / (f + i) * h_{t-1} + i / (f + i) * g

The positive candidate is the one that the paper trains in logarithms, which is not needed here.

Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs All We Needed?"
"""

from typing import Literal

import torch
from torch import Tensor

from slotfill.model.linear_recurrence import LinearCell

TINY = 1e-30


class MinLSTM(LinearCell):
    """Update a memory, which is the output, by two gates that see the input only.

    forget_bias: initial bias of the forget gate; above 0 the cell remembers more than it writes.
    candidate: `linear`, or `positive`, so that no state is negative.
    """

    gates = ("input", "forget", "candidate")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        forget_bias: float = 0.0,
        candidate: Literal["linear", "positive"] = "linear",
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.candidate = candidate
        self.bias.detach()[:, :, hidden_size : 2 * hidden_size] = forget_bias

    def coefficients(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Return f / (f + i) and i / (f + i) * g; the gates are recorded as these shares."""
        i, f, g = projected.split(self.hidden_size, dim=-1)
        # Plus a tiny number, so that two closed gates are equal shares instead of 0 / 0.
        i, f = i.sigmoid() + TINY, f.sigmoid() + TINY
        f = f / (f + i)
        i = 1 - f
        if self.candidate == "positive":
            g = torch.where(g >= 0, g + 0.5, g.sigmoid())
        self.record(input=i, forget=f, candidate=g)
        return f, i * g
