"""What torch's functions that shape, choose and make tensors are called in ONNX: entries of the
operators' table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from slotfill.export.dim import Dim, ExportError

if TYPE_CHECKING:
    from slotfill.export.tracer import Recorder

Record = Callable[..., Any]


def _reshaped(r: Recorder, x: Tensor, sizes: Sequence[int]) -> str:
    """With one size that differs from batch to batch it is told as -1, which no operator has to
    look up.
    """
    free = [place for place, size in enumerate(sizes) if isinstance(size, Dim)]
    if len(free) == 1 and -1 not in sizes:
        sizes = [-1 if place in free else size for place, size in enumerate(sizes)]
    return r.add("Reshape", [r.name(x), r.sizes(sizes)])


def _view(r: Recorder, out: Tensor, x: Tensor, *sizes: Any) -> str:
    return _reshaped(r, x, sizes[0] if isinstance(sizes[0], tuple | list) else sizes)


def _flatten(r: Recorder, out: Tensor, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> str:
    shape = r.shape(x)
    end = end_dim % len(shape)
    return _reshaped(r, x, [*shape[:start_dim], -1, *shape[end + 1 :]])


def _unflatten(r: Recorder, out: Tensor, x: Tensor, dim: int, sizes: Sequence[int]) -> str:
    shape = r.shape(x)
    place = dim % len(shape)
    return _reshaped(r, x, [*shape[:place], *sizes, *shape[place + 1 :]])


def _transpose(r: Recorder, out: Tensor, x: Tensor, a: int, b: int) -> str:
    order = list(range(x.dim()))
    order[a], order[b] = order[b], order[a]
    return r.add("Transpose", [r.name(x)], perm=order)


def _permute(r: Recorder, out: Tensor, x: Tensor, *order: Any) -> str:
    axes = order[0] if isinstance(order[0], tuple | list) else order
    return r.add("Transpose", [r.name(x)], perm=[axis % x.dim() for axis in axes])


def _expand(r: Recorder, out: Tensor, x: Tensor, *sizes: Any) -> str:
    given = sizes[0] if isinstance(sizes[0], tuple | list) else sizes
    return r.add("Expand", [r.name(x), r.sizes([1 if size == -1 else size for size in given])])


def _expand_as(r: Recorder, out: Tensor, x: Tensor, other: Tensor) -> str:
    return r.add("Expand", [r.name(x), r.sizes(r.shape(other))])


def _unsqueeze(r: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    return r.add("Unsqueeze", [r.name(x), r.numbers([dim])])


def _squeeze(r: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    return r.add("Squeeze", [r.name(x), r.numbers([dim])]) if out.dim() < x.dim() else r.name(x)


def _cat(r: Recorder, out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> str:
    return r.add("Concat", [r.cast(tensor, out.dtype) for tensor in tensors], axis=dim)


def _stack(r: Recorder, out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> str:
    raised = [r.add("Unsqueeze", [r.cast(each, out.dtype), r.numbers([dim])]) for each in tensors]
    return r.add("Concat", raised, axis=dim)


def _pieces(r: Recorder, out: Sequence[Tensor], x: Tensor, _: Any, dim: int = 0) -> list[str]:
    """Of split and chunk: their sizes are those of the example, which are the same in every batch
    or an error.
    """
    sizes = [r.shape_along(x, piece, dim) for piece in out]
    return r.graph.add("Split", [r.name(x), r.numbers(sizes)], len(out), axis=dim)


def _unbind(r: Recorder, out: Sequence[Tensor], x: Tensor, dim: int = 0) -> list[str]:
    r.shape_along(x, x, dim)
    return [
        r.add("Gather", [r.name(x), r.constant(np.int64(place))], axis=dim)
        for place in range(len(out))
    ]


def _pad(
    r: Recorder,
    out: Tensor,
    x: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: Any = None,
) -> str:
    """torch names the last axis first, ONNX all beginnings and then all ends."""
    axes = x.dim()
    begins, ends = [0] * axes, [0] * axes
    for place in range(len(pad) // 2):
        begins[axes - 1 - place], ends[axes - 1 - place] = pad[2 * place : 2 * place + 2]
    return r.add(
        "Pad", [r.name(x), r.numbers(begins + ends), r.cast(value or 0, x.dtype)], mode=mode
    )


def _unfold(r: Recorder, out: Tensor, x: Tensor, dim: int, size: int, step: int) -> str:
    """Windows of `size` along `dim`; the place within the window comes last."""
    first = r.add("Range", [r.scalar(0), r.scalar(r.shape(x)[dim] - (size - 1)), r.scalar(step)])
    places = r.add("Add", [r.add("Unsqueeze", [first, r.numbers([1])]), r.numbers(range(size))])
    windows = r.add("Gather", [r.name(x), places], axis=dim)
    axes = list(range(x.dim() + 1))
    return r.add(
        "Transpose", [windows], perm=[axis for axis in axes if axis != dim + 1] + [dim + 1]
    )


# Choosing


def _getitem(r: Recorder, out: Tensor, x: Tensor, index: Any) -> str:
    """Slices of step 1, single places, new axes, or one tensor of places in the first axis."""
    if isinstance(index, Tensor) and index.dtype == torch.int64:
        return r.add("Gather", [r.name(x), r.name(index)], axis=0)
    items = list(index) if isinstance(index, tuple) else [index]
    if any(
        isinstance(each, Tensor) or (isinstance(each, slice) and each.step not in (None, 1))
        for each in items
    ):
        raise ExportError("choosing by a mask, by several tensors or with a step")
    if Ellipsis in items:
        place = items.index(Ellipsis)
        taken = sum(each is not None for each in items) - 1
        items[place : place + 1] = [slice(None)] * (x.dim() - taken)
    name, axis = r.name(x), 0
    single: list[int] = []
    new: list[int] = []
    for place, each in enumerate(items):
        if each is None:
            # Counted without the axes that a single place takes away.
            new.append(place - len(single))
            continue
        if isinstance(each, slice):
            if each.start is not None or each.stop is not None:
                start = 0 if each.start is None else each.start
                stop = np.iinfo(np.int64).max if each.stop is None else each.stop
                name = r.add("Slice", [name, r.size(start), r.size(int(stop) if each.stop is None else stop),
                                       r.numbers([axis])])  # fmt: skip
        else:
            name = r.add("Gather", [name, r.numbers([each])], axis=axis)
            single.append(axis)
        axis += 1
    if single:
        name = r.add("Squeeze", [name, r.numbers(single)])
    return r.add("Unsqueeze", [name, r.numbers(new)]) if new else name


def _index_select(r: Recorder, out: Tensor, x: Tensor, dim: int, index: Tensor) -> str:
    return r.add("Gather", [r.name(x), r.name(index)], axis=dim)


def _embedding(r: Recorder, out: Tensor, ids: Tensor, weight: Tensor, *_: Any, **__: Any) -> str:
    return r.add("Gather", [r.name(weight), r.name(ids)])


def _gather(r: Recorder, out: Tensor, x: Tensor, dim: int, index: Tensor) -> str:
    return r.add("GatherElements", [r.name(x), r.name(index)], axis=dim)


def _where(r: Recorder, out: Tensor, mask: Tensor, a: Any, b: Any) -> str:
    return r.add("Where", [r.name(mask), r.cast(a, out.dtype), r.cast(b, out.dtype)])


def _masked_fill(r: Recorder, out: Tensor, x: Tensor, mask: Tensor, value: Any) -> str:
    return _where(r, out, mask, value, x)


# New tensors


def _filled(r: Recorder, out: Tensor, sizes: Sequence[int], value: Any) -> str:
    return r.add("Expand", [r.cast(value, out.dtype), r.sizes(sizes)])


def _new(value: float) -> Record:
    def record(r: Recorder, out: Tensor, x: Tensor, *sizes: Any, **_: Any) -> str:
        return _filled(r, out, sizes[0] if isinstance(sizes[0], tuple | list) else sizes, value)

    return record


def _like(value: float) -> Record:
    return lambda r, out, x, **_: _filled(r, out, r.shape(x), value)


def _full_like(r: Recorder, out: Tensor, x: Tensor, value: Any, **_: Any) -> str:
    return _filled(r, out, r.shape(x), value)


def _arange(r: Recorder, out: Tensor, *ends: int, **_: Any) -> str:
    start, end, step = {1: (0, *ends, 1), 2: (*ends, 1), 3: ends}[len(ends)]
    return r.add("Range", [r.scalar(start), r.scalar(end), r.scalar(step)])


def _to(r: Recorder, out: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return r.cast(x, out.dtype)


def _same(r: Recorder, out: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return r.name(x)


def _numel(r: Recorder, x: Tensor) -> int:
    size: int = 1
    for each in r.shape(x):
        size = each * size
    return size


NAMED: dict[str, Record] = {"numel": _numel}
"""What gives a size rather than a tensor."""

SHAPES: dict[str, Record] = {
    "view": _view,
    "reshape": _view,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "transpose": _transpose,
    "permute": _permute,
    "expand": _expand,
    "expand_as": _expand_as,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "cat": _cat,
    "stack": _stack,
    "split": _pieces,
    "chunk": _pieces,
    "unbind": _unbind,
    "pad": _pad,
    "unfold": _unfold,
    "getitem": _getitem,
    "index_select": _index_select,
    "embedding": _embedding,
    "gather": _gather,
    "where": _where,
    "masked_fill": _masked_fill,
    "new_zeros": _new(0),
    "new_ones": _new(1),
    "zeros_like": _like(0),
    "ones_like": _like(1),
    "full_like": _full_like,
    "arange": _arange,
    "to": _to,
    "float": _to,
    "long": _to,
    "type_as": _to,
    "contiguous": _same,
    "clone": _same,
    "detach": _same,
    "dropout": _same,
}
