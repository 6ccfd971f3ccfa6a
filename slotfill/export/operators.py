"""Translators from torch functions to ONNX operators, by the name of the function.

A translator takes the GraphBuilder `g`, the function's result `out` on the example, and the
function's arguments. It returns the name of the ONNX result, or a list of names if the function
returns several tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slotfill.export.builder import ExportError, GraphBuilder, SymbolicSize

OpTranslator = Callable[..., Any]
"""From `(g, out, *args, **kwargs)` to the name, or names, of the result."""


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


def _flat(sizes: Sequence[Any]) -> Sequence[int]:
    """Return sizes that were passed as one sequence or as several arguments."""
    return sizes[0] if isinstance(sizes[0], tuple | list) else sizes


def _reshape(g: GraphBuilder, out: Tensor, x: Tensor, *shape: Any) -> str:
    """Translate a reshape; a single symbolic size becomes -1, which needs no Shape node."""
    sizes = _flat(shape)
    if sum(isinstance(size, SymbolicSize) for size in sizes) == 1 and -1 not in sizes:
        sizes = [-1 if isinstance(size, SymbolicSize) else size for size in sizes]
    return g.add("Reshape", [g.name(x), g.sizes(sizes)])


def _transpose(g: GraphBuilder, out: Tensor, x: Tensor, a: int, b: int) -> str:
    order = list(range(x.dim()))
    order[a], order[b] = order[b], order[a]
    return g.add("Transpose", [g.name(x)], perm=order)


def _expand(g: GraphBuilder, out: Tensor, x: Tensor, *sizes: Any) -> str:
    kept = [1 if size == -1 else size for size in _flat(sizes)]
    return g.add("Expand", [g.name(x), g.sizes(kept)])


def _split(g: GraphBuilder, out: Sequence[Tensor], x: Tensor, _: Any, dim: int = 0) -> list[str]:
    """Translate split and chunk along an axis of fixed size."""
    g.require_fixed_size(x, dim)
    sizes = g.integers(piece.shape[dim] for piece in out)
    return g.add_node("Split", [g.name(x), sizes], len(out), axis=dim)


def _unbind(g: GraphBuilder, out: Sequence[Tensor], x: Tensor, dim: int = 0) -> list[str]:
    g.require_fixed_size(x, dim)
    indices = [g.constant(np.int64(index)) for index in range(len(out))]
    return [g.add("Gather", [g.name(x), index], axis=dim) for index in indices]


def _pad(
    g: GraphBuilder,
    out: Tensor,
    x: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: Any = None,
) -> str:
    """Translate padding: torch lists the last axis first, ONNX all starts and then all ends."""
    unpadded = [0] * (x.dim() - len(pad) // 2)
    pads = [*unpadded, *pad[-2::-2], *unpadded, *pad[::-2]]
    return g.add("Pad", [g.name(x), g.integers(pads), g.cast(value or 0, x.dtype)], mode=mode)


def _conv1d(
    g: GraphBuilder,
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> str:
    stride, padding, dilation = (
        value[0] if isinstance(value, tuple | list) else value
        for value in (stride, padding, dilation)
    )
    if isinstance(padding, str):
        total = dilation * (weight.shape[2] - 1) if padding == "same" else 0
        pads = [total // 2, total - total // 2]
    else:
        pads = [padding, padding]
    operands = [x, weight] if bias is None else [x, weight, bias]
    return g.add(
        "Conv",
        list(map(g.name, operands)),
        strides=[stride],
        pads=pads,
        dilations=[dilation],
        group=groups,
    )


def _unfold(g: GraphBuilder, out: Tensor, x: Tensor, dim: int, size: int, step: int) -> str:
    """Translate windows of `size` along `dim`; the offset within the window is the last axis."""
    starts = g.add("Range", [g.scalar(0), g.scalar(g.shape(x)[dim] - (size - 1)), g.scalar(step)])
    indices = g.add("Add", [g.add("Unsqueeze", [starts, g.integers([1])]), g.integers(range(size))])
    windows = g.add("Gather", [g.name(x), indices], axis=dim)
    axes = [axis for axis in range(x.dim() + 1) if axis != dim + 1]
    return g.add("Transpose", [windows], perm=[*axes, dim + 1])


def _getitem(g: GraphBuilder, out: Tensor, x: Tensor, index: Any) -> str:
    """Translate indexing by slices of step 1, integers and None, or by one int64 tensor."""
    if isinstance(index, Tensor) and index.dtype == torch.int64:
        return g.add("Gather", [g.name(x), g.name(index)], axis=0)
    items = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(i, Tensor) or getattr(i, "step", None) not in (None, 1) for i in items):
        raise ExportError("indexing by a mask, by several tensors or with a step")
    if Ellipsis in items:
        position = items.index(Ellipsis)
        num_indexed = sum(item is not None for item in items) - 1
        items[position : position + 1] = [slice(None)] * (x.dim() - num_indexed)
    name, axis = g.name(x), 0
    removed_axes: list[int] = []
    new_axes: list[int] = []
    for position, item in enumerate(items):
        if item is None:
            # Counted after the removal of the axes that an integer indexes.
            new_axes.append(position - len(removed_axes))
            continue
        if not isinstance(item, slice):
            name = g.add("Gather", [name, g.integers([item])], axis=axis)
            removed_axes.append(axis)
        elif item != slice(None):
            stop = np.iinfo(np.int64).max if item.stop is None else item.stop
            bounds = [g.size(item.start or 0), g.size(stop)]
            name = g.add("Slice", [name, *bounds, g.integers([axis])])
        axis += 1
    if removed_axes:
        name = g.add("Squeeze", [name, g.integers(removed_axes)])
    return g.add("Unsqueeze", [name, g.integers(new_axes)]) if new_axes else name


def _clamp(g: GraphBuilder, out: Tensor, x: Tensor, min: Any = None, max: Any = None) -> str:
    name = g.cast(x, out.dtype)
    for operator, limit in (("Max", min), ("Min", max)):
        if limit is not None:
            name = g.add(operator, [name, g.cast(limit, out.dtype)])
    return name


def _arange(g: GraphBuilder, out: Tensor, *ends: int, **_: Any) -> str:
    start, end, step = {1: (0, *ends, 1), 2: (*ends, 1), 3: ends}[len(ends)]
    return g.add("Range", [g.scalar(start), g.scalar(end), g.scalar(step)])


def _flip(g: GraphBuilder, out: Tensor, x: Tensor, *dims: Any) -> str:
    axes = _flat(dims)
    ends = [[-1] * len(axes), [np.iinfo(np.int64).min] * len(axes), axes, [-1] * len(axes)]
    return g.add("Slice", [g.name(x), *map(g.integers, ends)])


def _multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    size: int,
    heads: int,
    weight: Tensor | None,
    bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout: float,
    out_weight: Tensor,
    out_bias: Tensor | None,
    training: bool = False,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    **_: Any,
) -> tuple[Tensor, Tensor | None]:
    """Return what torch's function of `nn.MultiheadAttention` does; tensors are time-major."""
    if weight is None or bias_k is not None or add_zero_attn:
        raise ExportError("nn.MultiheadAttention with add_bias_kv, add_zero_attn, kdim or vdim")
    biases = [None] * 3 if bias is None else bias.chunk(3)
    q, k, v = (
        torch.nn.functional.linear(x, w, b).unflatten(2, (heads, -1)).permute(1, 2, 0, 3)
        for x, w, b in zip((query, key, value), weight.chunk(3), biases, strict=True)
    )
    scores = (size // heads) ** -0.5 * q @ k.transpose(2, 3)
    if key_padding_mask is not None:
        scores = scores + key_padding_mask[:, None, None]
    if attn_mask is not None:
        scores = scores + (
            attn_mask.unflatten(0, (-1, heads)) if attn_mask.dim() > 2 else attn_mask
        )
    weights = scores.softmax(3)
    read = (weights @ v).permute(2, 0, 1, 3).flatten(2)
    outputs = torch.nn.functional.linear(read, out_weight, out_bias)
    if not need_weights:
        return outputs, None
    return outputs, weights.mean(1) if average_attn_weights else weights


_UNARY = (
    "sigmoid tanh relu softplus softsign elu erf exp log sqrt neg abs reciprocal sin cos floor ceil"
    " round sign"
)

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
    "clamp clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda g, out, x, limit: _clamp(g, out, x, max=limit),
    "cumsum": lambda g, out, x, dim: g.add("CumSum", [g.name(x), g.constant(np.int64(dim))]),
    "softmax": _along_axis("Softmax"),
    "log_softmax": _along_axis("LogSoftmax"),
    "matmul bmm mm": lambda g, out, a, b: g.add("MatMul", [g.name(a), g.name(b)]),
    "layer_norm": lambda g, out, x, shape, weight, bias, eps=1e-5: g.add(
        "LayerNormalization", list(map(g.name, (x, weight, bias))), axis=-len(shape), epsilon=eps
    ),
    "view reshape": _reshape,
    "transpose": _transpose,
    "permute": lambda g, out, x, *order: g.add(
        "Transpose", [g.name(x)], perm=[axis % x.dim() for axis in _flat(order)]
    ),
    "expand": _expand,
    "unsqueeze": lambda g, out, x, dim: g.add("Unsqueeze", [g.name(x), g.integers([dim])]),
    "squeeze": lambda g, out, x, dim: (
        g.add("Squeeze", [g.name(x), g.integers([dim])]) if out.dim() < x.dim() else g.name(x)
    ),
    "cat": lambda g, out, tensors, dim=0: g.add(
        "Concat", [g.cast(tensor, out.dtype) for tensor in tensors], axis=dim
    ),
    "split chunk": _split,
    "unbind": _unbind,
    "flip": _flip,
    "einsum": lambda g, out, equation, *tensors: g.add(
        "Einsum", list(map(g.name, _flat(tensors))), equation=equation
    ),
    "pad": _pad,
    "conv1d": _conv1d,
    "unfold": _unfold,
    "getitem": _getitem,
    "index_select": lambda g, out, x, dim, index: g.add(
        "Gather", [g.name(x), g.name(index)], axis=dim
    ),
    "embedding": lambda g, out, ids, weight, *_, **__: g.add(
        "Gather", [g.name(weight), g.name(ids)]
    ),
    "gather": lambda g, out, x, dim, index: g.add(
        "GatherElements", [g.name(x), g.name(index)], axis=dim
    ),
    "where": lambda g, out, mask, a, b: g.add(
        "Where", [g.name(mask), g.cast(a, out.dtype), g.cast(b, out.dtype)]
    ),
    "new_full": lambda g, out, x, sizes, value, **_: g.add(
        "Expand", [g.cast(value, out.dtype), g.sizes(sizes)]
    ),
    "arange": _arange,
    "to float long type_as": lambda g, out, x, *_, **__: g.cast(x, out.dtype),
    "contiguous clone detach dropout": lambda g, out, x, *_, **__: g.name(x),
}

