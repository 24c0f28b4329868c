"""Operators that stay FP32 because their tensors come too near to the end of the type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from calibrators import Extremes
from qdq_cli.casting import reasons
from qdq_cli.casting.bounds import float_values
from qdq_cli.casting.findings import Finding, Scene, touching
from qdq_cli.casting.formats import limit
from qdq_cli.model.nodes import is_constant, is_op
from qdq_cli.model.scales import is_dequantize


def out_of_reach(scene: Scene) -> Iterator[Finding]:
    """Find what makes and what reads tensors that were seen to come near to the largest value of the type.

    A bound that was computed says that a tensor is small, never that it is large: it is no observation.
    """
    form = scene.form
    for value in float_values(scene.graph):
        found = scene.reach(value)
        if found is None or (value in scene.masks and found.high <= limit(form)):
            continue
        if found.amax > limit(form) and value in scene.seen:
            detail = f"'{value.name}' reaches {found.amax:.4g}, and {form.name} ends at {form.largest:.4g}"
            yield from (Finding(node, reasons.OVERFLOW, detail) for node in touching(value, scene.graph))


def never_taken(scene: Scene) -> Iterator[Finding]:
    """Find what makes and what reads tensors of a body that no sample showed, where nothing bounds them."""
    for value in float_values(scene.graph) if scene.proven else ():
        if value not in scene.seen and value not in scene.masks and scene.may_overflow(value):
            yield from (Finding(node, reasons.NEVER_TAKEN) for node in touching(value, scene.graph))


_TIGHT = frozenset(
    {"Exp", "Pow", "Sqrt", "Abs", "Neg", "Relu", "Cast", "Identity", "Reshape", "Transpose", "Flatten", "Squeeze"}
    | {"Unsqueeze", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Reciprocal", "Log"}
)
"""Operators whose results reach as far as the bounds say that follow from their operand."""

_SHIFTING = frozenset({"Add", "Sub", "Mul", "Div", "Clip", "Max", "Min", "LeakyRelu"})
"""Those that do so where all operands but one are constants."""


def seen_values(graph: ir.Graph, extremes: Mapping[str, Extremes]) -> frozenset[ir.Value]:
    """Return the tensors of which is known how far they reach, not only what they cannot exceed.

    What was observed, what a DQ gives, which is laid over its range, and what one operand decides that is known so.
    """
    seen = {name for name, found in extremes.items() if not found.is_empty}
    found = {value for value in float_values(graph) if value.name in seen}
    for node in graph:
        if is_dequantize(node) or (_decides(node) and any(value in found for value in node.inputs)):
            found.update(node.outputs)
    return frozenset(found)


def _decides(node: ir.Node) -> bool:
    """Say whether one tensor decides how far the results of a node reach."""
    if is_op(node, *_TIGHT):
        return True
    moving = {value for value in node.inputs if value is not None and not is_constant(value)}
    return is_op(node, *_SHIFTING) and len(moving) == 1
