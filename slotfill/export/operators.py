"""Translators from torch functions to ONNX operators, by the name of the function.

A translator takes the GraphBuilder `g`, the function's result `out` on the example, and the
function's arguments. It returns the name of the ONNX result, or a list of names if the function
returns several tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from slotfill.export.builder import GraphBuilder
from slotfill.export.shape_ops import SHAPE_OPERATORS, OpTranslator


def _unary(operator: str) -> OpTranslator:
    return lambda g, out, x, **_: g.add(operator, [g.name(x)])


def _binary(operator: str) -> OpTranslator:
    """Translate a binary operation; operands are cast to the result's dtype."""
    return lambda g, out, a, b: g.add(operator, [g.cast(a, out.dtype), g.cast(b, out.dtype)])


def _remainder(g: GraphBuilder, out: Tensor, a: Any, b: Any) -> str:
    """Translate the remainder with the sign of `b`, which ONNX has for integers only."""
    x, y = g.cast(a, out.dtype), g.cast(b, out.dtype)
    if not out.dtype.is_floating_point:
        return g.add("Mod", [x, y])
    return g.add("Sub", [x, g.add("Mul", [y, g.add("Floor", [g.add("Div", [x, y])])])])


def _comparison(*operators: str) -> OpTranslator:
    def translate(g: GraphBuilder, out: Tensor, a: Any, b: Any) -> str:
        dtype = torch.result_type(a, b)
        name = g.add(operators[0], [g.cast(a, dtype), g.cast(b, dtype)])
        return g.add(operators[1], [name]) if operators[1:] else name

    return translate


def _reduction(operator: str) -> OpTranslator:
    """Translate a reduction; ONNX takes the axes of a sum as an input, others as an attribute."""

    def translate(
        g: GraphBuilder, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False
    ) -> str:
        axes = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
        if operator == "ReduceSum":
            return g.add(operator, [g.cast(x, out.dtype), g.integers(axes)], keepdims=int(keepdim))
        return g.add(operator, [g.name(x)], axes=list(axes), keepdims=int(keepdim))

    return translate


def _along_axis(operator: str) -> OpTranslator:
    return lambda g, out, x, dim, *_, **__: g.add(operator, [g.name(x)], axis=dim)


def _matmul(g: GraphBuilder, out: Tensor, a: Tensor, b: Tensor) -> str:
    return g.add("MatMul", [g.name(a), g.name(b)])


def _linear(
    g: GraphBuilder, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> str:
    product = _matmul(g, out, x, weight.T)
    return product if bias is None else g.add("Add", [product, g.name(bias)])


def _lerp(g: GraphBuilder, out: Tensor, a: Tensor, b: Tensor, weight: Tensor) -> str:
    # torch uses b - (1 - w) * (b - a) where w > 0.5, which differs by rounding only.
    difference = g.add("Sub", [g.name(b), g.name(a)])
    return g.add("Add", [g.name(a), g.add("Mul", [g.cast(weight, out.dtype), difference])])


def _layer_norm(
    g: GraphBuilder,
    out: Tensor,
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
) -> str:
    inputs = [g.name(x), g.name(weight), g.name(bias)]
    return g.add("LayerNormalization", inputs, axis=-len(shape), epsilon=eps)


_UNARY = "sigmoid tanh relu softplus softsign elu erf exp log sqrt neg abs reciprocal sin cos"

_TABLE: dict[str, OpTranslator] = {
    **{name: _unary(name.title()) for name in _UNARY.split()},
    "invert logical_not": _unary("Not"),
    "square": lambda g, out, x: g.add("Mul", [g.name(x), g.name(x)]),
    "add radd": _binary("Add"),
    "sub": _binary("Sub"),
    "rsub": lambda g, out, a, b: _binary("Sub")(g, out, b, a),
    "mul rmul": _binary("Mul"),
    "div truediv": _binary("Div"),
    "rdiv rtruediv": lambda g, out, a, b: _binary("Div")(g, out, b, a),
    "remainder mod": _remainder,
    "pow": _binary("Pow"),
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    "and bitwise_and logical_and": _binary("And"),
    "or bitwise_or logical_or": _binary("Or"),
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
    "argmax": lambda g, out, x, dim, keepdim=False: g.add(
        "ArgMax", [g.name(x)], axis=dim, keepdims=int(keepdim)
    ),
    "softmax": _along_axis("Softmax"),
    "log_softmax": _along_axis("LogSoftmax"),
    "matmul bmm mm": _matmul,
    "addmm baddbmm": lambda g, out, a, b, c: g.add("Add", [g.name(a), _matmul(g, out, b, c)]),
    "linear": _linear,
    "addcmul": lambda g, out, a, b, c: g.add(
        "Add", [g.name(a), g.add("Mul", [g.name(b), g.name(c)])]
    ),
    "lerp": _lerp,
    "layer_norm": _layer_norm,
}

OPERATORS = SHAPE_OPERATORS | {name: add for names, add in _TABLE.items() for name in names.split()}
"""The translator of each function of torch."""
