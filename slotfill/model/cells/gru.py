"""Gated recurrent unit: an update gate interpolates between the old state and a candidate.

    r, z = sigmoid(x_t W + h_{t-1} U + b), stacked in one product
    n    = tanh(x_t W_n + b_n + r * (h_{t-1} U_n + b_u))     reset: after, as in cuDNN and torch
    n    = tanh(x_t W_n + b_n + (r * h_{t-1}) U_n)           reset: before, as published
    n    = tanh(x_t W_n + b_n + h_{t-1} U_n)                 reset: none, without r
    h_t  = (1 - z) * n + z * h_{t-1}

Here z = 1 keeps the old state, as published and as in torch. Where z = 1 writes the new one, as in
the notation of Olah and of Ng, the weights of z have the opposite sign. Olah's r and Ng's relevance
gate Γr are `reset: before`; Ng's simplified GRU is `reset: none`.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", eq. 5-8; Olah
2015, "Understanding LSTM Networks"; Ng, "Sequence Models" (Coursera), week 1
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from slotfill.model.cells.base import Cell, OnnxRecurrentOp, State


class GRU(Cell):
    """Interpolate between the old state and a candidate that sees the old state through a gate.

    reset: apply the reset gate `after` or `before` the recurrent product, or have `none`.
    """

    gates: tuple[str, ...] = ("reset", "update", "candidate")
    gate_meanings: ClassVar[dict[str, str]] = {"update": "1 keeps the old state"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        reset: Literal["after", "before", "none"] = "after",
    ) -> None:
        if reset == "none":
            self.gates = ("update", "candidate")
        super().__init__(input_size, hidden_size, directions)
        self.reset = reset
        if reset == "after":
            self.recurrent_bias = nn.Parameter(torch.zeros(directions, 1, hidden_size))

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        size = self.hidden_size
        if self.reset == "none":
            z, n = torch.baddbmm(projected, h, self.recurrent_weight).split(size, dim=2)
            z, n = z.sigmoid(), n.tanh()
        else:
            gate_input, candidate_input = projected.split([2 * size, size], dim=2)
            gate_weight, candidate_weight = self.recurrent_weight.split([2 * size, size], dim=2)
            r, z = torch.baddbmm(gate_input, h, gate_weight).sigmoid().split(size, dim=2)
            if self.reset == "after":
                from_state = torch.baddbmm(self.recurrent_bias, h, candidate_weight)
                n = torch.addcmul(candidate_input, r, from_state).tanh()
            else:
                n = torch.baddbmm(candidate_input, r * h, candidate_weight).tanh()
            self.record(reset=r)
        self.record(update=z, candidate=n)
        h = torch.lerp(n, h, z)
        return h, (h,)

    def onnx_operator(self) -> OnnxRecurrentOp | None:
        if self.reset == "none":
            return None
        bias = None
        if self.reset == "after":
            # Only the candidate has a recurrent bias.
            bias = nn.functional.pad(self.recurrent_bias, (2 * self.hidden_size, 0))
        attributes = {"linear_before_reset": int(bias is not None)}
        return OnnxRecurrentOp("GRU", self, (1, 0, 2), ("Sigmoid", "Tanh"), attributes, bias)
