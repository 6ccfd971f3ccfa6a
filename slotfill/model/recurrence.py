"""Run a recurrence over a padded batch of sentences, in one or both directions."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from slotfill.model.cells.base import Cell, State
from slotfill.model.layers import padding_mask

Step = Callable[[Tensor, State], tuple[State, State]]
"""From one slice of the inputs and the state: the outputs and the next state."""

_TORCH_LAYERS: dict[tuple[str, tuple[str, ...]], tuple[Callable[..., Any], tuple[int, ...]]] = {
    ("LSTM", ("Sigmoid", "Tanh", "Tanh")): (torch.lstm, (0, 2, 3, 1)),
    ("GRU", ("Sigmoid", "Tanh")): (torch.gru, (1, 0, 2)),
    ("RNN", ("Tanh",)): (torch.rnn_tanh, (0,)),
    ("RNN", ("Relu",)): (torch.rnn_relu, (0,)),
}
"""By ONNX operator and activations: torch's function, and its order of the operator's gates."""


def scan(step: Step, inputs: Tensor, state: State, axis: int = 1) -> State:
    """Return the outputs of `step` along `axis` of `inputs`, each stacked along axis 1.

    The ONNX exporter turns it into a Scan operator. All steps return tensors of the same shapes. A
    step may read outer variables; its results leave only by its outputs.
    """
    if has_torch_function((inputs,)):
        return handle_torch_function(scan, (inputs,), step, inputs, state, axis)
    outputs = []
    for step_input in inputs.unbind(axis):
        output, state = step(step_input, state)
        outputs.append(output)
    return tuple(torch.stack(tensors, dim=1) for tensors in zip(*outputs, strict=True))


class TimeMajorOrder:
    """The order in which a recurrence reads a batch, forward or in both directions.

    `lengths` has the shape `(batch,)`; two `directions` read backward too. A sentence is
    reversed within its own length: the backward direction starts at its last token, and padding
    comes last in both.
    """

    def __init__(self, lengths: Tensor, time: int, directions: int) -> None:
        batch = lengths.shape[0]
        self.lengths = lengths
        self.mask = padding_mask(lengths, time)
        positions = torch.arange(time, device=lengths.device).expand_as(self.mask)
        reversed_positions = torch.where(self.mask, lengths.unsqueeze(1) - 1 - positions, positions)
        order = torch.stack((positions, reversed_positions))[:directions]
        sentence = torch.arange(batch, device=lengths.device).unsqueeze(1)
        direction = torch.arange(directions, device=lengths.device).view(-1, 1, 1)
        # Indices of rows `(batch * time)` of tokens, and of rows `(direction * time * batch)`.
        self._token_rows = (order + sentence * time).transpose(1, 2)
        self._step_rows = ((direction * time + order) * batch + sentence).permute(1, 2, 0)

    def to_time_major(self, x: Tensor) -> Tensor:
        """Return `(batch, time, size)` as `(direction, time, batch, size)`, in reading order."""
        rows = x.flatten(0, 1).index_select(0, self._token_rows.flatten())
        return rows.view(*self._token_rows.shape, x.shape[2])

    def to_batch_major(self, outputs: Tensor) -> Tensor:
        """Return `(direction, time, batch, size)` as `(batch, time, direction * size)`.

        Padding is zero.
        """
        rows = outputs.flatten(0, 2).index_select(0, self._step_rows.flatten())
        return rows.view(*self.mask.shape, -1) * self.mask.unsqueeze(2)


def run_layer(
    cell: Cell, order: TimeMajorOrder, x: Tensor, lower_memory: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs `(batch, time, direction * hidden)`, zero at padding, and the last states.

    `x` is `(batch, time, input)`, and `lower_memory` the last states of the layer below, for a cell
    that takes them. The ONNX exporter replaces this call by one operator, if the cell has one.
    """
    if has_torch_function((x,)):
        return handle_torch_function(run_layer, (x,), cell, order, x, lower_memory)
    return run_layer_stepwise(cell, order, x, lower_memory)


