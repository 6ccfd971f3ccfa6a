"""Run a recurrent cell over a padded batch of sentences, in one or both directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from slotfill.model.cells.base import Cell, State
from slotfill.model.cudnn import run_torch_layer
from slotfill.model.masks import padding_mask
from slotfill.model.scan import scan


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
        outputs = run_torch_layer(cell, x) if x.is_cuda else cell.forward_sequence(x)
        if outputs is not None:
            return outputs, None
    projected = cell.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3])

    def step(projected: Tensor, state: State) -> tuple[State, State]:
        h, state = cell.step(projected, state)
        cell.record(hidden=h)
        return (h, state[-1]) if returns_state else (h,), state

    outputs, *last_states = scan(step, projected, cell.initial_state(projected[:, 0]))
    return outputs, last_states[0] if last_states else None


def compile_steps(model: nn.Module) -> None:
    """Compile each cell's step with `torch.compile`: on a GPU its small operations cost launches.

    A step that torch cannot compile stays as it is. The first batch takes some seconds longer.
    """
    torch._dynamo.config.suppress_errors = True
    for cell in model.modules():
        if isinstance(cell, Cell):
            setattr(cell, "step", torch.compile(cell.step))  # noqa: B010 - mypy: a method
