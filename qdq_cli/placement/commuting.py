"""What class C nodes read and write as data, and what becomes of that when Q and DQ move over them."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import input_at, is_op
from qdq_cli.model.scales import TensorScale
from qdq_cli.placement.operators import operator_of

_COMPARING = ("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin")
"""Commuting operators that select by value; the others only move values."""


def slots_of(node: ir.Node) -> tuple[int, ...]:
    """Return the data slots of a class C node."""
    listed = operator_of(node).data
    return tuple(range(len(node.inputs))) if listed is None else listed


def data_outputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the outputs of a class C node that hold its data: all of Split, the first one otherwise."""
    return tuple(node.outputs) if is_op(node, "Split") else tuple(node.outputs[:1])


def keeps_codes(node: ir.Node, scale: TensorScale) -> bool:
    """Say whether a node computes the right thing on codes.

    Zero padding writes the code 0, which must mean 0.0; what compares values has no form on floats of 8 bits.
    """
    if is_op(node, "Pad"):
        return scale.zero_point == 0
    return scale.qtype.is_integer() or not is_op(node, *_COMPARING)


def drop_fill_value(node: ir.Node) -> None:
    """Let a zero Pad fill with its default 0: its fill operand would have to be of the stored type."""
    if is_op(node, "Pad") and input_at(node, 2) is not None:
        node.replace_input_with(2, None)
