"""Base class of recurrent cells: an initial state and one step in time.

Every tensor of a cell has a leading `direction` axis of size 1 or 2, so that one batched product
serves both directions of a bidirectional layer. A cell is written as if there were one direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from slotfill.model.activations import RecordsActivations

State = tuple[Tensor, ...]
"""What a cell passes from step to step: tensors `(direction, batch, size)`."""


@dataclass(frozen=True)
class OnnxRecurrentOp:
    """The ONNX operator that computes a cell over complete sentences."""

    name: str
    cell: Cell
    gate_order: tuple[int | None, ...]
    """Index of the cell's gate for each gate of the operator; None if the cell has no such gate."""
    activations: tuple[str, ...]
    """Names of the activations as in ONNX, such as `Tanh`, in the operator's order."""
    attributes: dict[str, int] = field(default_factory=dict)
    recurrent_bias: Tensor | None = None
    """`(direction, 1, num_gates * hidden)`, in the cell's order; None for zeros."""
    peepholes: Tensor | None = None
    """`(direction, num_gates * hidden)`, in the operator's order."""

    def weights(self) -> list[Tensor]:
        """Return ONNX's W, R, B and, with peepholes, P."""
        cell, recurrent_bias = self.cell, self.recurrent_bias
        if recurrent_bias is None:
            recurrent_bias = torch.zeros_like(cell.bias)
        biases = [self._reorder(bias).squeeze(1) for bias in (cell.bias, recurrent_bias)]
        return [
            self._reorder(cell.input_weight).transpose(1, 2),
            self._reorder(cell.recurrent_weight).transpose(1, 2),
            torch.cat(biases, dim=1),
            *([] if self.peepholes is None else [self.peepholes]),
        ]

    def _reorder(self, weight: Tensor) -> Tensor:
        gates = weight.split(self.cell.hidden_size, dim=2)
        zeros = torch.zeros_like(gates[0])
        ordered = [zeros if gate is None else gates[gate] for gate in self.gate_order]
        return torch.cat(ordered, dim=2)


class Cell(RecordsActivations):
    """A recurrent cell of `num_gates` gates, with the candidate; as many as `gates` by default."""

    gates: tuple[str, ...] = ()
    """Names of the gates, in order; `step` records each by name, and the cell state as `memory`."""
    gate_meanings: ClassVar[dict[str, str]] = {}
    """What a gate does at 1 where cells or publications differ, which `inspect` shows."""

    takes_lower_memory: ClassVar[bool] = False
    """Whether the input ends with the lower layer's memory: the last tensor of its state.

    The constructor then takes `has_lower_layer` after `directions`, True in all layers but the
    first; the memory is `hidden` dimensions on top of `input_size`."""

    has_kl_term: ClassVar[bool] = False
    """Whether the last tensor of the state, `(direction, batch, 1)`, is a loss term in nats."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        num_gates: int | None = None,
        num_recurrent_gates: int | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.state_sizes: tuple[int, ...] = (hidden_size,)
        """Sizes of the tensors of the state, which are zeros before the first step."""
        num_gates = len(self.gates) if num_gates is None else num_gates
        recurrent = num_gates if num_recurrent_gates is None else num_recurrent_gates
        size = num_gates * hidden_size
        self.input_weight = nn.Parameter(torch.empty(directions, input_size, size))
        """`(direction, input, num_gates * hidden)`."""
        if recurrent:
            weight = torch.empty(directions, hidden_size, recurrent * hidden_size)
            self.recurrent_weight = nn.Parameter(weight)
            """`(direction, hidden, num_recurrent_gates * hidden)`; without it if that is 0."""
        self.bias = nn.Parameter(torch.zeros(directions, 1, size))
        """`(direction, 1, num_gates * hidden)`."""
        for direction in range(directions):
            for block in self.input_weight.detach()[direction].split(hidden_size, dim=1):
                nn.init.xavier_uniform_(block)
            if recurrent:
                for block in self.recurrent_weight.detach()[direction].split(hidden_size, dim=1):
                    nn.init.orthogonal_(block)

    def project(self, x: Tensor) -> Tensor:
        """Return the input projection of all steps, the part that does not depend on the state.

        From `(direction, time * batch, input)` to `(direction, time * batch, num_gates * hidden)`;
        a cell may return another size for its own `initial_state` and `step`.
        """
        return torch.baddbmm(self.bias, x, self.input_weight)

    def initial_state(self, projected: Tensor) -> State:
        """Return the state before the first step: zeros `(direction, batch, size)`.

        `projected` is the projection of any step; only its shape and dtype matter.
        """
        shape = projected.shape[:2]
        return tuple(projected.new_zeros(*shape, size) for size in self.state_sizes)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output `(direction, batch, hidden)` of one step and the state after it.

        `projected` is `(direction, batch, num_gates * hidden)`.
        """
        raise NotImplementedError

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        """Return the outputs of all steps if there is a faster way than `step`, else None.

        From `(direction, time, batch, input)` to `(direction, time, batch, hidden)`.
        """
        return None

    def onnx_operator(self) -> OnnxRecurrentOp | None:
        """Return the ONNX operator that computes the same; None exports the cell as a loop."""
        return None


def xavier_parameter(directions: int, rows: int, columns: int) -> nn.Parameter:
    """Return a weight `(direction, rows, columns)` with Xavier-uniform values."""
    weight = nn.Parameter(torch.empty(directions, rows, columns))
    for matrix in weight.detach():
        nn.init.xavier_uniform_(matrix)
    return weight


def apply_activation(name: str, x: Tensor) -> Tensor:
    """Apply the activation called `name`; `linear` returns `x` itself."""
    return x if name == "linear" else getattr(torch, name)(x)
