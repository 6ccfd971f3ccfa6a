"""Translators from torch functions to ONNX operators, by the name of the function.

A translator takes the GraphBuilder `g`, the function's result `out` on the example, and the
function's arguments. It returns the name of the ONNX result, or a list of names if the function
returns several tensors.
"""

from __future__ import annotations

from collections.abc import Callable
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


def _comparison(operator: str) -> OpTranslator:
    def translate(g: GraphBuilder, out: Tensor, a: Any, b: Any) -> str:
        dtype = torch.result_type(a, b)
        return g.add(operator, [g.cast(a, dtype), g.cast(b, dtype)])

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


_UNARY = "sigmoid tanh relu softplus softsign elu erf exp log sqrt neg abs reciprocal sin cos"

_TABLE: dict[str, OpTranslator] = {
    **{name: _unary(name.title()) for name in _UNARY.split()},
    "invert logical_not": _unary("Not"),
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
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "amin": _reduction("ReduceMin"),
    "argmax": lambda g, out, x, dim, keepdim=False: g.add(
        "ArgMax", [g.name(x)], axis=dim, keepdims=int(keepdim)
    ),
    "softmax": _along_axis("Softmax"),
    "log_softmax": _along_axis("LogSoftmax"),
    "matmul bmm mm": lambda g, out, a, b: g.add("MatMul", [g.name(a), g.name(b)]),
    "layer_norm": lambda g, out, x, shape, weight, bias, eps=1e-5: g.add(
        "LayerNormalization", list(map(g.name, (x, weight, bias))), axis=-len(shape), epsilon=eps
    ),
}

OPERATORS = SHAPE_OPERATORS | {name: add for names, add in _TABLE.items() for name in names.split()}
"""The translator of each function of torch."""

_COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "ne": lambda a, b: ~(a == b),
    "square": lambda x: x * x,
    "addcmul": lambda a, b, c: a + b * c,
    "addmm baddbmm": lambda a, b, c: a + b @ c,
    "linear": lambda x, w, bias=None: x @ w.T if bias is None else x @ w.T + bias,
    # torch uses b - (1 - w) * (b - a) where w > 0.5, which differs by rounding only.
    "lerp": lambda a, b, weight: a + weight * (b - a),
    "masked_fill": lambda x, mask, value: torch.where(mask, value, x),
    "flatten": lambda x, start_dim=0, end_dim=-1: x.reshape(
        *x.shape[:start_dim], -1, *x.shape[end_dim % x.dim() + 1 :]
    ),
    "unflatten": lambda x, dim, sizes: x.reshape(
        *x.shape[: dim % x.dim()], *sizes, *x.shape[dim % x.dim() + 1 :]
    ),
    "stack": lambda tensors, dim=0: torch.cat([x.unsqueeze(dim) for x in tensors], dim),
    "expand_as": lambda x, other: x.expand(other.shape),
    "zeros_like": lambda x, **options: x.new_full(x.shape, 0, **options),
    "ones_like": lambda x, **options: x.new_full(x.shape, 1, **options),
    "full_like": lambda x, value, **options: x.new_full(x.shape, value, **options),
}

COMPOSITIONS = {name: call for names, call in _COMPOSITIONS.items() for name in names.split()}
"""Functions of torch that are traced as others."""
