"""Copy parts of a quantized graph into the graph of its float model, where they read what the copy is given.

The float model's own tensors, the constants of the quantized one and what depends on these alone (weights behind Q/DQ)
exist once, however many parts read them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from qdq_cli.comparing.match import CODE_TYPES
from qdq_cli.model.emit import pair_half
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import is_constant

Given = Mapping[ir.Value, ir.Value]
"""Tensor of the quantized graph -> the tensor that is read in its place."""


def read_by(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node reads; of its If, Loop and Scan bodies also, values local to a body included."""
    yield from (value for value in node.inputs if value is not None)
    for body in _bodies(node.attributes.values()):
        for inner in body.all_nodes():
            yield from (value for value in inner.inputs if value is not None)


def nodes_behind(wanted: Iterable[ir.Value], given: Collection[ir.Value]) -> frozenset[ir.Node]:
    """Return the nodes that compute `wanted`, going back to `given` and to constants; makers of `wanted` always."""
    todo = [node for value in wanted if (node := value.producer()) is not None]
    found: set[ir.Node] = set()
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            makers = (value.producer() for value in read_by(node) if value not in given)
            todo += [maker for maker in makers if maker is not None and maker.graph is node.graph]
    return frozenset(found)


class Graft:
    """A copy of a float model under growth.

    Args:
        reference: The float model; not changed, its weights are shared.
        quantized: Where parts come from; of the same opset. Its weights are shared too.

    Attributes:
        model: The copy; it keeps the inputs and tensor names of the float model, and what is added has other names.
        quantized: Where parts come from.
        values: The tensors of the float model by name, those of the copy.
        constant_nodes: Nodes of the quantized graph that depend on constants alone.
    """

    def __init__(self, reference: ir.Model, quantized: ir.Model) -> None:
        self.model = reference.clone()
        self.quantized = quantized
        self.values = ir.convenience.create_value_mapping(self.model.graph)
        self._imports(quantized)
        self._names = Names(self.model.graph)
        self._constants: dict[ir.Value, ir.Value] = {}
        self._order = {node: place for place, node in enumerate(quantized.graph)}
        self.constant_nodes = _constant_nodes(quantized.graph)

    def _imports(self, quantized: ir.Model) -> None:
        self.model.opset_imports.update(quantized.opset_imports)
        self.model.ir_version = max(self.model.ir_version, quantized.ir_version)

    def copy(
        self, wanted: Iterable[ir.Value], given: Given, prefix: str, replaced: Given | None = None
    ) -> dict[ir.Value, ir.Value]:
        """Copy the nodes that compute `wanted` from `given` and constants.

        Args:
            wanted: Tensors of the quantized graph; one that is given is still computed, and read as given.
            given: What the copied nodes read in place of these tensors.
            prefix: Begins the names of what is added.
            replaced: Result of a node -> the value of the quantized graph that stands for it (a Q/DQ pair left out);
                such a node is not copied.

        Returns:
            Tensor of the quantized graph -> its copy, for everything that was copied.
        """
        stand_ins = replaced or {}
        made: dict[ir.Value, ir.Value] = {}
        for node in sorted(nodes_behind(wanted, given), key=self._order.__getitem__):
            first = node.outputs[0]
            if node in self.constant_nodes:
                if first not in self._constants:
                    self._constants |= self._copied(node, {}, {}, prefix)
                made.update((out, self._constants[out]) for out in node.outputs if out in self._constants)
            elif first in stand_ins:
                made[first] = self._resolved(stand_ins[first], given, made)
            else:
                made |= self._copied(node, given, made, prefix)
        return made

    def input_like(self, value: ir.Value, prefix: str) -> ir.Value:
        """Add an input to the graph, of the type and shape of one of the quantized graph."""
        name = self._names.value(f"{prefix}{value.name}")
        made = ir.Value(name=name, type=value.type, shape=None if value.shape is None else value.shape.copy())
        self.model.graph.inputs.append(made)
        return made

    def constant(self, tensor: ir.TensorProtocol, wanted: str) -> ir.Value:
        """Add an initializer under a free name; the tensor, which keeps its own, is shared."""
        name, shape = self._names.value(wanted), ir.Shape(tensor.shape.numpy())
        shared = ir.LazyTensor(lambda: tensor, dtype=tensor.dtype, shape=shape, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=shared)
        self.model.graph.register_initializer(value)
        return value

    def image(self, quantize: ir.Node, source: ir.Value) -> ir.Value:
        """Add a Q of the quantized graph once more, on another tensor, and its DQ; returns the result."""
        read, codes = quantize.inputs[0], quantize.outputs[0]
        assert read is not None
        made = self.copy([codes], {read: source}, "again/")
        operands = [None if value is None else self._resolved(value, {}, made) for value in quantize.inputs[1:]]
        attributes = [value for name, value in quantize.attributes.items() if name in ("axis", "block_size")]
        name = f"again/{quantize.name}/dq"
        value = ir.Value(name=self._names.value(name), type=operands[0].type if operands[0] is not None else None)
        inputs = [made[codes], *operands]
        node = pair_half("DequantizeLinear", inputs, attributes, value, self._names.node(name), quantize.domain)
        self.model.graph.append(node)
        return value

    def clip(self, value: ir.Value, ends: tuple[float, float], name: str) -> ir.Value:
        """Add a Clip to an interval."""
        kind = (value.dtype or ir.DataType.FLOAT).numpy()
        low, high = (self.constant(ir.Tensor(np.asarray(end, kind)), f"{name}/end") for end in ends)
        kept = self.add("Clip", [value, low, high], [], name)
        kept.type = value.type
        return kept

    def add(
        self,
        op_type: str,
        inputs: Iterable[ir.Value | None],
        attributes: Iterable[ir.Attr],
        name: str,
    ) -> ir.Value:
        """Add a node with one result; its type and shape are left to whoever runs the model."""
        node = ir.Node("", op_type, list(inputs), list(attributes), name=self._names.node(name))
        node.outputs[0].name = self._names.value(name)
        self.model.graph.append(node)
        return node.outputs[0]

    def _resolved(self, value: ir.Value, given: Given, made: Given) -> ir.Value:
        """What stands for a tensor of the quantized graph in the copy."""
        if value in given:
            return given[value]
        if value in made:
            return made[value]
        if value not in self._constants:
            if value.const_value is None:
                return self.values[value.name or ""]  # a graph input: both models have the same
            self._constants[value] = self.constant(value.const_value, f"quantized/{value.name}")
        return self._constants[value]

    def _copied(self, node: ir.Node, given: Given, made: Given, prefix: str) -> dict[ir.Value, ir.Value]:
        """Copy one node; its bodies are copied with it, and read outside of them what the node reads."""

        def resolve(value: ir.Value) -> ir.Value:
            return self._resolved(value, given, made)

        inputs = [None if value is None else resolve(value) for value in node.inputs]
        attributes = [_with_own_body(attribute, node.graph, resolve) for attribute in node.attributes.values()]
        copied = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            attributes,
            overload=node.overload,
            num_outputs=len(node.outputs),
            version=node.version,
            name=self._names.node(f"{prefix}{node.name}"),
        )
        for old, new in zip(node.outputs, copied.outputs, strict=True):
            new.name = self._names.value(f"{prefix}{old.name}") if old.name else ""
            new.type = None if old.dtype in CODE_TYPES else old.type  # floats, where pairs are left out
        self.model.graph.append(copied)
        return dict(zip(node.outputs, copied.outputs, strict=True))


def _bodies(attributes: Iterable[ir.Attr]) -> Iterator[ir.Graph]:
    for attribute in attributes:
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _with_own_body(attribute: ir.Attr, outside: object, resolve: Callable[[ir.Value], ir.Value]) -> ir.Attr:
    """Return an attribute whose bodies are copies that read `resolve(value)` for each value from outside."""
    if not list(_bodies([attribute])):
        return attribute
    copies = [body.clone(allow_outer_scope_values=True) for body in _bodies([attribute])]
    for body in copies:
        for node in body.all_nodes():
            for slot, value in enumerate(node.inputs):
                if value is not None and value.graph is outside:
                    node.replace_input_with(slot, resolve(value))
    if attribute.type == ir.AttributeType.GRAPH:
        return ir.AttrGraph(attribute.name, copies[0])
    return ir.AttrGraphs(attribute.name, copies)


def _constant_nodes(graph: ir.Graph) -> frozenset[ir.Node]:
    """Return the nodes whose results depend on constants alone."""
    found: set[ir.Node] = set()
    for node in graph:
        sources = list(read_by(node))
        if sources and all(is_constant(value) or value.producer() in found for value in sources):
            found.add(node)
    return frozenset(found)
