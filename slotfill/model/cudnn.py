"""torch's own recurrent layers, for the cells that they can compute: one cuDNN call on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from slotfill.model.cells.base import Cell

_LAYERS: dict[tuple[str, tuple[str, ...]], tuple[Callable[..., Any], tuple[int, ...]]] = {
    ("LSTM", ("Sigmoid", "Tanh", "Tanh")): (torch.lstm, (0, 2, 3, 1)),
    ("GRU", ("Sigmoid", "Tanh")): (torch.gru, (1, 0, 2)),
    ("RNN", ("Tanh",)): (torch.rnn_tanh, (0,)),
    ("RNN", ("Relu",)): (torch.rnn_relu, (0,)),
}
"""By ONNX operator and activations: torch's function, and its order of the operator's gates."""


def run_torch_layer(cell: Cell, x: Tensor) -> Tensor | None:
    """Return the outputs `(direction, time, batch, hidden)` of `cell`, by a layer of torch.

    None if no layer of torch computes this cell. `x` is `(direction, time, batch, input)`.
    """
    operator = cell.onnx_operator()
    if operator is None or operator.peepholes is not None or None in operator.gate_order:
        return None
    # Only ONNX has coupled gates and a reset before the product.
    attributes = operator.attributes
    if attributes.get("input_forget") or attributes.get("linear_before_reset") == 0:
        return None
    if (operator.name, operator.activations) not in _LAYERS:
        return None
    layer, gate_order = _LAYERS[operator.name, operator.activations]
    input_weight, recurrent_weight, biases = operator.weights()
    zeros = x.new_zeros(1, x.shape[2], cell.hidden_size)
    state = (zeros, zeros) if operator.name == "LSTM" else zeros
    outputs = []
    for direction, steps in enumerate(x):
        weights = []
        for tensor in (input_weight, recurrent_weight, *biases.chunk(2, dim=1)):
            gates = tensor[direction].split(cell.hidden_size)
            weights.append(torch.cat([gates[index] for index in gate_order]))
        trains = torch.is_grad_enabled()
        outputs.append(layer(steps, state, weights, True, 1, 0.0, trains, False, False)[0])
    return torch.stack(outputs)
