"""Any recurrent cell, run over the sentence: one way or both ways, in any number of layers.

Source: bidirectional: Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks"
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from slotfill.cells._cell import Cell
from slotfill.dropout import SentenceDropout
from slotfill.encoders._encoder import Encoder, mask_of
from slotfill.options import CellPart, Fraction, Size
from slotfill.registry import CELLS


class Recurrent(Encoder):
    """Read the sentence token by token, remembering.

    cell: the recurrence.
    hidden_size: numbers in the memory, of each direction.
    layers: how many, each reading the outputs of the one below.
    bidirectional: read from both ends; the two outputs are joined.
    dropout: share of each layer's input that is dropped while training.
    """

    def __init__(
        self,
        input_size: int,
        *,
        cell: CellPart = "lstm",
        hidden_size: Size = 128,
        layers: Size = 1,
        bidirectional: bool = True,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.dropout = SentenceDropout(dropout)
        self.output_size = hidden_size * self.directions
        sizes = [input_size] + [self.output_size] * (layers - 1)
        self.layers = nn.ModuleList(CELLS.build(cell, size, hidden_size, self.directions) for size in sizes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return `(batch, time, directions * hidden_size)`; the backward pass starts at each true end."""
        batch, time, _ = x.shape
        mask = mask_of(lengths, time)
        turned = _turned(mask, lengths)[: self.directions]
        # Rows of x (batch * time) in the order of the steps, and rows of the outputs in the order of x.
        steps = (turned + torch.arange(batch, device=x.device).unsqueeze(1) * time).transpose(1, 2)
        ways = torch.arange(self.directions, device=x.device).view(-1, 1, 1) * time
        back = ((ways + turned) * batch + torch.arange(batch, device=x.device).unsqueeze(1)).permute(1, 2, 0)
        for cell in self.layers:
            rows = self.dropout(x).flatten(0, 1).index_select(0, steps.flatten())
            outputs = run(cast(Cell, cell), rows.view(self.directions, time, batch, -1))
            x = outputs.flatten(0, 2).index_select(0, back.flatten()).view(batch, time, self.output_size)
        return x * mask.unsqueeze(2)


def _turned(mask: Tensor, lengths: Tensor) -> Tensor:
    """Return `(direction, batch, time)`: at which token each step is, reading forwards and backwards.

    A sentence is turned round within its own length, so that its padding stays behind it both ways.
    """
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    return torch.stack((places, torch.where(mask, lengths.unsqueeze(1) - 1 - places, places)))


def run(cell: Cell, x: Tensor) -> Tensor:
    """Return the outputs `(direction, time, batch, hidden)` of `cell` over `x` `(direction, time, batch, input)`."""
    projected = cell.project(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).unbind(1)
    state = cell.start(projected[0])
    outputs = []
    for step in projected:
        h, state = cell.step(step, state)
        outputs.append(h)
    return torch.stack(outputs, dim=1)
