"""Sizes that differ from batch to batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slotfill.export.tracer import Recorder


class ExportError(Exception):
    """What a network does cannot be said in ONNX, or not yet by us."""


class Dim(int):
    """A size that is another in another batch; as a number it is the example's."""

    twin: int
    name: Callable[[], str]
    recorder: Recorder

    def _with(
        self, other: Any, operator: str, compute: Callable[[int, int], int], turned: bool = False
    ) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        pairs = [(int(self), int(other)), (self.twin, twin_of(other))]
        value, twin = (compute(b, a) if turned else compute(a, b) for a, b in pairs)
        recorder = self.recorder

        def name() -> str:
            names = [recorder.size(self), recorder.size(other)]
            return recorder.add(operator, names[::-1] if turned else names)

        return recorder.dim(value, twin, name)

    def __add__(self, other: Any) -> Any:
        return self._with(other, "Add", int.__add__)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return self._with(other, "Mul", int.__mul__)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return self._with(other, "Sub", int.__sub__)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, "Sub", int.__sub__, turned=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, "Div", int.__floordiv__)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(other, "Div", int.__floordiv__, turned=True)


def twin_of(size: int) -> int:
    """Return how long in the twin is what is `size` long in the example."""
    return size.twin if isinstance(size, Dim) else size
