"""Floats that become integers, which a 16-bit type has to hold exactly."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq_cli.casting import reasons
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.slots import is_single
from qdq_cli.model.nodes import input_at, int_attribute, is_op

_INTEGERS = frozenset(
    {
        ir.DataType.INT64,
        ir.DataType.INT32,
        ir.DataType.INT16,
        ir.DataType.UINT64,
        ir.DataType.UINT32,
        ir.DataType.UINT16,
    }
)

_EXACT = frozenset({"Floor", "Ceil", "Round", "Clip", "Mul", "Div", "Add", "Sub", "Reshape", "Transpose", "Unsqueeze"})
"""Operators that positions are computed with."""


def whole_numbers(scene: Scene) -> Iterator[Finding]:
    """Find what computes integers that the type does not hold one by one."""
    most = 2.0**scene.form.digits
    for node in scene.graph:
        if not is_op(node, "Cast") or int_attribute(node, "to", 0) not in _INTEGERS or not is_single(node.inputs[0]):
            continue
        reach = scene.reach(input_at(node, 0))
        if reach is not None and reach.amax <= most:
            continue
        far = "" if reach is None else f"they reach {reach.amax:.4g}, and {scene.form.name} counts to {most:.0f}"
        for found in (node, *_computing(input_at(node, 0), scene)):
            yield Finding(found, reasons.TO_INTEGER, far)


def _computing(value: ir.Value | None, scene: Scene) -> Iterator[ir.Node]:
    """Yield the operators that computed a position, back to the first of another kind."""
    while value is not None and (node := value.producer()) is not None and is_op(node, *_EXACT):
        if node.graph is not scene.graph:
            return
        yield node
        value = input_at(node, 0)
