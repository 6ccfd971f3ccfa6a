"""LSTM of the lecture: gates and candidate depend on the input only, not on the last output.

    z, z_i, z_f, z_o = x_t W + b, stacked in one product
    c_t = g(z) * f(z_i) + c_{t-1} * f(z_f)
    a_t = h(c_t) * f(z_o)

Source: Hung-yi Lee's lecture "Recurrent Neural Network" (National Taiwan University, Machine
Learning)
"""

from typing import Literal

from torch import Tensor

from slotfill.model.cells.base import Cell, State, apply_activation


class LectureLSTM(Cell):
    """Update a memory c through three gates that do not see the previous state.

    gate_activation: the activation f of the three gates.
    input_activation: the activation g of the candidate.
    output_activation: the activation h of the memory.
    """

    gates = ("candidate", "input", "forget", "output")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        gate_activation: Literal["sigmoid", "tanh", "relu", "linear"] = "sigmoid",
        input_activation: Literal["sigmoid", "tanh", "relu", "linear"] = "sigmoid",
        output_activation: Literal["sigmoid", "tanh", "relu", "linear"] = "sigmoid",
    ) -> None:
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.gate_activation = gate_activation
        self.input_activation = input_activation
        self.output_activation = output_activation

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return a_t, and c_t as the state."""
        (c,) = state
        size = self.hidden_size
        z, gates = projected.split([size, 3 * size], dim=2)
        g = apply_activation(self.input_activation, z)
        i, f, o = apply_activation(self.gate_activation, gates).split(size, dim=2)
        c = g * i + c * f
        a = apply_activation(self.output_activation, c) * o
        self.record(candidate=g, input=i, forget=f, output=o, memory=c)
        return a, (c,)
