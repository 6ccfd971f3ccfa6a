"""GraphBuilder: an ONNX graph as it grows, and the names of traced tensors and sizes in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import Any

import numpy as np
import torch
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor

OPSET = 17
"""The ONNX opset: the first with LayerNormalization."""


class ExportError(Exception):
    """The network computes something that this exporter cannot express in ONNX."""


def _arithmetic(operator: str, compute: Callable[[int, int], int], reverse: bool = False) -> Any:
    """Return the method of SymbolicSize that adds an ONNX operator."""

    def method(size: SymbolicSize, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        operands = (other, size) if reverse else (size, other)
        return size.builder.symbolic_size(
            compute(*map(int, operands)),
            compute(*map(size.builder.alternate, operands)),
            lambda: size.builder.add(operator, list(map(size.builder.size, operands))),
        )

    return method


class SymbolicSize(int):
    """A size that varies between batches; as an int it is the example's."""

    alternate: int
    """The size in the alternate example."""
    name: Callable[[], str]
    """Adds the operators that compute the size and returns the name of the result."""
    builder: GraphBuilder

    __add__ = __radd__ = _arithmetic("Add", int.__add__)
    __mul__ = __rmul__ = _arithmetic("Mul", int.__mul__)
    __sub__ = _arithmetic("Sub", int.__sub__)
    __rsub__ = _arithmetic("Sub", int.__sub__, reverse=True)
    __floordiv__ = _arithmetic("Div", int.__floordiv__)
    __rfloordiv__ = _arithmetic("Div", int.__floordiv__, reverse=True)


@dataclass
class TracedTensor:
    """A tensor that depends on the graph's inputs."""

    example: Tensor
    alternate: Tensor
    """The same tensor in the alternate example, whose inputs have other sizes."""
    name: str
    nodes: list[NodeProto]
    """The operators of the graph, or loop body, that computes it."""


