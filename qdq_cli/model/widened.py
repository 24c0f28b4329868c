"""Raise the opset where no operator of a model changed its meaning in between: no version converter is needed then.

Between the opsets 13 and 19 most operators only took more types, or an attribute or operand that may be left out, as
their schemas tell. Two rules are more than that: the axes of reductions became an operand, and Split states how many
parts it makes. The converter, with writing, reading and checking a model around it, takes longer than all else about a
float type.

Source: ONNX's changelog of operators (onnx.defs).
"""

from __future__ import annotations

import functools

import numpy as np
import onnx.defs
import onnx_ir as ir

from qdq_cli.model.names import Names
from qdq_cli.model.nodes import ONNX_DOMAIN, every_node, input_at, is_op

FIRST, LAST = 13, 19
"""The opsets between which schemas tell all that changed, but for `CHANGED`.

GridSample renamed its modes in opset 20, and GroupNormalization reads its scales differently since 21.
"""

CHANGED = frozenset({"RoiAlign"})
"""Operators that mean something else between these opsets although their schemas do not tell: RoiAlign, in opset 16."""

_AXES = "axes"

_PARTS = "num_outputs"


def only_widened(model: ir.Model, before: int, needed: int) -> bool:
    """Say whether every operator of a model means in the opset that is needed what it means in its own."""
    if before < FIRST or needed > LAST:
        return False
    kinds = {node.op_type for node in every_node(model.graph) if node.domain == ONNX_DOMAIN}
    return all(_is_widened(op_type, before, needed) for op_type in kinds)


def raise_widened(model: ir.Model, before: int, needed: int) -> None:
    """Raise the opset of a model of which `only_widened` is true, in place."""
    names = Names(model.graph)
    for node in list(every_node(model.graph)):
        if node.domain == ONNX_DOMAIN and _AXES in node.attributes and _is_moved(node.op_type, before, needed):
            _move_axes(model.graph, node, names)
        if is_op(node, "Split") and needed >= _parts_since() > before and input_at(node, 1) is None:
            node.attributes[_PARTS] = ir.AttrInt64(_PARTS, len(node.outputs))
    model.opset_imports[ONNX_DOMAIN] = needed


@functools.cache
def _is_widened(op_type: str, before: int, after: int) -> bool:
    """Compare two versions of an operator; one that ONNX knows in neither opset is a plugin, and stays as it is."""
    old, new = _schema(op_type, before), _schema(op_type, after)
    if old is None or new is None:
        return old is new
    if old.since_version == new.since_version:
        return True
    return op_type not in CHANGED and _same_attributes(old, new) and _same_operands(old, new)


def _same_attributes(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    moved = {_AXES} & {operand.name for operand in new.inputs}
    return all(not new.attributes[name].required for name in new.attributes.keys() - old.attributes.keys()) and all(
        name in moved if name not in new.attributes else attribute.default_value == new.attributes[name].default_value
        for name, attribute in old.attributes.items()
    )


def _same_operands(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    former = [operand.name for operand in old.inputs]
    return (
        [operand.name for operand in new.inputs[: len(former)]] == former
        and new.min_input <= old.min_input
        and (old.min_output, old.max_output) == (new.min_output, new.max_output)
    )


def _is_moved(op_type: str, before: int, after: int) -> bool:
    """Say whether the axes of an operator are an attribute in one opset and an operand in the other."""
    old, new = _schema(op_type, before), _schema(op_type, after)
    return old is not None and new is not None and _AXES in old.attributes and _AXES not in new.attributes


def _move_axes(graph: ir.Graph, node: ir.Node, names: Names) -> None:
    axes = node.attributes.pop(_AXES).as_ints()
    tensor = ir.tensor(np.array(axes, np.int64), name=names.value(f"{node.name}_{_AXES}"))
    kind, shape = ir.TensorType(tensor.dtype), ir.Shape((len(axes),))
    value = ir.Value(name=tensor.name, type=kind, shape=shape, const_value=tensor)
    graph.register_initializer(value)
    node.resize_inputs(2)
    node.replace_input_with(1, value)


@functools.cache
def _parts_since() -> int:
    """Return the opset since which Split states how many parts it makes, where their sizes are not given."""
    schema = _schema("Split", LAST)
    return LAST if schema is None else int(schema.since_version)


def _schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    if not onnx.defs.has(op_type, opset, ONNX_DOMAIN):
        return None
    return onnx.defs.get_schema(op_type, opset, ONNX_DOMAIN)
