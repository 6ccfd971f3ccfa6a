"""What every cell promises: a state to start from and one step in time.

Every tensor of a cell has a leading `direction` axis, 1 or 2 long: a bidirectional layer is one
cell whose products serve both directions at once, and a cell is written as if there were one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from slotfill.model.activations import RecordsActivations

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class OnnxRecurrentOp:
    """The operator of ONNX that computes a cell over whole sentences.

    `blocks`: which of the cell's products stands at each place of the operator's, None where the
    cell has none.
    `activations`: their ONNX names, in the operator's order. `recurrent_bias`: `(direction, 1,
    num_gates * hidden)`.
    `peepholes`: `(direction, gates * hidden)`, in the operator's order.
    """

    name: str
    cell: Cell
    blocks: tuple[int | None, ...]
    activations: tuple[str, ...]
    attributes: dict[str, int] = field(default_factory=dict)
    recurrent_bias: Tensor | None = None
    peepholes: Tensor | None = None

    def weights(self) -> list[Tensor]:
        """Return W `(direction, num_gates * hidden, input)`, R, B `(direction, 2 * products *
        hidden)` and P, if any.
        """
        cell = self.cell
        recurrent_bias = (
            torch.zeros_like(cell.bias) if self.recurrent_bias is None else self.recurrent_bias
        )
        biases = [self._placed(bias).squeeze(1) for bias in (cell.bias, recurrent_bias)]
        products = [
            self._placed(weight).transpose(1, 2)
            for weight in (cell.input_weight, cell.recurrent_weight)
        ]
        return [
            *products,
            torch.cat(biases, dim=1),
            *([] if self.peepholes is None else [self.peepholes]),
        ]

    def _placed(self, weight: Tensor) -> Tensor:
        blocks = weight.split(self.cell.hidden_size, dim=2)
        none = torch.zeros_like(blocks[0])
        return torch.cat([none if block is None else blocks[block] for block in self.blocks], dim=2)


class Cell(RecordsActivations):
    """One recurrence; `products` is how many vectors of hidden size it computes from its input.

    `input_weight`: `(direction, input, num_gates * hidden)`, `recurrent_weight`: `(direction,
    hidden, num_recurrent_gates * hidden)`, as many as `products` if not given and no such tensor if
    0; `bias`: `(direction, 1, num_gates * hidden)`.
    """

    gates: tuple[str, ...] = ()
    """The names of the products, in their order; `step` notes under the same name what becomes
    of each, and under `memory` what it keeps apart from its output."""

    takes_lower_memory: ClassVar[bool] = False
    """Whether it is told the memory of the layer below: the last tensor of that layer's state at
    the same token.

    Its constructor then takes `below` after `directions`: True in all layers but the first, where
    each input ends with that memory, `hidden` numbers on top of `input_size`.
    """

    has_kl_term: ClassVar[bool] = False
    """Whether the last tensor of its state, `(direction, batch, 1)`, is a term for the loss, in
    nats.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int,
        num_gates: int,
        num_recurrent_gates: int | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        recurrent = num_gates if num_recurrent_gates is None else num_recurrent_gates
        self.input_weight = nn.Parameter(
            torch.empty(directions, input_size, num_gates * hidden_size)
        )
        if recurrent:
            self.recurrent_weight = nn.Parameter(
                torch.empty(directions, hidden_size, recurrent * hidden_size)
            )
        self.bias = nn.Parameter(torch.zeros(directions, 1, num_gates * hidden_size))
        for direction in range(directions):
            for block in self.input_weight.detach()[direction].split(hidden_size, dim=1):
                nn.init.xavier_uniform_(block)
            if recurrent:
                for block in self.recurrent_weight.detach()[direction].split(hidden_size, dim=1):
                    nn.init.orthogonal_(block)

    def project(self, x: Tensor) -> Tensor:
        """Return what of a step needs only its input, for all steps at once.

        From `(direction, time * batch, input)` to `(direction, time * batch, num_gates * hidden)`; a
        cell may give more numbers, or others, to its own `start` and `step`.
        """
        return torch.baddbmm(self.bias, x, self.input_weight)

    def initial_state(self, projected: Tensor) -> State:
        """Return the state before the first step, zeros; of `projected`, that of some step, only
        the shape counts.

        Each tensor is `(direction, batch, hidden)`.
        """
        return (projected.new_zeros(*projected.shape[:2], self.hidden_size),)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output `(direction, batch, hidden)` of one step and the state after it.

        `projected` is `(direction, batch, num_gates * hidden)`.
        """
        raise NotImplementedError

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        """Return the outputs of all steps at once, where the cell has a quicker way than step by
        step, or None.

        They are what `step` gives, `(direction, time, batch, hidden)` of `x` `(direction, time,
        batch, input)`.
        """
        return None

    def onnx_operator(self) -> OnnxRecurrentOp | None:
        """Return the operator of ONNX that computes the same, or None where there is none: then it
        is the loop.
        """
        return None


def xavier_parameter(directions: int, rows: int, columns: int) -> nn.Parameter:
    """Return `(direction, rows, columns)` to multiply vectors with, as small at the start as
    `Cell`'s own.
    """
    weight = nn.Parameter(torch.empty(directions, rows, columns))
    for one in weight.detach():
        nn.init.xavier_uniform_(one)
    return weight


ONNX_ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}
"""The names in ONNX of what `activate` knows; its operators have no `linear`."""


def apply_activation(name: str, x: Tensor) -> Tensor:
    """Return the activation called `name` of `x`; `linear` is `x` itself."""
    return x if name == "linear" else getattr(torch, name)(x)
