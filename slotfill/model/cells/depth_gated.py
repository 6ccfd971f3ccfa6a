"""Depth-gated LSTM: a gate connects the memory of the lower layer to this layer's memory.

    i, f, o = sigmoid(x_t W + h_{t-1} U + b), stacked in one product
    g       = tanh(x_t W_g + h_{t-1} U_g + b_g)
    d       = sigmoid(x_t W_d + b_d + w_c * c_{t-1} + w_l * l_t)
    c_t     = d * l_t + f * c_{t-1} + i * g
    h_t     = o * tanh(c_t)

x_t is this layer's input, l_t the memory c_t of the lower layer; the first layer has neither d nor
l_t. The paper's i, f and o have peepholes; here they do not, so that the depth gate is the only
difference from `lstm`.

Source: Yao, Cohn, Vylomova, Duh & Dyer 2015, "Depth-Gated Recurrent Neural Networks"
"""

import torch
from torch import Tensor, nn

from slotfill.model.cells.base import Cell, State


class DepthGated(Cell):
    """Update a memory c additively along time and, above the first layer, along depth.

    forget_bias: initial bias of the forget gate, as in `lstm`.
    """

    gates: tuple[str, ...] = ("input", "forget", "output", "candidate")
    takes_lower_memory = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        has_lower_layer: bool = False,
        *,
        forget_bias: float = 1.0,
    ) -> None:
        if has_lower_layer:
            self.gates = (*self.gates, "depth")
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=4)
        self.state_sizes = (hidden_size, hidden_size)
        self.bias.detach()[:, :, hidden_size : 2 * hidden_size] = forget_bias
        self.has_lower_layer = has_lower_layer
        if has_lower_layer:
            self.memory_weight = nn.Parameter(torch.zeros(directions, 1, hidden_size))
            self.lower_memory_weight = nn.Parameter(torch.zeros(directions, 1, hidden_size))

    def project(self, x: Tensor) -> Tensor:
        """Return the input projection, followed by the lower memory if there is a lower layer."""
        if not self.has_lower_layer:
            return super().project(x)
        x, lower_memory = x.split([x.shape[2] - self.hidden_size, self.hidden_size], dim=2)
        return torch.cat((super().project(x), lower_memory), dim=2)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, c_t) as the state."""
        h, c = state
        size = self.hidden_size
        inputs, *depth = projected.split(
            [4 * size, size, size] if self.has_lower_layer else 4 * size, dim=2
        )
        gates, g = torch.baddbmm(inputs, h, self.recurrent_weight).split([3 * size, size], dim=2)
        i, f, o = gates.sigmoid().split(size, dim=2)
        g = g.tanh()
        new = torch.addcmul(f * c, i, g)
        if self.has_lower_layer:
            depth_input, lower_memory = depth
            d = torch.addcmul(depth_input, c, self.memory_weight)
            d = torch.addcmul(d, lower_memory, self.lower_memory_weight).sigmoid()
            new = torch.addcmul(new, d, lower_memory)
            self.record(depth=d)
        h = o * new.tanh()
        self.record(input=i, forget=f, output=o, candidate=g, memory=new)
        return h, (h, new)