OPERATORS = {name: add for names, add in _TABLE.items() for name in names.split()}
"""The translator of each function of torch."""

_COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "ne": lambda a, b: ~(a == b),
    "square": lambda x: x * x,
    "logsigmoid log_sigmoid": lambda x: -torch.nn.functional.softplus(-x),
    "addcmul": lambda a, b, c: a + b * c,
    "addmm baddbmm": lambda a, b, c: a + b @ c,
    "linear": lambda x, w, bias=None: x @ w.T if bias is None else x @ w.T + bias,
    # torch uses b - (1 - w) * (b - a) where w > 0.5, which differs by rounding only.
    "lerp": lambda a, b, weight: a + weight * (b - a),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x, inplace=False: x * x.sigmoid(),
    "glu": lambda x, dim=-1: x.chunk(2, dim)[0] * x.chunk(2, dim)[1].sigmoid(),
    "leaky_relu": lambda x, negative_slope=0.01, inplace=False: torch.where(
        x > 0, x, negative_slope * x
    ),
    "rsqrt": lambda x: x.sqrt().reciprocal(),
    "logsumexp": lambda x, dim, keepdim=False: (
        (x - x.amax(dim, True)).exp().sum(dim, keepdim).log() + x.amax(dim, keepdim)
    ),
    "multi_head_attention_forward": _multi_head_attention,
    "masked_fill": lambda x, mask, value: torch.where(mask, value, x),
    "flatten": lambda x, start_dim=0, end_dim=-1: x.reshape(
        *x.shape[:start_dim], -1, *x.shape[end_dim % x.dim() + 1 :]
    ),
    "unflatten": lambda x, dim, sizes: x.reshape(
        *x.shape[: dim % x.dim()], *sizes, *x.shape[dim % x.dim() + 1 :]
    ),
    "stack": lambda tensors, dim=0: torch.cat([x.unsqueeze(dim) for x in tensors], dim),
    "expand_as": lambda x, other: x.expand(other.shape),
    "new_zeros": lambda x, *sizes, **options: x.new_full(_flat(sizes), 0, **options),
    "new_ones": lambda x, *sizes, **options: x.new_full(_flat(sizes), 1, **options),
    "zeros_like": lambda x, **options: x.new_full(x.shape, 0, **options),
    "ones_like": lambda x, **options: x.new_full(x.shape, 1, **options),
    "full_like": lambda x, value, **options: x.new_full(x.shape, value, **options),
}

COMPOSITIONS = {name: call for names, call in _COMPOSITIONS.items() for name in names.split()}
"""Functions of torch that are traced as others."""
