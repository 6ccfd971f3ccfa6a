"""Long short-term memory and its published variants.

    i   = sigmoid(x_t W_i + h_{t-1} U_i + p_i * c_{t-1} + b_i)
    f   = sigmoid(x_t W_f + h_{t-1} U_f + p_f * c_{t-1} + b_f)     or 1 - i, if coupled
    g   = a(x_t W_g + r * (h_{t-1} U_g) + b_g)
    c_t = f * c_{t-1} + i * g
    o   = sigmoid(x_t W_o + h_{t-1} U_o + p_o * c_t + b_o)
    h_t = o * b(c_t)

Peepholes p, one weight per memory cell, are optional; if they are `previous`, o too sees c_{t-1}.
So is the relevance gate r, computed like i without peephole; by default r is 1. If it is `before`,
it is applied before the product, (r * h_{t-1}) U_g. A gate that is disabled is 1. With gate
recurrence, the previous i, f and o are concatenated, multiplied by one more matrix and added to the
pre-activations of i, f and o. The activations a and b are tanh by default.

The default is the LSTM that Olah draws. Ng calls i the update gate Γu and h the activation a; his
a = Γo * c is `output_activation: linear`, his peepholes are `peepholes: previous`, and his
relevance gate is `relevance_gate: before`.

Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; forget gate: Gers, Schmidhuber &
Cummins 2000; peepholes: Gers & Schmidhuber 2000; variants: Greff et al. 2015, "LSTM: A Search Space
Odyssey"; Olah 2015, "Understanding LSTM Networks"; Ng, "Sequence Models" (Coursera), week 1
"""

from itertools import compress
from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.errors import ConfigError
from slotfill.model.cells._lstm_function import LSTMFunction
from slotfill.model.cells.base import (
    Cell,
    OnnxRecurrentOp,
    State,
    apply_activation,
    xavier_parameter,
)


