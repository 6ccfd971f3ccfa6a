"""OnnxTracer: run a network on an example and translate the torch functions it calls to ONNX.

Each call is repeated on an alternate example of other sizes: sizes that agree in both are constants
of the graph, the others are computed when it runs. Loops over time (`scan`) become
Scan nodes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import torch
from onnx import helper
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slotfill.export.builder import ExportError, GraphBuilder
from slotfill.export.operators import COMPOSITIONS, OPERATORS
from slotfill.model.cells.base import Cell, State
from slotfill.model.recurrence import Step, TimeMajorOrder, run_layer, run_layer_stepwise, scan

_VALUES = {
    *("__bool__", "__int__", "__float__", "__complex__", "__index__", "__contains__", "__array__"),
    *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose"),
}
"""Functions that read the values of a tensor, which are those of the example only."""


class OnnxTracer(TorchFunctionMode):
    """Within its `with` block, whatever is computed from its inputs is added to its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.builder = GraphBuilder()
        self.input = self.builder.trace
        self.model = self.builder.model

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(map(self.builder.is_traced, _leaves((args, kwargs)))):
            return function(*args, **kwargs)
        if function is scan:
            return self._scan(*args, **kwargs)
        if function is run_layer:
            return self._recurrent_layer(*args, **kwargs)
        return self._call(function, args, kwargs)

    def _call(self, function: Any, args: Any, kwargs: Any) -> Any:
        builder = self.builder
        property_getter = function.__name__ == "__get__"
        name = (function.__self__ if property_getter else function).__name__.strip("_")
        if not property_getter and function.__name__ in _VALUES:
            raise ExportError(f"it reads the values of a tensor by {name}(), as a branch does")
        if name in ("shape", "size"):
            sizes = builder.shape(args[0])
            return sizes[args[1]] if args[1:] else sizes
        if name == "numel":
            return math.prod(builder.shape(args[0]))
        if name in COMPOSITIONS:
            try:
                inspect.signature(COMPOSITIONS[name]).bind(*args, **kwargs)
            except TypeError:
                raise _unknown_arguments(name) from None
            with self:
                return COMPOSITIONS[name](*args, **kwargs)
        result = function(*args, **kwargs)
        alternate = function(*builder.alternate(args), **builder.alternate(kwargs))
        if not any(isinstance(leaf, Tensor) for leaf in _leaves(result)):
            if alternate == result:
                return result
            raise ExportError(f"{name}() gives a number that varies between batches")
        if name not in OPERATORS:
            raise ExportError(f"there is no ONNX operator for torch's {name}()")
        try:
            names = OPERATORS[name](builder, result, *args, **kwargs)
        except TypeError:
            raise _unknown_arguments(name) from None
        if isinstance(result, Tensor):
            return builder.trace(names, result, alternate)
        for traced in zip(names, result, alternate, strict=True):
            builder.trace(*traced)
        return result

    def _scan(self, step: Step, inputs: Tensor, state: State, axis: int = 1) -> State:
        """Add a Scan node whose body is one step."""
        builder = self.builder
        names = [builder.name(tensor) for tensor in (*state, inputs)]
        examples = (*state, inputs.select(axis, 0))
        alternates = (*builder.alternate(state), builder.alternate(inputs).select(axis, 0))
        outer, builder.nodes = builder.nodes, []
        arguments = [
            builder.trace(builder.unique_name("step"), example.clone(), alternate.clone())
            for example, alternate in zip(examples, alternates, strict=True)
        ]
        with self:
            outputs, next_state = step(arguments[-1], tuple(arguments[:-1]))
        for before, after in zip(state, next_state, strict=True):
            if before.dtype != after.dtype or before.shape != after.shape:
                raise ExportError("a loop whose state changes its dtype or shape")
        results = (*next_state, *outputs)
        # A body may return neither an outer tensor nor one tensor twice, so each is copied.
        copies = [builder.add("Identity", [builder.name(result)]) for result in results]
        body = helper.make_graph(
            builder.nodes,
            builder.unique_name("body"),
            list(map(builder.value_info, map(builder.name, arguments), arguments)),
            list(map(builder.value_info, copies, results)),
        )
        builder.nodes = outer
        scanned = builder.add_node(
            "Scan",
            names,
            len(results),
            body=body,
            num_scan_inputs=1,
            scan_input_axes=[axis],
            scan_output_axes=[1] * len(outputs),
        )
        # Only the shapes of the examples matter, not their values.
        return tuple(
            builder.trace(
                name,
                torch.stack([output] * inputs.shape[axis], dim=1),
                torch.stack(
                    [builder.alternate(output)] * builder.alternate(inputs).shape[axis], dim=1
                ),
            )
            for name, output in zip(scanned[len(state) :], outputs, strict=True)
        )

    def _recurrent_layer(
        self, cell: Cell, order: TimeMajorOrder, x: Tensor, below: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Add a recurrent layer as one ONNX operator if its cell has one, else as a Scan."""
        builder = self.builder
        operator = None if below is not None or cell.takes_lower_memory else cell.onnx_operator()
        if operator is None:
            with self:
                return run_layer_stepwise(cell, order, x, below)
        weights = [builder.constant(weight.detach().cpu().numpy()) for weight in operator.weights()]
        time_major = builder.add("Transpose", [builder.name(x)], perm=[1, 0, 2])
        lengths = builder.cast(order.lengths, torch.int32)
        inputs = [time_major, *weights[:3], lengths]
        if peepholes := weights[3:]:
            # Between the lengths and the peepholes: the initial states, left out, which are zero.
            inputs += ["", "", *peepholes]
        directions = len(cell.bias)
        outputs = builder.add(
            operator.name,
            inputs,
            hidden_size=cell.hidden_size,
            direction="bidirectional" if directions == 2 else "forward",
            activations=list(operator.activations) * directions,
            **operator.attributes,
        )
        batch_major = builder.add("Transpose", [outputs], perm=[2, 0, 1, 3])
        name = builder.add("Reshape", [batch_major, builder.integers([0, 0, -1])])
        example, alternate = (
            x.new_zeros(*tensor.shape[:2], directions * cell.hidden_size)
            for tensor in (x, builder.alternate(x))
        )
        return builder.trace(name, example, alternate), None


def _unknown_arguments(name: str) -> ExportError:
    return ExportError(f"torch's {name}() is called with arguments that are not exported")


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the items of nested arguments."""
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
