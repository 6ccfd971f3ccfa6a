"""Independently recurrent network: each hidden unit sees the input and its own past only.

    h_t = f(x_t W + u * h_{t-1} + b),  |u| <= max_recurrent_weight

The paper bounds |u| by 2^(1/T) for sentences of T tokens and the activation relu, so that neither
states nor gradients explode; for a T of any length that is 1.

Source: Li, Li, Cook, Zhu & Gao 2018, "Independently Recurrent Neural Network (IndRNN): Building A
Longer and Deeper RNN"
"""

from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Positive
from slotfill.model.cells.base import Cell, State, apply_activation


class IndRNN(Cell):
    """Use each unit's previous output as its only memory.

    activation: the function f.
    max_recurrent_weight: bound of u; where sentences are short it can be above 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        activation: Literal["relu", "tanh"] = "relu",
        max_recurrent_weight: Positive = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_gates=1, num_recurrent_gates=0)
        self.activation = activation
        self.max_recurrent_weight = max_recurrent_weight
        weight = torch.empty(directions, 1, hidden_size).uniform_(0, max_recurrent_weight)
        self.recurrent_weight = nn.Parameter(weight)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        u = self.recurrent_weight.clamp(-self.max_recurrent_weight, self.max_recurrent_weight)
        h = apply_activation(self.activation, torch.addcmul(projected, u, h))
        return h, (h,)
