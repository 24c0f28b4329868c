"""Q and DQ that are put into a graph in place of what an operator on codes does by itself."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.emit import Parameters, dequantize_node, quantize_node
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import is_constant

_CODES = ("_quantized", "quantized")
"""End the name of the codes of a tensor, as onnxruntime's quantizer writes them; the second those of a Split."""

_INPUT = "_QuantizeLinear_Input"

_NODE = "_quant"
"""Ends the name of an operator on codes there."""


class Pairs:
    """Adds float operators with their Q and DQ to a graph; each DQ is there once, however many operators read it.

    Args:
        graph: The graph; every name in it is set.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._names = Names(graph)
        self._made: dict[tuple[ir.Value, Parameters], ir.Value] = {}

    def dequantize(self, codes: ir.Value, parameters: Parameters, at: ir.Node) -> ir.Value:
        """Return the image of codes."""
        key = (codes, parameters)
        if key not in self._made:
            name = f"{tensor_of(codes)}_DequantizeLinear"
            floats = ir.Value(type=ir.TensorType(parameters.scale.dtype or ir.DataType.FLOAT), shape=codes.shape)
            self._place(dequantize_node(codes, parameters, floats, self._names.node(name)), at)
            floats.name = self._names.value(f"{name}_Output")
            self._made[key] = floats
        return self._made[key]

    def quantize(self, source: ir.Value, parameters: Parameters, codes: ir.Value, at: ir.Node) -> ir.Value:
        """Quantize a tensor; the result takes the place and the name of `codes`."""
        made = ir.Value()
        name = self._names.node(f"{tensor_of(codes)}_QuantizeLinear")
        self._place(quantize_node(source, parameters, made, name), at)
        self.replace(codes, made)
        return made

    def name_float(self, value: ir.Value, codes: ir.Value) -> None:
        """Name what some codes are made of like the tensor.

        Where that name is taken (by a DQ for readers of floats), it gets the one that onnxruntime's quantizer gives to
        what is ahead of the Q then.
        """
        tensor = tensor_of(codes)
        free = self._names.value(tensor)
        value.name = tensor if free == tensor else self._names.value(f"{tensor}{_INPUT}")

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let every reader of `old` read `new`, which takes its name and type; `old` gets a name of its own."""
        new.name, new.type, new.shape = old.name, old.type, old.shape
        old.name = self._names.value(f"{old.name}_replaced")
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def add(
        self, op_type: str, inputs: list[ir.Value | None], attributes: list[ir.Attr], name: str, at: ir.Node
    ) -> ir.Value:
        """Add an operator of the default domain with one result, which has no name yet.

        Args:
            op_type: The operator.
            inputs: Its operands.
            attributes: Its attributes.
            name: Its name, where that is free.
            at: The node in front of which it goes; behind it where that makes an operand.
        """
        node = ir.Node("", op_type, inputs, attributes, name=self._names.node(name))
        self._place(node, at)
        return node.outputs[0]

    def _place(self, node: ir.Node, at: ir.Node) -> None:
        if any(value is not None and value.producer() is at for value in node.inputs):
            self._graph.insert_after(at, node)
        else:
            self._graph.insert_before(at, node)

    def constant(self, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        """Add an initializer."""
        kind, name = ir.TensorType(tensor.dtype), self._names.value(name)
        value = ir.Value(name=name, type=kind, shape=ir.Shape(tensor.shape.numpy()), const_value=tensor)
        self._graph.register_initializer(value)
        return value


def tensor_of(codes: ir.Value) -> str:
    """Name of the float tensor that some codes are of."""
    name = codes.name or ""
    return name.removesuffix(next((ending for ending in _CODES if name.endswith(ending)), ""))


def codes_of(tensor: str) -> tuple[str, ...]:
    """What the codes of a float tensor may be called."""
    return tuple(f"{tensor}{ending}" for ending in _CODES)


def float_name(node: ir.Node) -> str:
    """Name of the float operator that an operator on codes was made of."""
    return (node.name or "").removesuffix(_NODE)


def is_one_scale(value: ir.Value | None) -> bool:
    """Say whether a value is a constant scale of a whole tensor."""
    return value is not None and is_constant(value) and value.const_value is not None and value.const_value.size == 1
