"""A loop over time, as one function that who records a network, to write it in another form, sees
as a loop.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensors], tuple[Tensors, Tensors]]
"""From what stands at one place, and the state before it, to what it gives and the state after it.
"""


def scan(step: Step, inputs: Tensor, state: Tensors, axis: int = 1) -> Tensors:
    """Return what `step` gives at each place of `inputs` along `axis`, each kind of it stacked
    along axis 1.

    A step's tensors are of the same shapes everywhere. What it computes from may be looked up from
    outside the loop, but what comes out leaves by its outputs alone.
    """
    if has_torch_function((inputs,)):
        return handle_torch_function(scan, (inputs,), step, inputs, state, axis)
    given = []
    for each in inputs.unbind(axis):
        outputs, state = step(each, state)
        given.append(outputs)
    return tuple(torch.stack(tensors, dim=1) for tensors in zip(*given, strict=True))
