"""OnnxTracer: run a network on an example and translate the torch functions it calls to ONNX.

Each call is repeated on an alternate example of other sizes: sizes that agree in both are constants
of the graph, the others are computed when it runs. Loops over time (`scan`) become
Scan nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from onnx import helper
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slotfill.export.builder import ExportError, Graph, GraphBuilder, onnx_dtype
from slotfill.export.operators import OPERATORS
from slotfill.export.shape_ops import SIZE_FUNCTIONS
from slotfill.model.cells.base import Cell, State
from slotfill.model.recurrence import Step, TimeMajorOrder, run_layer, run_layer_stepwise, scan


class OnnxTracer(TorchFunctionMode):
    """Within its `with` block, whatever is computed from its inputs is added to its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.builder = GraphBuilder()
        self.input = self.builder.trace

    def model(
        self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], metadata: str
    ) -> bytes:
        """Return the serialized model from `inputs` to `outputs`, both by name."""
        builder = self.builder
        for name, output in outputs.items():
            builder.add("Identity", [builder.name(output)])
            builder.graph.nodes[-1].output[0] = name
        input_types, output_types = (
            [builder.value_info(name, tensor) for name, tensor in tensors.items()]
            for tensors in (inputs, outputs)
        )
        return builder.graph.model(input_types, output_types, metadata).SerializeToString()

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
        if name == "shape":
            return builder.shape(args[0])
        if name in SIZE_FUNCTIONS:
            return SIZE_FUNCTIONS[name](builder, *args, **kwargs)
        result = function(*args, **kwargs)
        alternate = function(*builder.alternate(args), **builder.alternate(kwargs))
        if not any(isinstance(leaf, Tensor) for leaf in _leaves(result)):
            if alternate == result:
                return result
            raise ExportError(f"{name}() gives a number that varies between batches")
        if name not in OPERATORS:
            raise ExportError(f"there is no ONNX operator for torch's {name}()")
        names = OPERATORS[name](builder, result, *args, **kwargs)
        if isinstance(result, Tensor):
            return builder.trace(names, result, alternate)
        for traced in zip(names, result, alternate, strict=True):
            builder.trace(*traced)
        return result

    def _scan(self, step: Step, inputs: Tensor, state: State, axis: int = 1) -> State:
        """Add a Scan node whose body is one step."""
        builder = self.builder
        outer, body = builder.graph, Graph(builder.graph)
        names = [builder.name(tensor) for tensor in (*state, inputs)]
        examples = (*state, inputs.select(axis, 0))
        alternates = (*builder.alternate(state), builder.alternate(inputs).select(axis, 0))
        builder.graph = body
        try:
            arguments = [
                builder.trace(body.unique_name("step"), example.clone(), alternate.clone())
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
            body_proto = body.body(
                [_typed(builder.name(argument), argument) for argument in arguments],
                [_typed(name, result) for name, result in zip(copies, results, strict=True)],
            )
        finally:
            builder.graph = outer
        scanned = outer.add(
            "Scan",
            names,
            len(results),
            body=body_proto,
            num_scan_inputs=1,
            scan_input_axes=[axis],
            scan_output_axes=[1] * len(outputs),
        )
        length, alternate_length = inputs.shape[axis], builder.alternate(inputs).shape[axis]
        stacked = []
        for name, output in zip(scanned[len(state) :], outputs, strict=True):
            # Only the shapes of the examples matter, not their values.
            example = torch.stack([output] * length, dim=1)
            alternate = torch.stack([builder.alternate(output)] * alternate_length, dim=1)
            stacked.append(builder.trace(name, example, alternate))
        return tuple(stacked)

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
        size = directions * cell.hidden_size
        example = x.new_zeros(*x.shape[:2], size)
        return builder.trace(
            name, example, x.new_zeros(*builder.alternate(x).shape[:2], size)
        ), None


def _typed(name: str, tensor: Tensor) -> Any:
    return helper.make_tensor_value_info(name, onnx_dtype(tensor.dtype), None)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the items of nested arguments."""
    if isinstance(value, slice):
        value = [value.start, value.stop, value.step]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
