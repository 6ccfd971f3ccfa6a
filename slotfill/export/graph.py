"""A graph of ONNX operators as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

OPSET = 17
"""The version of the operators: the first with LayerNormalization."""


class Graph:
    """Operators in their order; the body of a loop is a graph of its own, which sees all that
    stands outside.
    """

    def __init__(self, outer: Graph | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self._root: Graph = outer._root if outer else self
        self._constants: dict[tuple[Any, ...], TensorProto] = {}
        self._names = count()

    def name(self, like: str) -> str:
        """Return a name that nothing in the model has yet."""
        return f"{like.lower()}_{next(self._root._names)}"

    def add(
        self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """Add an operator and return the names of its outputs."""
        names = [self.name(operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def rename(self, name: str, to: str) -> None:
        """Call the output `name` of the operator added last `to`."""
        (found,) = self.nodes[-1].output
        assert found == name
        self.nodes[-1].output[0] = to

    def constant(self, array: np.ndarray, like: str = "constant") -> str:
        """Return the name of a constant; equal ones are held once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        constants = self._root._constants
        if key not in constants:
            constants[key] = numpy_helper.from_array(array.copy("C"), self.name(like))
        return constants[key].name

    def body(
        self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        """Return the graph as the body of a loop."""
        return helper.make_graph(self.nodes, self.name("body"), inputs, outputs)

    def model(
        self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto], about: str
    ) -> ModelProto:
        """Return as a model what leads to `outputs`; `about` is kept as its metadata."""
        nodes = _needed(self.nodes, {output.name for output in outputs})
        used = {name for node in nodes for name in _seen(node)}
        constants = [tensor for tensor in self._constants.values() if tensor.name in used]
        graph = helper.make_graph(nodes, "slotfill", inputs, outputs, constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="slotfill"
        )
        model.ir_version = 8
        helper.set_model_props(model, {"slotfill": about})
        return model


def _needed(nodes: Sequence[NodeProto], wanted: set[str]) -> list[NodeProto]:
    """Return those of `nodes` that the outputs `wanted` depend on, in their order."""
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted |= _seen(node)
            kept.append(node)
    return kept[::-1]


def _seen(node: NodeProto) -> set[str]:
    """Return the names that a node sees, those in the body of a loop included."""
    names = set(node.input)
    for attribute in node.attribute:
        names.update(name for inner in attribute.g.node for name in _seen(inner))
    return names
