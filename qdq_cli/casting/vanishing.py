"""Operators that stay FP32 because of tensors too small for the type, where something makes their values large again.

A tensor that is small beside the others of a network, or zero for every purpose, may vanish: nobody will miss it. Only
what divides by it, normalizes it, or multiplies it by large numbers brings its lost digits back.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq_cli.casting import reasons
from qdq_cli.casting.bounds import float_values
from qdq_cli.casting.constant_rules import SHARE
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.formats import coarse_below
from qdq_cli.casting.intervals import length
from qdq_cli.casting.weights import channel_sums
from qdq_cli.model.nodes import consumers, input_at, is_op

_AMPLIFYING = frozenset(
    {"Div", "Reciprocal", "Log", "Sqrt", "Pow", "LayerNormalization", "InstanceNormalization", "GroupNormalization"}
    | {"LpNormalization", "BatchNormalization", "MeanVarianceNormalization", "RMSNormalization", "Sign", "ReduceL2"}
)
"""Operators whose results can be of ordinary size however small their operand is."""

_BINARY = frozenset({"Mul", "MatMul"})


def vanishing(scene: Scene) -> Iterator[Finding]:
    """Find what makes and what reads tensors that lie wholly below what the type holds to seven digits, and matter."""
    form = scene.form
    lost: dict[ir.Value, bool] = {}
    for value in reversed(list(float_values(scene.graph))):
        reach = scene.reach(value)
        if reach is None or not 0.0 < reach.amax < coarse_below(form):
            continue
        readers = [node for node, _ in consumers(value) if _matters(node, value, scene, lost)]
        lost[value] = bool(readers)
        if not readers:
            continue
        least = f"{form.name} is exact from {form.smallest_normal:.2g} on"
        detail = f"'{value.name}' stays below {reach.amax:.2g}, and {least}"
        maker = value.producer()
        for node in (*readers, *(() if maker is None else (maker,))):
            if node.graph is scene.graph:
                yield Finding(node, reasons.VANISHES, detail)


def _matters(node: ir.Node, value: ir.Value, scene: Scene, lost: dict[ir.Value, bool]) -> bool:
    """Say whether an operator makes values of ordinary size out of small ones, or hands them to one that does."""
    if any(lost.get(out, False) for out in node.outputs):
        return True
    if is_op(node, *_AMPLIFYING):
        return True
    result = scene.reach(node.outputs[0]) if node.outputs else None
    if result is not None and result.amax < coarse_below(scene.form):
        return False
    gain = _gain(node, value, scene)
    if result is None or node.outputs[0] not in scene.seen:
        return gain > 1
    return gain * scene.form.smallest / 2 > SHARE * result.amax


def _gain(node: ir.Node, value: ir.Value, scene: Scene) -> float:
    """Return by how much an operator may magnify what a small operand loses."""
    if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        sums = channel_sums(node)
        if sums is not None and sums[0].size:
            return float((sums[0] - sums[1]).max())
    if not is_op(node, *_BINARY):
        return 0.0 if node.domain == "" else 1.0
    other = next((operand for operand in node.inputs if operand is not value), value)
    reach = scene.reach(other)
    terms = (length(input_at(node, 0), (-1,)) or 1) if is_op(node, "MatMul") else 1
    return float("inf") if reach is None else terms * reach.amax
