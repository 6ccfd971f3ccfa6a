"""Trace: what goes on inside a part while it computes, for those who want to look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Activations = dict[str, list[Tensor]]


class RecordsActivations(nn.Module):
    """A part that names its inner numbers as it computes them; unless they are being recorded, that costs
    nothing.
    """

    activations: Activations | None = None

    def record(self, **tensors: Tensor) -> None:
        """Keep each tensor under its name, behind those of the calls before; only while they are recorded."""
        if self.activations is not None:
            for name, tensor in tensors.items():
                self.activations.setdefault(name, []).append(tensor.detach())


@contextmanager
def record_activations(module: nn.Module) -> Iterator[dict[str, Activations]]:
    """Trace all parts in `module` within the `with` block; what is given fills up as they compute.

    Its keys are the parts' names within `module`, in their order.
    """
    parts = {
        name: part for name, part in module.named_modules() if isinstance(part, RecordsActivations)
    }
    notes: dict[str, Activations] = {name: {} for name in parts}
    for name, part in parts.items():
        part.activations = notes[name]
    try:
        yield notes
    finally:
        for part in parts.values():
            del part.activations
