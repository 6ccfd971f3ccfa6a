"""Record what a network computes as a graph of ONNX operators.

The network runs as it is, on an example, and each function of torch that it calls adds what it
means in ONNX. Beside the example runs a twin of other sizes: what is as long in both is as long in
every batch, and what is not is looked up when the graph runs. Loops over time, which say what they
are (`slotfill.model.scan`), become Scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from onnx import ValueInfoProto, helper
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slotfill.export.dim import Dim, ExportError, twin_of
from slotfill.export.graph import Graph
from slotfill.export.operators import OPERATORS
from slotfill.export.shapes import NAMED
from slotfill.model.cells.base import Cell
from slotfill.model.recurrence import TimeMajorOrder, read, read_steps
from slotfill.model.scan import Step, Tensors, scan


@dataclass
class Value:
    """A tensor that depends on the batch: the example, its twin, its name and the graph it stands
    in.
    """

    tensor: Tensor
    twin: Tensor
    name: str
    graph: Graph


class Recorder(TorchFunctionMode):
    """Within its `with` block all that is computed from its inputs is added to its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self._values: dict[int, Value] = {}

    # What the operators' table asks for

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add an operator with one output and return its name."""
        return self.graph.add(operator, inputs, **attributes)[0]

    def name(self, tensor: Tensor) -> str:
        """Return the name of a tensor, a constant where it does not depend on the batch."""
        value = self._values.get(id(tensor))
        return value.name if value else self.constant(tensor.detach().cpu().numpy())

    def cast(self, value: Any, dtype: torch.dtype) -> str:
        """Return the name of a tensor or number, made of the type `dtype` if it is of another."""
        if isinstance(value, Dim):
            name, found = self.size(value), torch.int64
        elif isinstance(value, Tensor):
            name, found = self.name(value), value.dtype
        else:
            return self.constant(np.array(value, _numpy(dtype)))
        return name if found == dtype else self.add("Cast", [name], to=onnx_type(dtype))

    def constant(self, array: Any) -> str:
        """Return the name of a constant."""
        return self.graph.constant(np.asarray(array))

    def numbers(self, numbers: Iterable[int]) -> str:
        """Return the name of a constant list of whole numbers."""
        return self.constant(np.array(list(numbers), np.int64))

    def size(self, size: int) -> str:
        """Return the name of a size, a list of one whole number."""
        return size.name() if isinstance(size, Dim) else self.numbers([size])

    def scalar(self, size: int) -> str:
        """Return the name of a size as a single number."""
        name = self.size(size)
        return self.add("Squeeze", [name, self.numbers([0])])

    def sizes(self, sizes: Sequence[int]) -> str:
        """Return the name of a list of sizes."""
        if not any(isinstance(size, Dim) for size in sizes):
            return self.numbers(sizes)
        return self.add("Concat", [self.size(size) for size in sizes], axis=0)

    def dim(self, value: int, twin: int, name: Callable[[], str]) -> Dim:
        """Return the size `value`, which is `twin` in the twin, and is called `name()`."""
        dim = Dim(value)
        dim.twin, dim.recorder, dim.name = twin, self, name
        return dim

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the sizes of a tensor, a Dim each that depends on the batch."""
        value = self._values.get(id(tensor))
        if value is None:
            return tuple(tensor.shape)

        def namer(axis: int) -> Callable[[], str]:
            def name() -> str:
                # Where the tensor itself stands: a loop's body ends before others may ask again.
                shape = value.graph.add("Shape", [value.name])
                return value.graph.add("Gather", [*shape, self.numbers([axis])])[0]

            return name

        pairs = enumerate(zip(tensor.shape, value.twin.shape, strict=True))
        return tuple(
            size if size == twin else self.dim(size, twin, namer(axis))
            for axis, (size, twin) in pairs
        )

    def shape_along(self, tensor: Tensor, piece: Tensor, axis: int) -> int:
        """Return the length of `piece` along an axis of `tensor` that is as long in every batch."""
        if isinstance(self.shape(tensor)[axis], Dim):
            raise ExportError("taking apart what differs in length from batch to batch")
        return piece.shape[axis]

    # Inputs, and what is called

    def input(self, name: str, tensor: Tensor, twin: Tensor) -> Tensor:
        """Return `tensor` as an input of the graph; `twin` is another example, of other sizes."""
        self._values[id(tensor)] = Value(tensor, twin, name, self.graph)
        return tensor

    def model(
        self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], about: str
    ) -> bytes:
        """Return what leads from `inputs` to `outputs`, both by name, as a file."""
        for name, output in outputs.items():
            self.graph.rename(self.add("Identity", [self.name(output)]), name)
        before, after = (
            [self.info(tensor, name) for name, tensor in each.items()] for each in (inputs, outputs)
        )
        return self.graph.model(before, after, about).SerializeToString()

    def info(self, tensor: Tensor, name: str) -> ValueInfoProto:
        """Return what ONNX is told of an input or output: its type, and its sizes where they are
        always the same.
        """
        sizes = [None if isinstance(size, Dim) else size for size in self.shape(tensor)]
        return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), sizes)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(
            id(each) in self._values or isinstance(each, Dim) for each in _leaves((args, kwargs))
        ):
            return function(*args, **kwargs)
        if function is scan:
            return self._loop(*args, **kwargs)
        if function is read:
            return self._read(*args, **kwargs)
        return self._call(function, args, kwargs)

    def _call(self, function: Any, args: Any, kwargs: Any) -> Any:
        called = function.__name__
        if called == "__get__":
            called = function.__self__.__name__
        called = called.strip("_")
        if called == "shape":
            return self.shape(args[0])
        if called in NAMED:
            return NAMED[called](self, *args, **kwargs)
        result = function(*args, **kwargs)
        if not any(isinstance(each, Tensor) for each in _leaves(result)):
            if function(*self._twins(args), **self._twins(kwargs)) == result:
                return result
            raise ExportError(f"{called}() gives a number that differs from batch to batch")
        twin = function(*self._twins(args), **self._twins(kwargs))
        if called not in OPERATORS:
            raise ExportError(f"there is no ONNX operator for torch's {called}()")
        self._keep(result, twin, OPERATORS[called](self, result, *args, **kwargs))
        return result

    def _keep(self, result: Any, twin: Any, names: str | list[str]) -> None:
        if isinstance(result, Tensor):
            self._values[id(result)] = Value(result, twin, cast(str, names), self.graph)
        else:
            for each in zip(result, twin, names, strict=True):
                self._keep(*each)

    def _twins(self, value: Any) -> Any:
        """Return `value` with each tensor and size in it as it is in the twin."""
        if isinstance(value, Tensor):
            known = self._values.get(id(value))
            return known.twin if known else value
        if isinstance(value, slice):
            return slice(*map(self._twins, (value.start, value.stop, value.step)))
        if isinstance(value, tuple | list):
            return type(value)(map(self._twins, value))
        if isinstance(value, dict):
            return {key: self._twins(each) for key, each in value.items()}
        return twin_of(value) if isinstance(value, int) else value

    def _loop(self, step: Step, inputs: Tensor, state: Tensors, axis: int = 1) -> Tensors:
        """Record a loop as Scan, whose body is one step."""
        outer, body = self.graph, Graph(self.graph)
        given = [*state, inputs]
        names = [self.name(each) for each in given]
        self.graph = body
        try:
            examples = [*state, inputs.select(axis, 0)]
            twins = [*self._twins(state), self._twins(inputs).select(axis, 0)]
            formal = [
                self.input(body.name("step"), example.clone(), twin.clone())
                for example, twin in zip(examples, twins, strict=True)
            ]
            with self:
                outputs, after = step(formal[-1], tuple(formal[:-1]))
            for before, now in zip(state, after, strict=True):
                if before.dtype != now.dtype or before.shape != now.shape:
                    raise ExportError("a loop whose state changes its type or shape")
            results = [*after, *outputs]
            # A name of its own for each, since a body may not give what stands outside, nor one
            # thing twice.
            ends = [self.add("Identity", [self.name(each)]) for each in results]
            infos = [self._typed(self.name(each), each) for each in formal]
            graph = body.body(
                infos, [self._typed(*pair) for pair in zip(ends, results, strict=True)]
            )
        finally:
            self.graph = outer
        found = outer.add(
            "Scan",
            names,
            len(results),
            body=graph,
            num_scan_inputs=1,
            scan_input_axes=[axis],
            scan_output_axes=[1] * len(outputs),
        )
        stacked = []
        for output, name in zip(outputs, found[len(state) :], strict=True):
            lengths = inputs.shape[axis], self._twins(inputs).shape[axis]
            pair = zip((output, self._twins(output)), lengths, strict=True)
            # The numbers of the example do not matter, their shapes do.
            example, twin = (torch.stack([each] * length, dim=1) for each, length in pair)
            stacked.append(self.input(name, example, twin))
        return tuple(stacked)

    def _typed(self, name: str, tensor: Tensor) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), None)

    def _read(
        self, cell: Cell, reading: TimeMajorOrder, x: Tensor, below: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Record a cell over the sentences: as the one operator it has, or as the loop that it is."""
        operator = None if below is not None or cell.takes_lower_memory else cell.onnx_operator()
        if operator is None:
            with self:
                return read_steps(cell, reading, x, below)
        weights = [self.constant(weight.detach().cpu().numpy()) for weight in operator.weights()]
        turned = self.add("Transpose", [self.name(x)], perm=[1, 0, 2])
        lengths = self.cast(reading.lengths, torch.int32)
        # Input, weights, lengths, first states (none: zeros), peepholes.
        inputs = [turned, *weights[:3], lengths, *(["", "", *weights[3:]] if weights[3:] else [])]
        directions = len(cell.bias)
        outputs = self.add(
            operator.name,
            inputs,
            hidden_size=cell.hidden_size,
            direction="bidirectional" if directions == 2 else "forward",
            activations=list(operator.activations) * directions,
            **operator.attributes,
        )
        tokens = self.add("Transpose", [outputs], perm=[2, 0, 1, 3])
        name = self.add("Reshape", [tokens, self.numbers([0, 0, -1])])
        sizes = (x.shape[:2], self._twins(x).shape[:2])
        example, twin = (x.new_zeros(*size, directions * cell.hidden_size) for size in sizes)
        return self.input(name, example, twin), None


def onnx_type(dtype: torch.dtype) -> int:
    """Return what ONNX calls a type of torch."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(_numpy(dtype)))


def _numpy(dtype: torch.dtype) -> Any:
    return torch.zeros((), dtype=dtype).numpy().dtype


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what stands in nested arguments."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    elif isinstance(value, slice):
        yield from _leaves([value.start, value.stop, value.step])
    else:
        yield value
