"""What torch's functions are called in ONNX: a table, by the name of the function.

Each entry takes the recorder, what the function gave for the example, and the function's own
arguments, and returns the name of what it adds, or a list of names where the function gives several
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slotfill.export.shapes import SHAPES, Record

if TYPE_CHECKING:
    from slotfill.export.tracer import Recorder


def _unary(operator: str) -> Record:
    return lambda r, out, x, **_: r.add(operator, [r.name(x)])


def _binary(operator: str) -> Record:
    """Of two tensors, or a tensor and a number; either is made of the type that the result has."""
    return lambda r, out, a, b: r.add(operator, [r.cast(a, out.dtype), r.cast(b, out.dtype)])


def _reflected(operator: str) -> Record:
    return lambda r, out, a, b: r.add(operator, [r.cast(b, out.dtype), r.cast(a, out.dtype)])


def _remainder(r: Recorder, out: Tensor, a: Any, b: Any) -> str:
    """Of the sign of b; ONNX has that of whole numbers alone."""
    x, y = r.cast(a, out.dtype), r.cast(b, out.dtype)
    if not out.dtype.is_floating_point:
        return r.add("Mod", [x, y])
    return r.add("Sub", [x, r.add("Mul", [y, r.add("Floor", [r.add("Div", [x, y])])])])


def _comparison(*operators: str) -> Record:
    def record(r: Recorder, out: Tensor, a: Any, b: Any) -> str:
        kind = torch.result_type(a, b)
        name = r.add(operators[0], [r.cast(a, kind), r.cast(b, kind)])
        return r.add(operators[1], [name]) if operators[1:] else name

    return record


def _reduction(operator: str) -> Record:
    """Over some axes, or all; ONNX takes those of a sum as an input, those of the others as an
    attribute.
    """

    def record(r: Recorder, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
        axes = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
        if operator == "ReduceSum":
            return r.add(operator, [r.cast(x, out.dtype), r.numbers(axes)], keepdims=int(keepdim))
        return r.add(operator, [r.name(x)], axes=list(axes), keepdims=int(keepdim))

    return record


def _along(operator: str) -> Record:
    return lambda r, out, x, dim, *_, **__: r.add(operator, [r.name(x)], axis=dim)


def _argmax(r: Recorder, out: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> str:
    return r.add("ArgMax", [r.name(x)], axis=dim, keepdims=int(keepdim))


# Products


def _matmul(r: Recorder, out: Tensor, a: Tensor, b: Tensor) -> str:
    return r.add("MatMul", [r.name(a), r.name(b)])


def _added(r: Recorder, out: Tensor, a: Any, b: Tensor, c: Tensor) -> str:
    return r.add("Add", [r.name(a), _matmul(r, out, b, c)])


def _linear(r: Recorder, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    product = _matmul(r, out, x, weight.T)
    return product if bias is None else r.add("Add", [product, r.name(bias)])


def _addcmul(r: Recorder, out: Tensor, a: Tensor, b: Tensor, c: Tensor) -> str:
    return r.add("Add", [r.name(a), r.add("Mul", [r.name(b), r.name(c)])])


def _lerp(r: Recorder, out: Tensor, a: Tensor, b: Tensor, weight: Tensor) -> str:
    # As a + w * (b - a); torch turns it round where w is above a half, which rounds otherwise and
    # no more.
    difference = r.add("Sub", [r.name(b), r.name(a)])
    return r.add("Add", [r.name(a), r.add("Mul", [r.cast(weight, out.dtype), difference])])


def _square(r: Recorder, out: Tensor, x: Tensor) -> str:
    return r.add("Mul", [r.name(x), r.name(x)])


def _layer_norm(
    r: Recorder,
    out: Tensor,
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
) -> str:
    return r.add(
        "LayerNormalization",
        [r.name(x), r.name(weight), r.name(bias)],
        axis=-len(shape),
        epsilon=eps,
    )


OPERATORS: dict[str, Record] = {
    **SHAPES,
    **{
        name: _unary(name.title())
        for name in ("sigmoid", "tanh", "relu", "exp", "log", "sqrt", "neg", "abs", "erf")
    },
    **{name: _unary(name.title()) for name in ("softplus", "elu", "reciprocal", "sin", "cos")},
    "softsign": _unary("Softsign"),
    "invert": _unary("Not"),
    "logical_not": _unary("Not"),
    "square": _square,
    "add": _binary("Add"),
    "radd": _binary("Add"),
    "sub": _binary("Sub"),
    "rsub": _reflected("Sub"),
    "mul": _binary("Mul"),
    "rmul": _binary("Mul"),
    "div": _binary("Div"),
    "truediv": _binary("Div"),
    "rdiv": _reflected("Div"),
    "rtruediv": _reflected("Div"),
    "remainder": _remainder,
    "mod": _remainder,
    "pow": _binary("Pow"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "and": _binary("And"),
    "or": _binary("Or"),
    "bitwise_and": _binary("And"),
    "bitwise_or": _binary("Or"),
    "logical_and": _binary("And"),
    "logical_or": _binary("Or"),
    "lt": _comparison("Less"),
    "gt": _comparison("Greater"),
    "le": _comparison("LessOrEqual"),
    "ge": _comparison("GreaterOrEqual"),
    "eq": _comparison("Equal"),
    "ne": _comparison("Equal", "Not"),
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "amin": _reduction("ReduceMin"),
    "argmax": _argmax,
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
    "matmul": _matmul,
    "bmm": _matmul,
    "mm": _matmul,
    "addmm": _added,
    "baddbmm": _added,
    "linear": _linear,
    "addcmul": _addcmul,
    "lerp": _lerp,
    "layer_norm": _layer_norm,
}
