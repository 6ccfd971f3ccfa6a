"""TimeMajorOrder a batch of sentences step by step, forwards and backwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from slotfill.model.cells.base import Cell, State
from slotfill.model.cudnn import fused
from slotfill.model.masks import padding_mask
from slotfill.model.scan import scan


class TimeMajorOrder:
    """The order in which sentences of `lengths` `(batch,)` are read, with `directions` 2 backwards
    as well.

    A sentence is turned round within its own length: the backward reading starts at its true end,
    and its padding stays behind it both ways.
    """

    def __init__(self, lengths: Tensor, time: int, directions: int) -> None:
        batch = lengths.shape[0]
        self.lengths = lengths
        self.mask = padding_mask(lengths, time)
        places = torch.arange(time, device=lengths.device).expand_as(self.mask)
        turned = torch.stack(
            (places, torch.where(self.mask, lengths.unsqueeze(1) - 1 - places, places))
        )[:directions]
        sentence = torch.arange(batch, device=lengths.device).unsqueeze(1)
        ways = torch.arange(directions, device=lengths.device).view(-1, 1, 1) * time
        # Rows of tokens (batch * time) in the order of the steps, and rows of steps in the order of
        # the tokens.
        self._steps = (turned + sentence * time).transpose(1, 2)
        self._tokens = ((ways + turned) * batch + sentence).permute(1, 2, 0)

    def steps(self, x: Tensor) -> Tensor:
        """Return `(direction, time, batch, size)`, in the order of the steps, of `x` `(batch, time,
        size)`.
        """
        rows = x.flatten(0, 1).index_select(0, self._steps.flatten())
        return rows.view(*self._steps.shape, x.shape[2])

    def tokens(self, outputs: Tensor) -> Tensor:
        """Return `(batch, time, direction * size)`, zero at padding, of `outputs` `(direction,
        time, batch, size)`.
        """
        rows = outputs.flatten(0, 2).index_select(0, self._tokens.flatten())
        return rows.view(*self.mask.shape, -1) * self.mask.unsqueeze(2)


def read(
    cell: Cell, reading: TimeMajorOrder, x: Tensor, below: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs `(batch, time, direction * hidden)`, zero at padding, of `x` `(batch,
    time, input)`.

    And what `run` tells of the states; `below` is what it told of the layer below, where the cell
    sees that.
    """
    if has_torch_function((x,)):
        return handle_torch_function(read, (x,), cell, reading, x, below)
    return read_steps(cell, reading, x, below)


def read_steps(
    cell: Cell, reading: TimeMajorOrder, x: Tensor, below: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return what `read` does, step by step."""
    steps = reading.steps(x)
    outputs, told = run(cell, steps if below is None else torch.cat((steps, below), dim=3))
    return reading.tokens(outputs), told


def run(cell: Cell, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the outputs `(direction, time, batch, hidden)` of `cell`, and the last tensor of each
    step's state.

    The latter, `(direction, time, batch, size)`, of a cell that is told it of the layer below, or
    is variational, and None of others. `x` is `(direction, time, batch, input)`.
    """
    tells = cell.takes_lower_memory or cell.has_kl_term
    if cell.activations is None and not tells:
        outputs = fused(cell, x) if x.is_cuda else cell.forward_sequence(x)
        if outputs is not None:
            return outputs, None
    projected = cell.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3])

    def step(projected: Tensor, state: State) -> tuple[State, State]:
        h, state = cell.step(projected, state)
        cell.record(hidden=h)
        return (h, state[-1]) if tells else (h,), state

    stepped, *told = scan(step, projected, cell.initial_state(projected[:, 0]))
    return stepped, told[0] if told else None


def compile_steps(model: nn.Module) -> None:
    """Let torch compile each cell's step: a device would wait between its many small operations.

    Where torch cannot compile it, the step stays as it is. The first batch takes longer for it, by
    seconds.
    """
    torch._dynamo.config.suppress_errors = True
    for cell in model.modules():
        if isinstance(cell, Cell):
            setattr(cell, "step", torch.compile(cell.step))  # noqa: B010, since a method may not be assigned to
