"""Linear recurrent unit, a linear state-space model: complex memories that decay and rotate.

    a   = exp(-exp(log_decay) + i exp(log_phase)),  |a| < 1
    c_t = a * c_{t-1} + exp(log_gain) * (x_t B)              complex
    y_t = Re(c_t C) + x_t D + b
    h_t = y_t                                                output: linear
    h_t = (g P + p) * sigmoid(g Q + q),  g = gelu(y_t)       output: glu

At first |a| is between min_radius and max_radius, uniformly over that ring of the complex plane,
and exp(log_gain) = sqrt(1 - |a|^2).

Source: Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", section 3
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function

from slotfill.errors import ConfigError
from slotfill.model.cells.base import Cell, State, xavier_parameter
from slotfill.model.linear_recurrence import linear_scan
from slotfill.model.recurrence import scan


class LRU(Cell):
    """Sum the inputs in complex memories with a fixed decay and rotation for each unit.

    output: `glu`, a gated linear unit after the recurrence, or `linear`.
    min_radius: smallest initial magnitude of a.
    max_radius: largest initial magnitude of a, at most 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        output: Literal["glu", "linear"] = "glu",
        min_radius: float = 0.0,
        max_radius: float = 1.0,
    ) -> None:
        if not 0 <= min_radius < max_radius <= 1:
            raise ConfigError(
                f"must be at least 0 and less than max_radius, which is at most 1, found"
                f" {min_radius:g} and max_radius {max_radius:g}",
                key="min_radius",
            )
        # The real and the imaginary part of B, and D.
        super().__init__(input_size, hidden_size, directions, 3, num_recurrent_gates=0)
        self.bias = nn.Parameter(torch.zeros(directions, 1, hidden_size))
        self.state_sizes = (2 * hidden_size,)
        # Neither 0 nor 1, whose logarithms are infinite or 0; in double precision for radii near 1.
        area, turn = torch.empty(2, directions, 1, hidden_size).double().uniform_(1e-4, 1 - 1e-4)
        radius = (min_radius**2 + area * (max_radius**2 - min_radius**2)).sqrt()
        self.log_decay = nn.Parameter((-radius.log()).log().float())
        self.log_phase = nn.Parameter((2 * math.pi * turn).log().float())
        self.log_gain = nn.Parameter(((1 - radius**2).log() / 2).float())
        # The real part of C, and minus its imaginary part.
        self.memory_weight = xavier_parameter(directions, 2 * hidden_size, hidden_size)
        self.glu_weight = self.glu_bias = None
        if output == "glu":
            self.glu_weight = xavier_parameter(directions, hidden_size, 2 * hidden_size)
            self.glu_bias = nn.Parameter(torch.zeros(directions, 1, 2 * hidden_size))

    def project(self, x: Tensor) -> Tensor:
        """Return the real and imaginary parts of what is added to c_t, and x_t D + b."""
        gain = self.log_gain.exp()
        scale = torch.cat((gain, gain, torch.ones_like(gain)), dim=2)
        bias = nn.functional.pad(self.bias, (2 * self.hidden_size, 0))
        return torch.baddbmm(bias, x, self.input_weight * scale)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and the real and imaginary parts of c_t as the state."""
        inputs, direct = projected.split([2 * self.hidden_size, self.hidden_size], dim=2)
        c = self._next_memory(inputs, *state)
        self.record(memory=c)
        return self._output(c, direct), (c,)

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        projected = self.project(x.flatten(1, 2))
        inputs, direct = projected.split([2 * self.hidden_size, self.hidden_size], dim=2)
        inputs = inputs.unflatten(1, x.shape[1:3])
        if has_torch_function((x,)):

            def step(inputs: Tensor, state: State) -> tuple[State, State]:
                c = self._next_memory(inputs, *state)
                return (c,), (c,)

            # The exporter: ONNX has no complex numbers.
            (c,) = scan(step, inputs, (torch.zeros_like(inputs[:, 0]),))
        else:
            a = torch.complex(*self._coefficients()).unsqueeze(1)
            # There are no complex numbers in bfloat16.
            b = torch.complex(*inputs.to(self.bias.dtype).split(self.hidden_size, dim=3))
            memory = linear_scan(a.expand_as(b), b)
            c = torch.cat((memory.real, memory.imag), dim=3)
        return self._output(c.flatten(1, 2), direct).unflatten(1, x.shape[1:3])

    def _coefficients(self) -> tuple[Tensor, Tensor]:
        """Return the real and the imaginary part of a."""
        radius, phase = (-self.log_decay.exp()).exp(), self.log_phase.exp()
        return radius * phase.cos(), radius * phase.sin()

    def _next_memory(self, inputs: Tensor, c: Tensor) -> Tensor:
        """Return the real and imaginary parts of a * c + inputs."""
        a_real, a_imaginary = self._coefficients()
        real, imaginary = c.split(self.hidden_size, dim=2)
        product = torch.cat(
            (a_real * real - a_imaginary * imaginary, a_real * imaginary + a_imaginary * real),
            dim=2,
        )
        return inputs + product

    def _output(self, memory: Tensor, direct: Tensor) -> Tensor:
        y = torch.baddbmm(direct, memory, self.memory_weight)
        if self.glu_weight is None or self.glu_bias is None:
            return y
        y = nn.functional.gelu(y)
        value, gate = torch.baddbmm(self.glu_bias, y, self.glu_weight).chunk(2, dim=2)
        return value * gate.sigmoid()
