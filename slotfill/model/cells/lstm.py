"""Long short-term memory: a cell that gates let write, keep and read; and its published variants,
by key.

    i   = sigmoid(x_t W_i + h_{t-1} U_i + p_i * c_{t-1} + b_i)
    f   = sigmoid(x_t W_f + h_{t-1} U_f + p_f * c_{t-1} + b_f)     or 1 - i, if coupled
    g   = a(x_t W_g + r * (h_{t-1} U_g) + b_g)
    c_t = f * c_{t-1} + i * g
    o   = sigmoid(x_t W_o + h_{t-1} U_o + p_o * c_t + b_o)
    h_t = o * b(c_t)

The peepholes p, one weight a memory cell, are there if asked for; so is the relevance gate r,
computed as i without peephole, and 1 otherwise. A gate that is left out is 1. With gate recurrence
i, f and o of the step before, joined, times one more matrix are added to the products of i, f and
o. The activations a and b are tanh.

Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; forget gate: Gers, Schmidhuber &
Cummins 2000;
peepholes: Gers & Schmidhuber 2000; the variants: Greff et al. 2015, "LSTM: A Search Space Odyssey"
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from slotfill.errors import ConfigError
from slotfill.model.cells._lstm_function import LSTMPass
from slotfill.model.cells.base import (
    ONNX_ACTIVATIONS,
    Cell,
    OnnxRecurrentOp,
    State,
    apply_activation,
    xavier_parameter,
)


class LSTM(Cell):
    """Keep a memory c that changes by sums, so that gradients last.

    forget_bias: what the forget gate's bias starts from; at 1 the cell keeps what it has until it
    learns
        otherwise (Jozefowicz et al. 2015, section 2.2).
    peepholes: which gates see their own memory cell, the input and forget gates the old one, the
    output gate the new.
    coupled: what is forgotten is what is written anew, f = 1 - i.
    input_gate: there is an input gate.
    forget_gate: there is a forget gate.
    output_gate: there is an output gate.
    relevance_gate: a gate chooses what the candidate sees of the last output, as a GRU's reset gate
    does.
    gate_recurrence: the gates see what the gates were a step before.
    input_activation: the function a, of the candidate.
    output_activation: the function b, of the memory as it is read.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        directions: int = 1,
        *,
        forget_bias: float = 1.0,
        peepholes: Literal["none", "all"] | list[Literal["input", "forget", "output"]] = "none",
        coupled: bool = False,
        input_gate: bool = True,
        forget_gate: bool = True,
        output_gate: bool = True,
        relevance_gate: bool = False,
        gate_recurrence: bool = False,
        input_activation: Literal["tanh", "sigmoid", "relu", "linear"] = "tanh",
        output_activation: Literal["tanh", "sigmoid", "relu", "linear"] = "tanh",
    ) -> None:
        if coupled and not (input_gate and forget_gate):
            raise ConfigError("coupled: couples the input and the forget gate; leave neither out")
        present = {
            "input": input_gate,
            "forget": forget_gate and not coupled,
            "output": output_gate,
        }
        gates = [gate for gate, there in present.items() if there]
        if gate_recurrence and not gates:
            raise ConfigError("gate_recurrence: there is no gate to see another; leave one in")
        seeing = {"none": [], "all": gates}[peepholes] if isinstance(peepholes, str) else peepholes
        if absent := set(seeing) - set(gates):
            raise ConfigError(
                f"peepholes: there is no {min(absent)} gate here (there are: {', '.join(gates)})"
            )
        named = (*gates, *(["relevance"] if relevance_gate else []), "candidate")
        super().__init__(input_size, hidden_size, directions, num_gates=len(named))
        self.gates = named
        self.coupled = coupled
        self.input_activation = input_activation
        self.output_activation = output_activation
        self.peepholes = nn.ParameterDict(
            {gate: torch.zeros(directions, 1, hidden_size) for gate in sorted(seeing)}
        )
        self.recurrent_gates = len(gates) * hidden_size if gate_recurrence else 0
        if gate_recurrence:
            self.gate_weight = xavier_parameter(
                directions, self.recurrent_gates, self.recurrent_gates
            )
        for gate, bias in zip(
            self.gates, self.bias.detach().split(hidden_size, dim=2), strict=True
        ):
            if gate == "forget":
                bias.fill_(forget_bias)
            elif gate == "input" and coupled:
                bias.fill_(-forget_bias)

    def initial_state(self, projected: Tensor) -> State:
        """Return h_0 and c_0, zeros, and with gate recurrence the gates before, zeros `(direction,
        batch, gates)`.
        """
        zeros = projected.new_zeros(*projected.shape[:2], self.hidden_size)
        if not self.recurrent_gates:
            return zeros, zeros
        return zeros, zeros, projected.new_zeros(*projected.shape[:2], self.recurrent_gates)

    def step(self, projected: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t, and (h_t, c_t), with gate recurrence (h_t, c_t, gates), as the state."""
        h, c, *gates_before = state
        size = self.hidden_size
        products = torch.baddbmm(projected, h, self.recurrent_weight)
        for before in gates_before:
            seen = torch.baddbmm(products[..., : self.recurrent_gates], before, self.gate_weight)
            products = torch.cat((seen, products[..., self.recurrent_gates :]), dim=2)
        names = self.gates[:-1]
        products, g = products.split([len(names) * size, size], dim=2)
        gates: dict[str, Tensor] = {}
        waiting: dict[str, Tensor] = {}
        if self.peepholes:
            waiting = dict(zip(names, products.split(size, dim=2), strict=True))
            self._open(gates, waiting, c, "input", "forget", "relevance")
        elif names:
            # None waits for a memory, so one call opens them all.
            gates = dict(zip(names, products.sigmoid().split(size, dim=2), strict=True))
        if "relevance" in gates:
            # From the candidate without h_{t-1} towards the one with it.
            g = torch.lerp(projected[..., -size:], g, gates["relevance"])
        g = apply_activation(self.input_activation, g)
        if self.coupled:
            c = torch.lerp(c, g, gates["input"])
            if self.activations is not None:
                self.record(forget=1 - gates["input"])
        else:
            kept = gates["forget"] * c if "forget" in gates else c
            c = torch.addcmul(kept, gates["input"], g) if "input" in gates else kept + g
        self._open(gates, waiting, c, "output")
        h = apply_activation(self.output_activation, c)
        if "output" in gates:
            h = gates["output"] * h
        self.record(**gates, candidate=g, memory=c)
        recurrent = [gates[gate] for gate in self.gates if gate in ("input", "forget", "output")]
        return h, (h, c, torch.cat(recurrent, dim=2)) if self.recurrent_gates else (h, c)

    def _open(
        self, gates: dict[str, Tensor], products: dict[str, Tensor], memory: Tensor, *names: str
    ) -> None:
        """Put into `gates` those of `names` that are in `products`; they may see `memory`."""
        for name in names:
            if name in products:
                product = products[name]
                if name in self.peepholes:
                    product = torch.addcmul(product, self.peepholes[name], memory)
                gates[name] = product.sigmoid()

    def forward_sequence(self, x: Tensor) -> Tensor | None:
        """Return all outputs of the plain LSTM, while it trains on a processor."""
        plain = self.gates == ("input", "forget", "output", "candidate") and not self.peepholes
        plain &= (
            not self.recurrent_gates and self.input_activation == self.output_activation == "tanh"
        )
        quick = (
            plain
            and torch.is_grad_enabled()
            and x.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
        )
        if not quick:
            return None
        found: Tensor = LSTMPass.apply(x, self.input_weight, self.recurrent_weight, self.bias)
        return found

    def onnx_operator(self) -> OnnxRecurrentOp | None:
        """Return the operator LSTM, which has all three gates and neither relevance, gate
        recurrence nor `linear`.
        """
        needed = {"input", "output"} if self.coupled else {"input", "forget", "output"}
        activations = (self.input_activation, self.output_activation)
        if (
            set(self.gates) != needed | {"candidate"}
            or self.recurrent_gates
            or "linear" in activations
        ):
            return None
        places = {gate: place for place, gate in enumerate(self.gates)}
        order = ("input", "output", "forget")
        peepholes = None
        if self.peepholes:
            none = torch.zeros(len(self.bias), 1, self.hidden_size)
            peepholes = torch.cat(
                [self.peepholes.get(gate, none) for gate in order], dim=2
            ).squeeze(1)
        return OnnxRecurrentOp(
            "LSTM",
            self,
            tuple(places.get(gate) for gate in (*order, "candidate")),
            ("Sigmoid", *(ONNX_ACTIVATIONS[activation] for activation in activations)),
            {"input_forget": int(self.coupled)},
            peepholes=peepholes,
        )
