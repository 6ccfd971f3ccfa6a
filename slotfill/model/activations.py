"""Trace: what goes on inside a part while it computes, for those who want to look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Notes = dict[str, list[Tensor]]


class Traced(nn.Module):
    """A part that names its inner numbers as it computes them; unless it is traced, that costs
    nothing.
    """

    notes: Notes | None = None

    def note(self, **tensors: Tensor) -> None:
        """Keep each tensor under its name, behind those of the calls before; only while traced."""
        if self.notes is not None:
            for name, tensor in tensors.items():
                self.notes.setdefault(name, []).append(tensor.detach())


@contextmanager
def traced(module: nn.Module) -> Iterator[dict[str, Notes]]:
    """Trace all parts in `module` within the `with` block; what is given fills up as they compute.

    Its keys are the parts' names within `module`, in their order.
    """
    parts = {name: part for name, part in module.named_modules() if isinstance(part, Traced)}
    notes: dict[str, Notes] = {name: {} for name in parts}
    for name, part in parts.items():
        part.notes = notes[name]
    try:
        yield notes
    finally:
        for part in parts.values():
            del part.notes
