"""Record the inner activations of a network's parts, such as gates and attention weights."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Activations = dict[str, list[Tensor]]
"""By name, the tensors of all calls, in order."""


class RecordsActivations(nn.Module):
    """A part that records its activations by name, at no cost outside `record_activations`."""

    activations: Activations | None = None

    def record(self, **tensors: Tensor) -> None:
        """Append each tensor under its name, if activations are being recorded."""
        if self.activations is not None:
            for name, tensor in tensors.items():
                self.activations.setdefault(name, []).append(tensor.detach())


@contextmanager
def record_activations(module: nn.Module) -> Iterator[dict[str, Activations]]:
    """Record the activations of all parts of `module` within the `with` block, by part name."""
    modules = module.named_modules()
    parts = {name: part for name, part in modules if isinstance(part, RecordsActivations)}
    recorded: dict[str, Activations] = {name: {} for name in parts}
    for name, part in parts.items():
        part.activations = recorded[name]
    try:
        yield recorded
    finally:
        for part in parts.values():
            del part.activations
