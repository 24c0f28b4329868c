"""A twin of an FP16 or BF16 model that ONNX Runtime's CPU runs as it is: FP32 operators whose results are rounded.

ONNX Runtime's CPU has hardly an operator of BF16, and runs most of those of FP16 in FP32 without rounding in between,
so that nothing overflows; but its Cast there and back rounds to nearest, ties to even. What the twin computes is what a
machine computes that sums in FP32 and stores 16 bits, as TensorRT's does: whoever knows which operators share a kernel
says which tensors are not stored.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from qdq_cli.casting.bound_rules import MOVING
from qdq_cli.model.bodies import HOLDERS, places_of_bodies
from qdq_cli.model.dynamic import is_about_blocks
from qdq_cli.model.lowering import lower_opset
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import defined_values, inner_graphs, int_attribute, is_op

_SINGLE = ir.DataType.FLOAT
_LOW = {ir.DataType.BFLOAT16: "bf16", ir.DataType.FLOAT16: "fp16"}
"""The types whose values are rounded -> what ends the names of what is rounded to them."""

_EXACT = frozenset({*MOVING, "Concat", "Relu", "Neg", "Abs", "Pad"})
"""Operators whose results are values of the type where their operands are."""


def twin(model: ir.Model, exact: Collection[str] = (), *, keep_inputs: bool = False) -> ir.Model:
    """Return a model of FP32 tensors that hold what the FP16 and BF16 tensors of a model hold.

    Every tensor keeps its name: what is rounded has it, so that layers can be compared one by one. The opset is lowered
    where that says the same, as ONNX Runtime runs Q/DQ of newer ones less well.

    Args:
        model: As `convert.converted` makes it; left as it is, its weights are shared.
        exact: Tensors that are not rounded, as they never leave a kernel that holds more digits.
        keep_inputs: Whether 16-bit graph inputs stay what they are, with Casts behind them; they are FP32 otherwise.
    """
    result = model.clone()
    graph, parts = result.graph, _parts(result)
    low = {value: value.dtype for part in parts for value in defined_values(part) if value.dtype in _LOW}
    for value in low:
        value.type = ir.TensorType(_SINGLE)
        if value.const_value is not None:
            value.const_value = ir.Tensor(value.const_value.numpy().astype(np.float32), name=value.name)
    names, nodes = Names(graph), [(part, node) for part in parts for node in part]
    if keep_inputs:
        for value in graph.inputs:
            if (dtype := low.pop(value, None)) is not None:
                _widen(graph, value, dtype, names)
    for part, node in nodes:
        _restate(node)
        if not is_op(node, *_EXACT):
            for value in node.outputs:
                if (dtype := low.get(value)) is not None and value.name and value.name not in exact:
                    _round(part, value, dtype, names)
    lower_opset(result)
    return result


def low_types(model: ir.Model) -> frozenset[ir.DataType]:
    """Return the 16-bit float types of a model's tensors; none where `twin` cannot say what they hold.

    That is so where an operator of another domain than ONNX's own, or one with a body that is not looked into, touches
    such a tensor.
    """
    parts = _parts(model)
    found = frozenset(value.dtype for part in parts for value in defined_values(part) if value.dtype in _LOW)
    return frozenset() if any(_is_closed(node) for part in parts for node in part) else found


def _parts(model: ir.Model) -> list[ir.Graph]:
    """Return the main graph and the bodies in it that can be looked into."""
    return [model.graph, *(place.body for place in places_of_bodies(model.graph))]


def _is_closed(node: ir.Node) -> bool:
    touched = [value.dtype for value in (*node.inputs, *node.outputs) if value is not None]
    is_open = is_op(node, *HOLDERS) or not node.attributes.data
    bodies = [] if is_open else list(inner_graphs(node))
    inner = [value.dtype for body in bodies for value in defined_values(body)]
    foreign = bool(node.domain) and not is_about_blocks(node)
    return (foreign and not _LOW.keys().isdisjoint(touched)) or not _LOW.keys().isdisjoint(inner)


def _restate(node: ir.Node) -> None:
    """Let attributes that name a type of 16 bits name FP32."""
    for name in ("to", "dtype", "output_dtype"):
        if name in node.attributes and int_attribute(node, name, 0) in _LOW:
            node.attributes[name] = ir.AttrInt64(name, int(_SINGLE))
    value = node.attributes.get("value")
    if is_op(node, "ConstantOfShape") and value is not None and value.as_tensor().dtype in _LOW:
        array = value.as_tensor().numpy().astype(np.float32)
        node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(array))


def _round(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, names: Names) -> None:
    """Round a tensor behind what makes it; the rounded one takes its name and its readers."""
    maker = value.producer()
    assert maker is not None
    rounded = ir.Value(type=ir.TensorType(_SINGLE), shape=value.shape)
    coarse = ir.Value(name=names.value(f"{value.name}_{_LOW[dtype]}"), type=ir.TensorType(dtype), shape=value.shape)
    ir.convenience.replace_all_uses_with(value, rounded, replace_graph_outputs=True)
    first = _cast(value, coarse, names)
    graph.insert_after(maker, first)
    graph.insert_after(first, _cast(coarse, rounded, names))
    name = value.name or ""
    value.name = names.value(f"{name}_exact")
    rounded.name = name


def _widen(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, names: Names) -> None:
    """Let a graph input have its type again, and its readers read a Cast of it."""
    wide = ir.Value(name=names.value(f"{value.name}_fp32"), type=ir.TensorType(_SINGLE), shape=value.shape)
    ir.convenience.replace_all_uses_with(value, wide)
    value.type = ir.TensorType(dtype)
    graph.insert_before(graph[0], _cast(value, wide, names))


def _cast(source: ir.Value, result: ir.Value, names: Names) -> ir.Node:
    dtype = result.type.dtype if result.type is not None else _SINGLE
    name = names.node(f"{source.name}_to_{_LOW.get(dtype, 'fp32')}")
    return ir.Node("", "Cast", [source], [ir.AttrInt64("to", int(dtype))], outputs=[result], name=name)