class GraphBuilder:
    """The graph being built and the tensors traced so far; operator translators call it `g`."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        """The operators, in order, of the graph or of the loop body that is being traced."""
        self._constants: dict[tuple[Any, ...], TensorProto] = {}
        self._traced: dict[int, TracedTensor] = {}
        self._numbers = count()

    def unique_name(self, prefix: str) -> str:
        """Return a name that is new in the model."""
        return f"{prefix.lower()}_{next(self._numbers)}"

    def add_node(
        self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add an operator and return the names of its outputs."""
        names = [self.unique_name(operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add an operator with one output and return its name."""
        return self.add_node(operator, inputs, 1, **attributes)[0]

    def model(
        self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], metadata: str
    ) -> bytes:
        """Return the serialized model from `inputs` to `outputs`, both by name."""
        for name, output in outputs.items():
            self.add("Identity", [self.name(output)])
            self.nodes[-1].output[0] = name
        nodes, used = _reachable(self.nodes, set(outputs))
        graph = helper.make_graph(
            nodes,
            "slotfill",
            list(map(self.value_info, inputs, inputs.values())),
            list(map(self.value_info, outputs, outputs.values())),
            [tensor for tensor in self._constants.values() if tensor.name in used],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], producer_name="slotfill")
        model.ir_version = 8
        helper.set_model_props(model, {"slotfill": metadata})
        return model.SerializeToString()

    def trace(self, name: str, example: Tensor, alternate: Tensor) -> Tensor:
        """Register `example` as the traced tensor `name` and return it."""
        self._traced[id(example)] = TracedTensor(example, alternate, name, self.nodes)
        return example

    def is_traced(self, value: Any) -> bool:
        """Return whether a tensor or size depends on the graph's inputs."""
        return id(value) in self._traced or isinstance(value, SymbolicSize)

    def alternate(self, value: Any) -> Any:
        """Return `value` with its tensors and sizes replaced by those of the alternate example."""
        if isinstance(value, Tensor):
            traced = self._traced.get(id(value))
            return traced.alternate if traced else value
        if isinstance(value, slice):
            return slice(*map(self.alternate, (value.start, value.stop, value.step)))
        if isinstance(value, tuple | list):
            return type(value)(map(self.alternate, value))
        if isinstance(value, dict):
            return {key: self.alternate(item) for key, item in value.items()}
        return value.alternate if isinstance(value, SymbolicSize) else value

    def name(self, tensor: Tensor) -> str:
        """Return the name of a tensor; one that is not traced becomes a constant."""
        traced = self._traced.get(id(tensor))
        return traced.name if traced else self.constant(tensor.detach().cpu().numpy())

    def cast(self, value: Any, dtype: torch.dtype) -> str:
        """Return the name of a tensor, size or number, cast to `dtype`."""
        if isinstance(value, SymbolicSize):
            name, source_dtype = self.size(value), torch.int64
        elif isinstance(value, Tensor):
            name, source_dtype = self.name(value), value.dtype
        else:
            return self.constant(np.array(value, numpy_dtype(dtype)))
        return name if source_dtype == dtype else self.add("Cast", [name], to=onnx_dtype(dtype))

    def constant(self, value: Any) -> str:
        """Return the name of a constant; equal constants are stored once."""
        array = np.array(value, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.unique_name("constant")
            self._constants[key] = numpy_helper.from_array(array, name)
        return self._constants[key].name

    def integers(self, integers: Iterable[int]) -> str:
        """Return the name of a constant int64 vector."""
        return self.constant(np.array(list(integers), np.int64))

    def size(self, size: int) -> str:
        """Return the name of a size as an int64 vector of one element."""
        return size.name() if isinstance(size, SymbolicSize) else self.integers([size])

    def scalar(self, size: int) -> str:
        """Return the name of a size as an int64 scalar."""
        return self.add("Squeeze", [self.size(size), self.integers([0])])

    def sizes(self, sizes: Sequence[int]) -> str:
        """Return the name of several sizes as one int64 vector."""
        if not any(isinstance(size, SymbolicSize) for size in sizes):
            return self.integers(sizes)
        return self.add("Concat", [self.size(size) for size in sizes], axis=0)

    def symbolic_size(self, size: int, alternate: int, name: Callable[[], str]) -> SymbolicSize:
        """Return a size that is `size` in the example and `alternate` in the alternate one."""
        symbolic = SymbolicSize(size)
        symbolic.alternate, symbolic.builder, symbolic.name = alternate, self, name
        return symbolic

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the sizes of a tensor; those that differ in the alternate example are symbolic."""
        traced = self._traced.get(id(tensor))
        if traced is None:
            return tuple(tensor.shape)

        def add_size(axis: int) -> str:
            # In the tensor's own graph: a loop body may end before the size is asked for.
            current, self.nodes = self.nodes, traced.nodes
            shape = self.add("Shape", [traced.name])
            name = self.add("Gather", [shape, self.integers([axis])])
            self.nodes = current
            return name

        sizes = zip(tensor.shape, traced.alternate.shape, strict=True)
        return tuple(
            size
            if size == alternate
            else self.symbolic_size(size, alternate, partial(add_size, axis))
            for axis, (size, alternate) in enumerate(sizes)
        )

    def require_fixed_size(self, tensor: Tensor, axis: int) -> None:
        """Raise ExportError if the size of `tensor` along `axis` varies between batches."""
        if isinstance(self.shape(tensor)[axis], SymbolicSize):
            raise ExportError("splitting an axis whose size varies between batches")

    def value_info(self, name: str, tensor: Tensor) -> ValueInfoProto:
        """Return the ONNX type of an input or output, with the sizes that are fixed."""
        sizes = [None if isinstance(size, SymbolicSize) else size for size in self.shape(tensor)]
        return helper.make_tensor_value_info(name, onnx_dtype(tensor.dtype), sizes)


def onnx_dtype(dtype: torch.dtype) -> int:
    """Return the ONNX element type of a torch dtype."""
    return helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))


def numpy_dtype(dtype: torch.dtype) -> Any:
    """Return the NumPy dtype of a torch dtype."""
    return torch.zeros((), dtype=dtype).numpy().dtype


def _reachable(nodes: Sequence[NodeProto], names: set[str]) -> tuple[list[NodeProto], set[str]]:
    """Return the nodes that `names` depend on, in their order, and all names that these use."""
    reachable = []
    for node in reversed(nodes):
        if names.intersection(node.output):
            names = names | _inputs(node)
            reachable.append(node)
    return reachable[::-1], names


def _inputs(node: NodeProto) -> set[str]:
    """Return the input names of a node, including those used in its loop body."""
    bodies = (attribute.g.node for attribute in node.attribute)
    return set(node.input).union(*map(_inputs, chain.from_iterable(bodies)))