def run_layer_stepwise(
    cell: Cell, order: TimeMajorOrder, x: Tensor, lower_memory: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return what `run_layer` does, without its hook for the exporter."""
    steps = order.to_time_major(x)
    if lower_memory is not None:
        steps = torch.cat((steps, lower_memory), dim=3)
    outputs, last_states = run_cell(cell, steps)
    return order.to_batch_major(outputs), last_states


def run_cell(cell: Cell, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the outputs `(direction, time, batch, hidden)` and the last tensor of each state.

    `x` is `(direction, time, batch, input)`. The latter, `(direction, time, batch, size)`, is None
    unless the cell takes the memory of the layer below or has a KL term.
    """
    returns_state = cell.takes_lower_memory or cell.has_kl_term
    if cell.activations is None and not returns_state:
        outputs = run_torch_layer(cell, x) if x.is_cuda else None
        if outputs is None:
            outputs = cell.forward_sequence(x)
        if outputs is not None:
            return outputs, None
    projected = cell.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
    if torch.is_autocast_enabled(x.device.type):
        # A projection can be part product, in lower precision, and part input, which is not.
        projected = projected.to(torch.get_autocast_dtype(x.device.type))

    def step(projected: Tensor, state: State) -> tuple[State, State]:
        h, state = cell.step(projected, state)
        cell.record(hidden=h)
        return (h, state[-1]) if returns_state else (h,), state

    outputs, *last_states = scan(step, projected, cell.initial_state(projected[:, 0]))
    return outputs, last_states[0] if last_states else None


def run_torch_layer(cell: Cell, x: Tensor) -> Tensor | None:
    """Return the outputs `(direction, time, batch, hidden)` of `cell` by one cuDNN call on a GPU.

    None if torch has no layer for this cell. `x` is `(direction, time, batch, input)`.
    """
    operator = cell.onnx_operator()
    if operator is None or operator.peepholes is not None or None in operator.gate_order:
        return None
    # Only ONNX has coupled gates and a reset before the product.
    attributes = operator.attributes
    if attributes.get("input_forget") or attributes.get("linear_before_reset") == 0:
        return None
    if (operator.name, operator.activations) not in _TORCH_LAYERS:
        return None
    layer, gate_order = _TORCH_LAYERS[operator.name, operator.activations]
    input_weight, recurrent_weight, biases = operator.weights()
    zeros = x.new_zeros(1, x.shape[2], cell.hidden_size)
    state = (zeros, zeros) if operator.name == "LSTM" else zeros
    trains = torch.is_grad_enabled()
    outputs = []
    for direction, steps in enumerate(x):
        gates = [
            tensor[direction].split(cell.hidden_size)[index]
            for tensor in (input_weight, recurrent_weight, *biases.chunk(2, dim=1))
            for index in gate_order
        ]
        # One piece of memory, which cuDNN would otherwise make of them at each call.
        memory = torch.cat([gate.flatten() for gate in gates])
        stacked = [tensor[direction] for tensor in (input_weight, recurrent_weight)]
        stacked += [biases[direction].chunk(2)[0]] * 2
        parts = memory.split([tensor.numel() for tensor in stacked])
        weights = [part.view_as(like) for part, like in zip(parts, stacked, strict=True)]
        outputs.append(layer(steps, state, weights, True, 1, 0.0, trains, False, False)[0])
    return torch.stack(outputs)


def compile_steps(model: nn.Module) -> None:
    """Compile each cell's step with `torch.compile`: on a GPU its small operations cost launches.

    A step that torch cannot compile stays as it is. The first batch takes some seconds longer.
    """
    torch._dynamo.config.suppress_errors = True
    warnings.filterwarnings(
        "ignore", message="TensorFloat32 tensor cores", module="torch._inductor"
    )
    for cell in model.modules():
        if isinstance(cell, Cell):
            setattr(cell, "step", torch.compile(cell.step))  # noqa: B010 - mypy: a method


def restore_steps(model: nn.Module) -> None:
    """Undo `compile_steps`, also in a copy of a network, whose steps are those of the original."""
    for module in model.modules():
        if isinstance(module, Cell):
            vars(module).pop("step", None)
