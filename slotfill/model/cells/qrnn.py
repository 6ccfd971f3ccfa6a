"""Quasi-recurrent network: a convolution over the last tokens, then elementwise pooling over time.

    z_t, f_t, o_t, i_t = tanh, sigmoid, sigmoid, sigmoid(sum over k < window of x_{t-k} W_k + b)
    h_t = f_t * h_{t-1} + (1 - f_t) * z_t                    pooling: f
    c_t = f_t * c_{t-1} + (1 - f_t) * z_t;  h_t = o_t * c_t  pooling: fo
    c_t = f_t * c_{t-1} + i_t * z_t;        h_t = o_t * c_t  pooling: ifo

Source: Bradbury, Merity, Xiong & Socher 2017, "Quasi-Recurrent Neural Networks"
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from slotfill.config.option_types import Depth
from slotfill.model.cells.base import State, xavier_parameter
from slotfill.model.linear_recurrence import LinearCell


class QRNN(LinearCell):
    """Pool candidates by gates; candidates and gates see a window of the last tokens.

    window: number of tokens that candidates and gates see, up to the current one.
    forget_bias: initial bias of the forget gate; above 0 the cell remembers more than it writes.
    pooling: gates of the recurrence, by initials: forget; forget and output; or with an input gate.
    """

    gates: tuple[str, ...] = ("forget", "candidate", "output")
    gate_meanings: ClassVar[dict[str, str]] = {"forget": "1 keeps the old memory"}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        window: Depth = 2,
        forget_bias: float = 0.0,
        pooling: Literal["f", "fo", "ifo"] = "fo",
    ) -> None:
        if pooling == "f":
            self.gates = ("forget", "candidate")
        elif pooling == "ifo":
            self.gates = ("forget", "candidate", "output", "input")
        super().__init__(input_size, hidden_size, directions, num_recurrent_gates=0)
        self.bias.detach()[:, :, :hidden_size] = forget_bias
        self.size = len(self.gates) * hidden_size
        self.window = window
        if window > 1:
            # The products of a token for the steps after it, the next one first.
            self.later_weight = xavier_parameter(directions, input_size, (window - 1) * self.size)
            self.state_sizes = (hidden_size, (window - 1) * self.size)

    def project(self, x: Tensor) -> Tensor:
        """Return the products of each token for its own step, then those for the steps after it."""
        own = super().project(x)
        return own if self.window == 1 else torch.cat((own, torch.bmm(x, self.later_weight)), dim=2)

    def coefficients(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        f, z, *_ = projected.split(self.hidden_size, dim=-1)
        f, z = f.sigmoid(), z.tanh()
        self.record(forget=f, candidate=z)
        if "input" not in self.gates:
            return f, z - f * z
        i = projected[..., -self.hidden_size :].sigmoid()
        self.record(input=i)
        return f, i * z

    def output(self, projected: Tensor, memory: Tensor) -> Tensor:
        """Return the memory, multiplied by the output gate if there is one."""
        if "output" not in self.gates:
            return memory
        o = projected.split(self.hidden_size, dim=-1)[2].sigmoid()
        self.record(output=o, memory=memory)
        return o * memory

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (c_t, sums of products for the steps that follow) as the state."""
        if self.window == 1:
            return super().step(projected, state)
        c, sums = state
        own, later = projected.split([self.size, (self.window - 1) * self.size], dim=2)
        h, (c,) = super().step(own + sums[..., : self.size], (c,))
        return h, (c, later + pad(sums[..., self.size :], (0, self.size)))

    def forward_projected(self, projected: Tensor) -> Tensor:
        """Return the outputs of all steps, each with the products of the tokens before it."""
        total, *later = projected.split(self.size, dim=3)
        for distance, products in enumerate(later, start=1):
            shifted = pad(products, (0, 0, 0, 0, distance, 0))
            total = total + shifted[:, : projected.shape[1]]
        return super().forward_projected(total)
