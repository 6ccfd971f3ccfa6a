"""torch's own layers for the cells that they compute: on a device a call of cuDNN instead of a loop
over time.
"""

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
"""From an operator of ONNX and its activations to torch's function, and which of its products
stands at each place.
"""


def fused(cell: Cell, x: Tensor) -> Tensor | None:
    """Return the outputs `(direction, time, batch, hidden)` of `cell` over `x` `(direction, time,
    batch, input)`.

    Or None where no layer of torch's computes it.
    """
    operator = cell.onnx_operator()
    if operator is None or operator.peepholes is not None or None in operator.gate_order:
        return None
    # Coupled gates, and a reset before the product, are of ONNX alone.
    if (
        operator.attributes.get("input_forget")
        or operator.attributes.get("linear_before_reset") == 0
    ):
        return None
    if (operator.name, operator.activations) not in _LAYERS:
        return None
    layer, order = _LAYERS[operator.name, operator.activations]
    input_weight, recurrent_weight, biases = operator.weights()
    tensors = (input_weight, recurrent_weight, *biases.chunk(2, dim=1))
    start = x.new_zeros(1, x.shape[2], cell.hidden_size)
    state = (start, start) if operator.name == "LSTM" else start
    outputs = []
    for direction, steps in enumerate(x):
        blocks = [each[direction].split(cell.hidden_size) for each in tensors]
        weights = [torch.cat([each[place] for place in order]) for each in blocks]
        outputs.append(
            layer(steps, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)[0]
        )
    return torch.stack(outputs)
