"""Add nodes and initializers to a graph, and let one value stand for another."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.emit import Parameters, quantize_node
from qdq_cli.model.names import Names


class Insertion:
    """Adds to a graph or body, in front of a node or at the end.

    Args:
        graph: The graph or body.
        node: What is added goes in front of it; None for the end.
        names: The names of the whole model.
        label: Begins the names of what is added, where no name is wanted.
        ending: Ends them all.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node | None, names: Names, label: str, ending: str) -> None:
        self._graph, self._node, self._names, self._label, self._ending = graph, node, names, label, ending

    @classmethod
    def before(cls, node: ir.Node, names: Names, ending: str) -> Insertion:
        """Add in front of a node, where that is."""
        assert isinstance(node.graph, ir.Graph)
        return cls(node.graph, node, names, node.name or "", ending)

    def body(self, inputs: dict[str, ir.DataType]) -> tuple[Insertion, list[ir.Value], ir.Graph]:
        """Start a body that nodes of this graph may have; returns what adds to it, its inputs and the body."""
        values = [ir.Value(name=self._value_name(name), type=ir.TensorType(kind)) for name, kind in inputs.items()]
        graph = ir.Graph(values, [], nodes=[], name=self._value_name("body"))
        return Insertion(graph, None, self._names, f"{self._label}/body", self._ending), values, graph

    def _value_name(self, wanted: str) -> str:
        return self._names.value(f"{self._label}/{wanted}{self._ending}")

    def add(
        self, op_type: str, inputs: Iterable[ir.Value | None], attributes: Iterable[ir.Attr] = (), *, results: int = 1
    ) -> tuple[ir.Value, ...]:
        """Add an operator of the default domain; returns its results, without types and shapes."""
        name = self._names.node(f"{self._label}/{op_type}{self._ending}")
        made = ir.Node("", op_type, list(inputs), list(attributes), num_outputs=results, name=name)
        for value in made.outputs:
            value.name = self._names.value(name)
        self._place(made)
        return tuple(made.outputs)

    def _place(self, made: ir.Node) -> None:
        if self._node is None:
            self._graph.append(made)
        else:
            self._graph.insert_before(self._node, made)

    def quantize(self, source: ir.Value, scale: ir.Value, zero_point: ir.Value | None) -> ir.Value:
        """Add a Q of one scale."""
        name = self._names.node(f"{self._label}/QuantizeLinear{self._ending}")
        codes = ir.Value(name=self._names.value(name))
        self._place(quantize_node(source, Parameters(scale, zero_point), codes, name))
        return codes

    def op(self, op_type: str, *inputs: ir.Value | None) -> ir.Value:
        """Add an operator that has one result and no attributes."""
        return self.add(op_type, inputs)[0]

    def cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """Add a Cast."""
        made = self.add("Cast", [value], [ir.AttrInt64("to", int(to))])[0]
        made.type = ir.TensorType(to)
        return made

    def transpose(self, value: ir.Value, perm: list[int]) -> ir.Value:
        """Add a Transpose."""
        return self.add("Transpose", [value], [ir.AttrInt64s("perm", perm)])[0]

    def constant(self, array: NDArray[np.generic], wanted: str = "") -> ir.Value:
        """Add an initializer."""
        name = self._names.value(f"{wanted or self._label}{self._ending}")
        tensor = ir.Tensor(array, name=name)
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
        value = ir.Value(name=name, type=kind, shape=shape, const_value=tensor)
        self._graph.register_initializer(value)
        return value


def add_initializer(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Register a new initializer under a name that must be free.

    Args:
        graph: The graph that gets it.
        name: Its name.
        array: Its data, of any shape.
    """
    tensor = ir.Tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def take_over_output(old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand wherever `old` was read; it also takes the name, which the user or a graph output knows."""
    name = old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.shape = old.shape if old.shape is not None else new.shape
    new.type = old.type if old.type is not None else new.type
    old.name = f"{name}_replaced"
    new.name = name
