"""Weights side by side: all parameters of a network in one vector, so that one call serves them
all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from slotfill.model.ensemble import Model

_ALIGNED = 16
"""Each parameter begins at a multiple of so many numbers, as the products of a processor like it.
"""


def trained(model: Model) -> list[nn.Parameter]:
    """Return the parameters that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def stretches(model: Model, learning_rate: float) -> list[tuple[int, int, float]]:
    """Return the stretches of the vector of all weights that have one learning rate: start, end and
    rate.

    The rate is that of the module they are in, where it has a `learning_rate` of its own, else that
    given.
    """
    rates: dict[nn.Parameter, float] = {}
    for module in model.modules():
        if (rate := getattr(module, "learning_rate", None)) is not None:
            rates.update(dict.fromkeys(module.parameters(), rate))
    found: list[tuple[int, int, float]] = []
    place = 0
    for parameter in trained(model):
        start, rate = place, rates.get(parameter, learning_rate)
        place += -(-parameter.numel() // _ALIGNED) * _ALIGNED
        if found and found[-1][2] == rate:
            start = found.pop()[0]
        found.append((start, place, rate))
    return found


def joined(
    parameters: Sequence[nn.Parameter], zeros: Callable[[int, Tensor], Tensor] | None = None
) -> Tensor:
    """Move `parameters` into one vector, of which each is a part from then on, and return it.

    `zeros` makes a vector of a size and like another tensor, where it is to stand in memory of its
    own kind.
    """
    size = sum(-(-parameter.numel() // _ALIGNED) * _ALIGNED for parameter in parameters)
    vector = zeros(size, parameters[0]) if zeros else parameters[0].new_zeros(size)
    for part, parameter in zip(parts(vector, parameters), parameters, strict=True):
        part.copy_(parameter.detach())
        parameter.data = part
    return vector


def parts(vector: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of a vector laid out as that of `parameters`, each of the shape of its
    parameter.
    """
    found, place = [], 0
    for parameter in parameters:
        found.append(vector[place : place + parameter.numel()].view_as(parameter))
        place += -(-parameter.numel() // _ALIGNED) * _ALIGNED
    return found


def copied(model: Model) -> Model:
    """Return a copy with weights of its own, and the same vocabulary."""
    return copy.deepcopy(model, {id(indexer): indexer for indexer in model.indexers})