class LSTM(Cell):
    """Update a memory c additively, so that gradients do not vanish.

    forget_bias: initial bias of the forget gate; at 1 the cell remembers by default (Jozefowicz et
        al. 2015, section 2.2).
    peepholes: gates with a peephole; the input and forget gates see c_{t-1}, the output gate c_t
        (Gers); with `previous` all gates have one and see c_{t-1} (Ng).
    coupled: couple the forget gate to the input gate, f = 1 - i.
    input_gate: have an input gate.
    forget_gate: have a forget gate.
    output_gate: have an output gate.
    relevance_gate: gate what the candidate sees of h_{t-1}, like a GRU's reset gate: true after the
        recurrent product, `before` as Ng does.
    gate_recurrence: the gates see the gates of the previous step.
    input_activation: the activation a of the candidate.
    output_activation: the activation b of the memory.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        forget_bias: float = 1.0,
        peepholes: Literal["none", "all", "previous"]
        | list[Literal["input", "forget", "output"]] = "none",
        coupled: bool = False,
        input_gate: bool = True,
        forget_gate: bool = True,
        output_gate: bool = True,
        relevance_gate: Literal[False, True, "before"] = False,
        gate_recurrence: bool = False,
        input_activation: Literal["tanh", "sigmoid", "relu", "linear"] = "tanh",
        output_activation: Literal["tanh", "sigmoid", "relu", "linear"] = "tanh",
    ) -> None:
        if coupled and not (input_gate and forget_gate):
            raise ConfigError("needs both input_gate and forget_gate", key="coupled")
        present = (input_gate, forget_gate and not coupled, output_gate)
        gates = list(compress(("input", "forget", "output"), present))
        if gate_recurrence and not gates:
            raise ConfigError("needs at least one gate", key="gate_recurrence")
        peephole_gates: set[str] = set()
        if peepholes != "none":
            peephole_gates = set(peepholes if isinstance(peepholes, list) else gates)
        if absent := peephole_gates - set(gates):
            raise ConfigError(
                f"there is no {min(absent)} gate here (there are: {', '.join(gates)})",
                key="peepholes",
            )
        self.gates = (*gates, *(["relevance"] if relevance_gate else []), "candidate")
        super().__init__(input_size, hidden_size, directions)
        self.coupled = coupled
        self.relevance_gate = relevance_gate
        self.output_sees_new_memory = bool(peephole_gates) and peepholes != "previous"
        self.input_activation = input_activation
        self.output_activation = output_activation
        self.peepholes = nn.ParameterDict(
            {gate: torch.zeros(directions, 1, hidden_size) for gate in sorted(peephole_gates)}
        )
        self.gate_recurrence_size = len(gates) * hidden_size if gate_recurrence else 0
        self.state_sizes = (hidden_size, hidden_size)
        if size := self.gate_recurrence_size:
            self.state_sizes = (hidden_size, hidden_size, size)
            self.gate_weight = xavier_parameter(directions, size, size)
        for gate, bias in zip(
            self.gates, self.bias.detach().split(hidden_size, dim=2), strict=True
        ):
            if gate == "forget":
                bias.fill_(forget_bias)
            elif gate == "input" and coupled:
                bias.fill_(-forget_bias)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, c_t) or, with gate recurrence, (h_t, c_t, gates) as the state."""
        h, c, *previous_gates = state
        size = self.hidden_size
        x = torch.baddbmm(projected, h, self.recurrent_weight)
        if previous_gates:
            sizes = (self.gate_recurrence_size, x.shape[2] - self.gate_recurrence_size)
            recurrent, rest = x.split(sizes, dim=2)
            recurrent = torch.baddbmm(recurrent, previous_gates[0], self.gate_weight)
            x = torch.cat((recurrent, rest), dim=2)
        names = self.gates[:-1]
        x, g = x.split([len(names) * size, size], dim=2)
        gates: dict[str, Tensor] = {}
        if self.peepholes:
            inputs = dict(zip(names, x.split(size, dim=2), strict=True))
            first = [name for name in names if name != "output" or not self.output_sees_new_memory]
            gates = {name: self._gate(name, inputs[name], c) for name in first}
        elif names:
            # No gate depends on the memory, so one call computes them all.
            gates = dict(zip(names, x.sigmoid().split(size, dim=2), strict=True))
        if self.relevance_gate == "before":
            relevant = gates["relevance"] * h
            g = torch.baddbmm(projected[..., -size:], relevant, self.recurrent_weight[..., -size:])
        elif self.relevance_gate:
            # Interpolate from the candidate without h_{t-1} to the one with it.
            g = torch.lerp(projected[..., -size:], g, gates["relevance"])
        g = apply_activation(self.input_activation, g)
        if self.coupled:
            c = torch.lerp(c, g, gates["input"])
            if self.activations is not None:
                self.record(forget=1 - gates["input"])
        else:
            if "forget" in gates:
                c = gates["forget"] * c
            c = torch.addcmul(c, gates["input"], g) if "input" in gates else c + g
        if self.output_sees_new_memory and "output" in names:
            gates["output"] = self._gate("output", inputs["output"], c)
        h = apply_activation(self.output_activation, c)
        if "output" in gates:
            h = gates["output"] * h
        self.record(**gates, candidate=g, memory=c)
        if not self.gate_recurrence_size:
            return h, (h, c)
        recurrent_gates = [gates[name] for name in ("input", "forget", "output") if name in gates]
        return h, (h, c, torch.cat(recurrent_gates, dim=2))

    def _gate(self, name: str, x: Tensor, memory: Tensor) -> Tensor:
        """Return a gate from its input and, if it has a peephole, the memory."""
        if name in self.peepholes:
            x = torch.addcmul(x, self.peepholes[name], memory)
        return x.sigmoid()

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        """Return the outputs of the LSTM without variants, in training on the CPU."""
        if (
            self.gates != ("input", "forget", "output", "candidate")
            or self.peepholes
            or self.gate_recurrence_size
            or not self.input_activation == self.output_activation == "tanh"
            or not torch.is_grad_enabled()
            or x.device.type != "cpu"
            or torch.is_autocast_enabled("cpu")
        ):
            return None
        h: Tensor = LSTMFunction.apply(x, self.input_weight, self.recurrent_weight, self.bias)
        return h

    def onnx_operator(self) -> OnnxRecurrentOp | None:
        """Return the operator LSTM; it has three gates, no other and no linear activation.

        The peephole of its output gate sees the new memory.
        """
        needed = {"input", "output"} if self.coupled else {"input", "forget", "output"}
        activations = (self.input_activation, self.output_activation)
        has_other_gates = set(self.gates) != needed | {"candidate"} or self.gate_recurrence_size
        other_peepholes = self.peepholes and not self.output_sees_new_memory
        if has_other_gates or other_peepholes or "linear" in activations:
            return None
        indices = {gate: index for index, gate in enumerate(self.gates)}
        order = ("input", "output", "forget")
        peepholes = None
        if self.peepholes:
            zeros = self.bias.new_zeros(len(self.bias), self.hidden_size)
            weights = {gate: weight.squeeze(1) for gate, weight in self.peepholes.items()}
            peepholes = torch.cat([weights.get(gate, zeros) for gate in order], dim=1)
        return OnnxRecurrentOp(
            "LSTM",
            self,
            tuple(indices.get(gate) for gate in (*order, "candidate")),
            ("Sigmoid", *(activation.capitalize() for activation in activations)),
            {"input_forget": int(self.coupled)},
            peepholes=peepholes,
        )
