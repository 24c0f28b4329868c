"""Take a model back to the newest opset whose Q/DQ models ONNX Runtime runs by default, where it needs no newer one.

From opset 21 on, ONNX Runtime (1.23) makes integer operators of some Q/DQ pairs that it then cannot run. Exporters ask
for such an opset all the same; most operators got a new version there for the sake of more element types alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.defs
import onnx_ir as ir

from qdq_cli.model.nodes import ONNX_DOMAIN, every_node, int_attribute
from qdq_cli.model.opset import opset_of

LAST_SAFE_OPSET = 20
"""The last opset whose Q and DQ ONNX Runtime's fusions know in every form (seen up to 1.23)."""

_IR_VERSION = 10
"""The newest IR version such a model is written with; metadata of nodes, which exporters write, came with it."""

_NEW_TYPES = frozenset({"INT4", "UINT4", "FLOAT4E2M1", "FLOAT8E8M0", "INT2", "UINT2"})
"""Element types that opset 20 does not have."""

_NEW_MEANING = frozenset({"GroupNormalization", "BitShift", "Mod", "Range"})
"""Operators of which a version after opset 20 computes something else.

Source: ONNX's changelog, versions 21 (GroupNormalization: scale and bias of channels, not groups), 27 and 28.
"""

_POOLS = frozenset({"MaxPool", "AveragePool"})
"""Version 22 says what `ceil_mode` makes of windows that start in the padding, which no version before does."""


def lower_opset(model: ir.Model) -> bool:
    """Set a model of a newer opset to opset 20, in place, where every operator means there what it means now.

    Attributes that opset 20 does not have are dropped where they say what holds without them.

    Args:
        model: Without local functions, its types inferred as far as they can be.

    Returns:
        Whether it was done.
    """
    opset = opset_of(model)
    if not LAST_SAFE_OPSET < opset <= onnx.defs.onnx_opset_version() or not _is_of_old_types(model):
        return False
    nodes = [node for node in every_node(model.graph) if node.domain == ONNX_DOMAIN]
    if not all(_means_the_same(node, opset) for node in nodes):
        return False
    for node in nodes:
        for name in _new_attributes(node, opset):
            node.attributes.pop(name)
    model.opset_imports[ONNX_DOMAIN] = LAST_SAFE_OPSET
    model.ir_version = min(model.ir_version, _IR_VERSION)
    return True


def _is_of_old_types(model: ir.Model) -> bool:
    held = {value.dtype for value in _values(model)}
    written = {
        attribute.value
        for node in every_node(model.graph)
        for name, attribute in node.attributes.items()
        if name in ("to", "dtype", "output_dtype") and attribute.type is ir.AttributeType.INT
    }
    return _NEW_TYPES.isdisjoint(
        {dtype.name for dtype in held if dtype is not None}
        | {onnx.TensorProto.DataType.Name(number) for number in written if number in onnx.TensorProto.DataType.values()}
    )


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
    for node in every_node(model.graph):
        yield from (value for value in (*node.inputs, *node.outputs) if value is not None)


def _means_the_same(node: ir.Node, opset: int) -> bool:
    """Say whether an operator computes the same in opset 20; one that ONNX does not define there nor here does."""
    if not onnx.defs.has(node.op_type, LAST_SAFE_OPSET, ONNX_DOMAIN):
        return not onnx.defs.has(node.op_type, opset, ONNX_DOMAIN)
    old, new = _schema(node, LAST_SAFE_OPSET), _schema(node, opset)
    if old.since_version == new.since_version:
        return True
    rounded_up = node.op_type in _POOLS and bool(int_attribute(node, "ceil_mode", 0))
    if node.op_type in _NEW_MEANING or rounded_up or not _takes_types(node, old):
        return False
    added = _new_attributes(node, opset)
    return all(_is_default(node.attributes[name], new) for name in added)


def _schema(node: ir.Node, opset: int) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(node.op_type, opset, ONNX_DOMAIN)


def _new_attributes(node: ir.Node, opset: int) -> list[str]:
    """Return the attributes of a node that its operator does not have in opset 20, but in this one."""
    if not onnx.defs.has(node.op_type, LAST_SAFE_OPSET, ONNX_DOMAIN):
        return []
    known, added = _schema(node, LAST_SAFE_OPSET).attributes, _schema(node, opset).attributes
    return [name for name in node.attributes if name in added and name not in known]


def _is_default(attribute: ir.Attr, schema: onnx.defs.OpSchema) -> bool:
    default = schema.attributes[attribute.name].default_value
    return bool(default.name) and bool(ir.from_proto(default).value == attribute.value)


def _takes_types(node: ir.Node, schema: onnx.defs.OpSchema) -> bool:
    """Say whether an operator's version takes the element types of a node, as far as they are known."""
    bound: dict[str, str] = {}
    for values, formals in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for position, value in enumerate(values):
            if value is None or not isinstance(value.type, ir.TensorType) or not formals:
                continue
            formal = formals[min(position, len(formals) - 1)]
            spelled = f"tensor({value.type.dtype.name.lower()})"
            same = bound.setdefault(formal.type_str, spelled) == spelled
            if spelled not in formal.types or not (same or not formal.is_homogeneous):
                return False
    return True
