"""Any recurrent cell, unidirectional or bidirectional, in any number of layers.

Source: bidirectional: Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks"
"""

from typing import cast

from torch import Tensor, nn

from slotfill.config.option_types import CellPart, Depth, Fraction, Size
from slotfill.config.registry import CELLS
from slotfill.model.cells.base import Cell
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout
from slotfill.model.recurrence import TimeMajorOrder, run_layer


class Recurrent(Encoder):
    """Run a recurrent cell over the tokens.

    cell: the recurrent cell.
    hidden_size: hidden size of each direction.
    layers: number of stacked layers.
    bidirectional: concatenate the outputs of a forward and a backward pass.
    dropout: dropout rate of each layer's input.
    """

    def __init__(
        self,
        input_size: int,
        *,
        cell: CellPart = "lstm",
        hidden_size: Size = 128,
        layers: Depth = 1,
        bidirectional: bool = True,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.dropout = LockedDropout(dropout)
        self.output_size = hidden_size * self.directions
        # A second layer sees the complete sentence.
        self.causal_directions = self.directions if layers == 1 else 0
        sizes = (hidden_size, self.directions)
        first = CELLS.build(cell, input_size, *sizes)
        has_lower_layer = [True] if first.takes_lower_memory else []
        self.layers = nn.ModuleList([first])
        for _ in range(layers - 1):
            self.layers.append(CELLS.build(cell, self.output_size, *sizes, *has_lower_layer))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        order = TimeMajorOrder(lengths, x.shape[1], self.directions)
        self.regularization_loss = x.new_zeros(())
        last_states = None
        for layer in self.layers:
            cell = cast(Cell, layer)
            lower_memory = last_states if cell.takes_lower_memory else None
            x, last_states = run_layer(cell, order, self.dropout(x), lower_memory)
            if cell.has_kl_term and last_states is not None:
                kl = order.to_batch_major(last_states).sum() / x.shape[0]
                self.regularization_loss = self.regularization_loss + kl
        return x
