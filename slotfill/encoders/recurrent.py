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
        time = x.shape[1]
        mask = mask_of(lengths, time)
        places = torch.arange(time, device=x.device).expand(len(x), time)
        # Each sentence turned round within its own length, so that padding stays behind it both ways.
        turned = torch.where(mask, lengths.unsqueeze(1) - 1 - places, places)
        for cell in self.layers:
            x = self.dropout(x)
            ways = torch.stack((x, _turn(x, turned))) if self.directions == 2 else x.unsqueeze(0)
            outputs = run(cast(Cell, cell), ways.transpose(1, 2)).transpose(1, 2)
            x = torch.cat((outputs[0], *(_turn(way, turned) for way in outputs[1:])), dim=2)
        return x * mask.unsqueeze(2)


def _turn(x: Tensor, turned: Tensor) -> Tensor:
    return x.gather(1, turned.unsqueeze(2).expand_as(x))


def run(cell: Cell, x: Tensor) -> Tensor:
    """Return the outputs `(direction, time, batch, hidden)` of `cell` over `x` `(direction, time, batch, input)`."""
    directions, time, batch, _ = x.shape
    projected = cell.project(x.reshape(directions, time * batch, -1)).view(directions, time, batch, -1).unbind(1)
    state = cell.start(projected[0])
    outputs = []
    for step in projected:
        h, state = cell.step(step, state)
        outputs.append(h)
    return torch.stack(outputs, dim=1)
