"""Elman network: the hidden state depends on the input and the previous hidden state.

    h_t = f(x_t W + h_{t-1} U + b)

Source: Elman 1990, "Finding Structure in Time", Cognitive Science 14
"""

from typing import Literal

import torch
from torch import Tensor

from slotfill.model.cells.base import Cell, OnnxRecurrentOp, State, apply_activation


class Elman(Cell):
    """Use the previous output as the only memory.

    activation: the function f.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        activation: Literal["tanh", "relu", "sigmoid", "linear"] = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_gates=1)
        self.activation = activation

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = apply_activation(self.activation, torch.baddbmm(projected, h, self.recurrent_weight))
        return h, (h,)

    def onnx_operator(self) -> OnnxRecurrentOp | None:
        if self.activation == "linear":
            return None  # ONNX has none.
        return OnnxRecurrentOp("RNN", self, (0,), (self.activation.capitalize(),))
