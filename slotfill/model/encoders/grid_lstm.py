"""Two-dimensional grid LSTM: an LSTM along time and one along depth, with separate memories.

    LSTM(H, m): i, f, o = sigmoid(H W + b), stacked in one product
                g  = tanh(H W_g + b_g)
                m' = f * m + i * g
                h' = tanh(o * m')
    at each token and layer:
        h_time', m_time'   = LSTM_time([h_time ; h_depth], m_time)
        h_depth', m_depth' = LSTM_depth([h_time' ; h_depth], m_depth)

h_time and m_time are passed to the next token, from zeros; h_depth and m_depth to the next layer,
from h = x P_h + b_h and m = x P_m + b_m. Depth is computed after time, from its new state. The
output is h_depth of the last layer.

Source: Kalchbrenner, Danihelka & Graves 2015, "Grid Long Short-Term Memory", eq. 1 (the
LSTM) and section 3 (the grid, and dimensions in sequence)

For each layer and each of `time` and `depth` it records the gates, the memory and the output of
every step, as `layer 1 time forget`, `layer 2 depth memory`, `layer 1 time hidden` and so on.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from slotfill.config.option_types import Depth, Fraction, Size
from slotfill.model.cells.base import State
from slotfill.model.encoders.base import Encoder
from slotfill.model.layers import LockedDropout
from slotfill.model.recurrence import TimeMajorOrder, scan


class GridLSTM(Encoder):
    """Run an LSTM along time and one along depth; a stacked LSTM has only the first.

    hidden_size: hidden size of each dimension and direction.
    layers: number of layers along depth.
    bidirectional: concatenate the outputs of a forward and a backward pass.
    tied: share the weights between layers.
    forget_bias: initial bias of the forget gates; at 1 the memory is kept by default.
    dropout: dropout rate of the input.
    """

    def __init__(
        self,
        input_size: int,
        *,
        hidden_size: Size = 128,
        layers: Depth = 2,
        bidirectional: bool = True,
        tied: bool = False,
        forget_bias: float = 1.0,
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.output_size = hidden_size * self.directions
        self.dropout = LockedDropout(dropout)
        self.input_weight = nn.Parameter(torch.empty(self.directions, input_size, 2 * hidden_size))
        self.input_bias = nn.Parameter(torch.zeros(self.directions, 1, 2 * hidden_size))
        for weight in self.input_weight.detach():
            for block in weight.split(hidden_size, dim=1):
                nn.init.xavier_uniform_(block)
        sizes = (hidden_size, self.directions, forget_bias)
        num_lstms = 1 if tied else layers
        self.time = nn.ModuleList(_LSTM(*sizes) for _ in range(num_lstms))
        self.depth = nn.ModuleList(_LSTM(*sizes) for _ in range(num_lstms))
        self.layers = layers

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        order = TimeMajorOrder(lengths, x.shape[1], self.directions)
        steps = order.to_time_major(self.dropout(x))
        first = torch.baddbmm(self.input_bias, steps.flatten(1, 2), self.input_weight)
        h_depth, m_depth = first.unflatten(1, steps.shape[1:3]).chunk(2, dim=3)
        for layer in range(self.layers):
            along_time, along_depth = (
                cast(_LSTM, lstms[layer % len(lstms)]) for lstms in (self.time, self.depth)
            )
            h_time = self._along_time(along_time, h_depth, f"layer {layer + 1} time")
            # Along depth the steps are independent, so one product computes all of them.
            both = torch.cat((h_time, h_depth), dim=3)
            products = torch.baddbmm(along_depth.bias, both.flatten(1, 2), along_depth.weight)
            products = products.unflatten(1, both.shape[1:3])
            h_depth, m_depth = self._step(products, m_depth, f"layer {layer + 1} depth")
        return order.to_batch_major(h_depth)

    def _along_time(self, lstm: _LSTM, h_depth: Tensor, name: str) -> Tensor:
        """Return h_time' of all steps; as `h_depth`, it is `(direction, time, batch, hidden)`."""
        time_weight, depth_weight = lstm.weight.chunk(2, dim=1)
        projected = torch.baddbmm(lstm.bias, h_depth.flatten(1, 2), depth_weight)
        projected = projected.unflatten(1, h_depth.shape[1:3])

        def step(projected: Tensor, state: State) -> tuple[State, State]:
            h, m = state
            h, m = self._step(torch.baddbmm(projected, h, time_weight), m, name)
            return (h,), (h, m)

        zeros = torch.zeros_like(h_depth[:, 0])
        return scan(step, projected, (zeros, zeros))[0]

    def _step(self, x: Tensor, m: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Return h' and m' of one LSTM, for one step or, with `time` before `batch`, for all.

        `x` are pre-activations `(direction, batch, 4 * hidden)`, `m` is `(direction, batch,
        hidden)`, and `name` a prefix of the recorded activations.
        """
        size = m.shape[-1]
        i, f, o = x[..., : 3 * size].sigmoid().split(size, dim=-1)
        g = x[..., 3 * size :].tanh()
        m = torch.addcmul(f * m, i, g)
        h = (o * m).tanh()
        if self.activations is not None:
            kinds = ("input", "forget", "output", "candidate", "memory", "hidden")
            for kind, tensor in zip(kinds, (i, f, o, g, m, h), strict=True):
                for step in tensor.unbind(1) if tensor.dim() == 4 else [tensor]:
                    self.record(**{f"{name} {kind}": step})
        return h, m


class _LSTM(nn.Module):
    """Weights of one LSTM: `weight` `(direction, h_time then h_depth, 4 * hidden)` and `bias`."""

    def __init__(self, hidden_size: int, directions: int, forget_bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(directions, 2 * hidden_size, 4 * hidden_size))
        self.bias = nn.Parameter(torch.zeros(directions, 1, 4 * hidden_size))
        for weight in self.weight.detach():
            for block in weight[:hidden_size].split(hidden_size, dim=1):
                nn.init.orthogonal_(block)
            for block in weight[hidden_size:].split(hidden_size, dim=1):
                nn.init.xavier_uniform_(block)
        self.bias.detach()[:, :, hidden_size : 2 * hidden_size] = forget_bias
