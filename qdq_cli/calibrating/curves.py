"""The function that alone reads a tensor whose codes a kernel writes, where it is one of `calibrators` curves.

Where kernels write codes, what a Sigmoid, Swish or HardSwish reads is rounded, though nothing but its value counts.
That function is either one operator, or a Sigmoid (HardSigmoid) and the Mul of its result with what it reads.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import consumers, float_attribute, is_op, only_consumer
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.target import Kernels

_SINGLE = {"Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish", "Tanh": "tanh"}
_GATED = {"Sigmoid": "swish", "HardSigmoid": "hardswish"}
"""Gate -> what its product with its own input is."""

_SLOPES = {"HardSigmoid": (0.2, 1 / 6)}
"""Slope of the gate: by default, and in a product that is HardSwish (ONNX HardSwish, opset 14)."""


def curves_of(model: ir.Model, plan: Plan) -> dict[str, str]:
    """Return tensor -> name of the function that alone reads it, of the tensors that have a scale to themselves.

    None where kernels need no codes of their results: these functions read floats there.
    """
    if plan.target.kernels is not Kernels.READING_AND_WRITING:
        return {}
    alone = {group.tensors[0] for group in plan.groups if len(group.tensors) == 1}
    values = {value.name: value for node in model.graph for value in node.outputs}
    found = {name: _curve(values[name]) for name in alone if name in values}
    return {name: curve for name, curve in found.items() if curve}


def _curve(value: ir.Value) -> str:
    """Name the function that alone reads a tensor; "" where there is none."""
    readers = [node for node, _ in consumers(value)]
    if value.is_graph_output() or not readers:
        return ""
    if len(readers) == 1:
        return _of_one(readers[0])
    gate = next((node for node in readers if is_op(node, *_GATED)), None)
    product = None if gate is None else only_consumer(gate.outputs[0])
    if gate is None or product is None or len(readers) != 2 or not is_op(product[0], "Mul"):
        return ""
    return _GATED[gate.op_type] if product[0] in readers and _has_slope(gate, gated=True) else ""


def _of_one(reader: ir.Node) -> str:
    if is_op(reader, "Gelu"):
        return "gelu"
    if is_op(reader, "Swish"):
        return "swish" if float_attribute(reader, "alpha", 1.0) == 1.0 else ""
    return _SINGLE[reader.op_type] if is_op(reader, *_SINGLE) and _has_slope(reader, gated=False) else ""


def _has_slope(gate: ir.Node, *, gated: bool) -> bool:
    if gate.op_type not in _SLOPES:
        return True
    wanted = _SLOPES[gate.op_type][gated]
    slope, middle = float_attribute(gate, "alpha", 0.2), float_attribute(gate, "beta", 0.5)
    return abs(slope - wanted) < 1e-3 and middle == 0.5
