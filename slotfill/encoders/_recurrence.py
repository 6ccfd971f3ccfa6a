"""Reading a batch of sentences step by step, forwards and backwards."""

from __future__ import annotations

import torch
from torch import Tensor

from slotfill.cells._cell import Cell, State
from slotfill.encoders._encoder import mask_of


class Reading:
    """The order in which sentences of `lengths` `(batch,)` are read, with `directions` 2 backwards as well.

    A sentence is turned round within its own length: the backward reading starts at its true end, and its padding
    stays behind it both ways.
    """

    def __init__(self, lengths: Tensor, time: int, directions: int) -> None:
        batch = len(lengths)
        self.mask = mask_of(lengths, time)
        places = torch.arange(time, device=lengths.device).expand_as(self.mask)
        turned = torch.stack((places, torch.where(self.mask, lengths.unsqueeze(1) - 1 - places, places)))[:directions]
        sentence = torch.arange(batch, device=lengths.device).unsqueeze(1)
        ways = torch.arange(directions, device=lengths.device).view(-1, 1, 1) * time
        # Rows of tokens (batch * time) in the order of the steps, and rows of steps in the order of the tokens.
        self._steps = (turned + sentence * time).transpose(1, 2)
        self._tokens = ((ways + turned) * batch + sentence).permute(1, 2, 0)

    def steps(self, x: Tensor) -> Tensor:
        """Return `(direction, time, batch, size)`, in the order of the steps, of `x` `(batch, time, size)`."""
        rows = x.flatten(0, 1).index_select(0, self._steps.flatten())
        return rows.view(*self._steps.shape, x.shape[2])

    def tokens(self, outputs: Tensor) -> Tensor:
        """Return `(batch, time, direction * size)`, zero at padding, of `outputs` `(direction, time, batch, size)`."""
        rows = outputs.flatten(0, 2).index_select(0, self._tokens.flatten())
        return rows.view(*self.mask.shape, -1) * self.mask.unsqueeze(2)


def run(cell: Cell, x: Tensor) -> tuple[Tensor, list[State]]:
    """Return the outputs `(direction, time, batch, hidden)` and each step's state of `cell`.

    `x` is `(direction, time, batch, input)`.
    """
    projected = cell.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).unbind(1)
    state = cell.start(projected[0])
    outputs, states = [], []
    for step in projected:
        h, state = cell.step(step, state)
        cell.note(hidden=h)
        outputs.append(h)
        states.append(state)
    return torch.stack(outputs, dim=1), states
