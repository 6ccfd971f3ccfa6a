"""The check of the first step: a part whose options make numbers too large is named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from slotfill.errors import RunError
from slotfill.model.cells.base import Cell
from slotfill.model.ensemble import Model
from slotfill.model.generators.base import Generator
from slotfill.training.batches import Shard
from slotfill.training.data_parallel import Precision, shard_loss

_HUGE = 1e6
"""What no output of a part is near before training, in absolute terms."""

_PARTS = (
    ("embedding", "embeddings"),
    ("encoder", "encoders"),
    ("intent", "intent"),
    ("tagger", "tagger"),
)
"""The keys of the parts of a network in the order of computation, each with its attribute."""


def check_first_step(
    model: Model | Generator, loss: Tensor, shard: Shard, precision: Precision
) -> None:
    """Raise RunError if the loss or a gradient is not a number before any weight is changed."""
    keys: Iterable[str] = ()
    if not bool(loss.isfinite()):
        what = f"the loss became {loss:g}"
        if shard.batch is not None:
            keys = _find_huge(model, shard, precision)
    else:
        names = [
            name
            for name, weight in model.named_parameters()
            if weight.grad is not None and bool(weight.grad.isnan().any())
        ]
        if not names:
            return
        what = "a gradient became nan"
        # It passes from the part where it arises to those before.
        keys = (key for key, m in reversed(_PARTS) if any(f"{m}." in name for name in names))
    key = next(iter(keys), "generator" if isinstance(model, Generator) else "tagger")
    if key == "encoder" and any(isinstance(part, Cell) for part in model.modules()):
        key = "encoder and encoder.cell"
    raise RunError(
        f"{what} in step 1, before any weight was changed: see the options of {key}, which make"
        " numbers too large"
    )


def _find_huge(model: Model | Generator, shard: Shard, precision: Precision) -> list[str]:
    """Return the keys of the parts whose output is huge or not finite, in order.

    A huge one overflows in a later part.
    """
    found: list[str] = []

    def note(key: str, outputs: Any) -> None:
        tensors = outputs if isinstance(outputs, tuple) else (outputs,)
        if not all(bool((each.abs() < _HUGE).all()) for each in tensors):
            found.append(key)

    for member in model.members:
        for key, name in _PARTS:
            part = getattr(member, name)
            for module in part if isinstance(part, nn.ModuleList) else [part]:
                if module is not None:
                    module.register_forward_hook(lambda _, __, out, key=key: note(key, out))
    with torch.no_grad():
        shard_loss(model, shard, precision)
    return found
