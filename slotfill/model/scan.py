"""Scan over time, as one function that the ONNX exporter turns into a Scan operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensors], tuple[Tensors, Tensors]]
"""From one slice of the inputs and the state: the outputs and the next state."""


def scan(step: Step, inputs: Tensor, state: Tensors, axis: int = 1) -> Tensors:
    """Return the outputs of `step` along `axis` of `inputs`, each stacked along axis 1.

    All steps return tensors of the same shapes. A step may read outer variables; its results leave
    only by its outputs.
    """
    if has_torch_function((inputs,)):
        return handle_torch_function(scan, (inputs,), step, inputs, state, axis)
    outputs = []
    for step_input in inputs.unbind(axis):
        output, state = step(step_input, state)
        outputs.append(output)
    return tuple(torch.stack(tensors, dim=1) for tensors in zip(*outputs, strict=True))
