"""Typed questions about one node or one value: attributes, constant operands, element types, consumers.

Pure queries; nothing here changes a graph. Everything that reads ONNX attributes goes through this file, so that a
default that moved between opsets is looked up in one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

FLOAT_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
"""Element types TensorRT reads into QuantizeLinear (rule A12); DOUBLE has no kernel there."""

ONNX_DOMAIN = ""

_SHAPE_MARK = "qdq.computed_from_shapes"

_UNOBSERVABLE_MARK = "qdq.behind_unknown_operators"

_BODY_TYPES = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Say whether `node` is one of these operators of the default ONNX domain."""
    return node is not None and node.op_type in op_types and node.domain == ONNX_DOMAIN


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute, or `default` where the node does not carry it."""
    attribute = _attribute(node, name)
    return default if attribute is None else attribute.as_int()


def ints_attribute(node: ir.Node, name: str) -> tuple[int, ...] | None:
    """Return a list-of-integers attribute, or None where the node does not carry it."""
    attribute = _attribute(node, name)
    return None if attribute is None else tuple(attribute.as_ints())


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """Return a float attribute, or `default` where the node does not carry it."""
    attribute = _attribute(node, name)
    return default if attribute is None else attribute.as_float()


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """Return a string attribute, or `default` where the node does not carry it."""
    attribute = _attribute(node, name)
    return default if attribute is None else attribute.as_string()


def _attribute(node: ir.Node, name: str) -> ir.Attr | None:
    return node.attributes.data.get(name)  # of the dict: get() of a mapping written in Python costs ten times as much


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return the value in an input slot, or None where the slot is absent or left empty."""
    inputs = node.inputs
    return inputs[index] if 0 <= index < len(inputs) else None


def is_constant(value: ir.Value | None) -> bool:
    """Say whether a value is an initializer with data (constants are lifted right after load)."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def constant_at(node: ir.Node, index: int) -> NDArray[np.generic] | None:
    """Return the constant in an input slot as an array of its own shape, or None where it is not constant."""
    value = input_at(node, index)
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    array: NDArray[np.generic] = value.const_value.numpy()
    return array


def initializer_array(graph: ir.Graph, name: str) -> NDArray[Any]:
    """Return the array of an initializer that has data, in its own type.

    `np.asarray` of an onnx-ir tensor does not: before NumPy 2.3 that is float64, whatever the tensor holds.
    """
    return array_of(graph.initializers[name])


def array_of(initializer: ir.Value) -> NDArray[Any]:
    """Return the array of an initializer that has data, in its own type, wherever it stands."""
    tensor = initializer.const_value
    assert tensor is not None
    array: NDArray[Any] = tensor.numpy()
    return array


def constant_ints(node: ir.Node, index: int) -> tuple[int, ...] | None:
    """Return a constant integer operand (axes, pads, shape) flattened to a tuple, or None where it is not constant."""
    array = constant_at(node, index)
    return None if array is None else tuple(int(element) for element in np.ravel(array))


def clip_bounds(node: ir.Node) -> tuple[float, float]:
    """Return where a Relu or Clip cuts off, below and above; NaN for a bound that is computed."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    bounds = [-math.inf, math.inf]
    for slot in (1, 2):
        array = constant_at(node, slot)
        if array is not None and array.size == 1:
            bounds[slot - 1] = float(array.item())
        elif input_at(node, slot) is not None:
            bounds[slot - 1] = math.nan
    return bounds[0], bounds[1]


def is_unpadded(node: ir.Node) -> bool:
    """Say whether a convolution or pooling reads nothing but its input."""
    return string_attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID") and not any(
        ints_attribute(node, "pads") or ()
    )


def is_float(value: ir.Value | None) -> bool:
    """Say whether a value is a tensor of FP32, FP16 or BF16; a value of unknown type counts as one.

    Sequences and optional values hold tensors, and are none.
    """
    return value is not None and (
        value.type is None or (isinstance(value.type, ir.TensorType) and value.dtype in FLOAT_TYPES)
    )


def is_activation(value: ir.Value | None) -> bool:
    """Say whether a value is a float tensor that is computed at run time."""
    if value is None or (value.const_value is not None and not value.is_graph_input()):
        return False  # as is_constant and is_float say it, without the calls: this is asked more often than all else
    kind = value.type
    is_float_tensor = kind is None or (isinstance(kind, ir.TensorType) and kind.dtype in FLOAT_TYPES)
    return is_float_tensor and _SHAPE_MARK not in value.meta.data


def rank(value: ir.Value | None) -> int | None:
    """Return the number of dimensions of a value, or None where it is unknown."""
    if value is None:
        return None
    if value.shape is not None:
        return value.shape.rank()
    return None if value.const_value is None else value.const_value.shape.rank()


def static_dims(value: ir.Value | None) -> tuple[int | None, ...] | None:
    """Return the dimensions of a value with None for each symbolic one, or None where the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def may_have_one_shape(first: ir.Value | None, second: ir.Value | None) -> bool:
    """Say whether two values can have the same shape; unknown dimensions get the benefit of the doubt."""
    one, other = static_dims(first), static_dims(second)
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def consumers(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Yield every (node, input slot) that reads a value, nodes inside If/Loop bodies included."""
    for usage in value.uses():
        yield usage.node, usage.idx


def only_consumer(value: ir.Value) -> tuple[ir.Node, int] | None:
    """Return the one (node, slot) that reads a value; None where none or several do, or it is a graph output.

    A reader in an If or Loop body is not returned: it is run by another graph, and not once a run.
    """
    if value.is_graph_output() or len(value.uses()) != 1:
        return None
    node, slot = next(consumers(value))
    return (node, slot) if node.graph is value.graph else None


def name_of(value: ir.Value) -> str:
    """Return the name of a value; after preparation every value has one."""
    if value.name is None:
        raise ValueError("a value without a name reached a stage that runs after preparation")
    return value.name


def inner_graphs(node: ir.Node) -> Iterator[ir.Graph]:
    """Yield the graphs a node holds: the bodies of If, Loop and Scan."""
    for attribute in node.attributes.data.values():
        kind = attribute.type
        if kind not in _BODY_TYPES or attribute.is_ref():
            continue
        if kind == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        else:
            yield from attribute.as_graphs()


def every_node(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """Yield the nodes of a graph, each before those of its bodies; a quarter of what onnx-ir's own walk costs."""
    for node in graph:
        yield node
        for body in inner_graphs(node) if node.attributes.data else ():
            yield from every_node(body)


def every_body(graph: ir.Graph) -> list[ir.Graph]:
    """Return the bodies in a graph, those in bodies included, each holder's before those inside them."""
    found: list[ir.Graph] = []
    for node in graph:
        if node.attributes.data and (bodies := list(inner_graphs(node))):
            found += bodies
            for body in bodies:
                found += every_body(body)
    return found


def every_initializer(graph: ir.Graph) -> dict[str, ir.Value]:
    """Return the initializers of a graph and of the bodies in it by name; after preparation no two have one name."""
    return {name: value for part in (graph, *every_body(graph)) for name, value in part.initializers.items()}


def defined_values(graph: ir.Graph) -> tuple[ir.Value, ...]:
    """Return what a graph itself defines and not the bodies in it, once each: inputs, initializers, nodes' outputs."""
    values = (*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs))
    return tuple(dict.fromkeys(values))


def mark_shape_computations(graph: ir.Graph) -> None:
    """Mark every value that is computed from shapes and constants alone, so that it does not count as an activation.

    Exporters compute attention scales and reshape targets that way, in float too; no Q/DQ belongs there (rule 1.10.5).
    """
    _mark_shapes(graph, set())


def _mark_shapes(graph: ir.Graph, marked: set[ir.Value | None]) -> None:
    """Mark in a graph, and in the bodies in it, what is computed from shapes and from what is marked outside."""
    for node in graph:
        from_shapes = node.op_type in ("Shape", "Size")
        if marked and not from_shapes:
            reads = node.inputs
            from_shapes = not marked.isdisjoint(reads) and all(
                value is None or value in marked or is_constant(value) for value in reads
            )
        for body in inner_graphs(node) if node.attributes.data else ():
            _mark_shapes(body, marked)
            from_shapes = False  # what a body captures counts as well
        if from_shapes:
            marked.update(node.outputs)
            for value in node.outputs:
                value.meta[_SHAPE_MARK] = True


def mark_unobservable(value: ir.Value, *, marked: bool = True) -> None:
    """Mark a value that cannot be observed: ONNX Runtime does not know an operator that it depends on."""
    if marked:
        value.meta[_UNOBSERVABLE_MARK] = True
    else:
        value.meta.pop(_UNOBSERVABLE_MARK, None)


def is_unobservable(value: ir.Value | None) -> bool:
    """Say whether a value was marked so."""
    return value is not None and _UNOBSERVABLE_MARK in value.meta.data


def is_shape_computation(node: ir.Node) -> bool:
    """Say whether a node was marked as computing shapes only; it is no layer of the network."""
    return bool(node.outputs) and all(_SHAPE_MARK in value.meta for value in node.outputs)


def makers_of(graph: ir.Graph) -> dict[str, str]:
    """Return, for each tensor, the operator that makes it and its name: "Conv layer1.conv2"."""
    made = ((value.name or "", f"{node.op_type} {node.name or ''}".strip()) for node in graph for value in node.outputs)
    return dict(made)
