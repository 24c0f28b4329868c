"""Operators that stay FP32 because of a constant: too large for the type, or too small to survive in it.

A constant may lose what its rounding does not move the result by. Ordinary rounding, a share of each number, is what a
16-bit type costs and does not count; what counts is what numbers below the smallest normal one lose besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.casting import reasons
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.formats import FloatFormat
from qdq_cli.casting.slots import low_slots
from qdq_cli.casting.weights import grouped, reduced_axes_of_weight, weight_slot
from qdq_cli.model.nodes import ONNX_DOMAIN, float_attribute, input_at, is_activation, is_constant, is_op
from qdq_cli.model.scales import is_pair_half

SHARE = 2.0**-8
"""Share of a result's magnitude that a lost constant may move it by: half a step of 8 bits."""

_GUARDS = ("Add", "Sub", "Max", "Min", "Clip")
"""Where a small constant matters for what divides by the result, if at all; `guards` looks at these."""


def constants(scene: Scene) -> Iterator[Finding]:
    """Find the operators that read such a constant."""
    for node in scene.graph:
        if node.domain != ONNX_DOMAIN or is_pair_half(node):
            continue
        for slot in sorted(low_slots(node, scene.opset, scene.form.dtype).inputs):
            value = input_at(node, slot)
            if value is not None and is_constant(value) and value not in scene.clamped:
                yield from _judge(node, slot, value, scene)


def _judge(node: ir.Node, slot: int, value: ir.Value, scene: Scene) -> Iterator[Finding]:
    form = scene.form
    reach = scene.reach(value)
    if reach is None or value.const_value is None:
        return  # empty, or infinite on purpose
    if reach.amax > form.largest:
        detail = f"'{value.name}' holds {reach.amax:.4g}, and {form.name} ends at {form.largest:.4g}"
        yield Finding(node, reasons.CONSTANT_OVERFLOW, detail)
    elif reach.amax > 0 and not _is_harmless(node, value, scene) and _is_lost(node, slot, value, scene):
        detail = f"'{value.name}' holds numbers below {form.smallest_normal:.2g}, on which its result depends"
        yield Finding(node, reasons.CONSTANT_VANISHES, detail)


def _is_harmless(node: ir.Node, value: ir.Value, scene: Scene) -> bool:
    """Say quickly whether even the most that small numbers can lose is little; true of nearly all weights."""
    reach = scene.reach(value)
    if is_op(node, "Div", "BatchNormalization") or reach is None:
        return False
    terms = value.const_value.size if weight_slot(node) is not None and value.const_value is not None else 1
    return terms * scene.form.smallest / 2 <= SHARE * _least_result(node, reach.amax, scene)


def _least_result(node: ir.Node, amax: float, scene: Scene) -> float:
    """Return, in units of the constant, how large the results are that it contributes to."""
    result, data = scene.reach(node.outputs[0]), scene.reach(next(filter(is_activation, node.inputs), None))
    if node.outputs[0] not in scene.seen or result is None:
        return amax
    if is_op(node, "Add", "Sub", "Max", "Min", "Clip", "Concat", "Where", "Pad", "Gather"):
        return result.amax
    return amax if data is None or not data.amax else min(amax, result.amax / data.amax)


def _is_lost(node: ir.Node, slot: int, value: ir.Value, scene: Scene) -> bool:
    assert value.const_value is not None
    array = np.asarray(value.const_value.numpy(), dtype=np.float32)
    extra = lost(array, scene.form)
    if not extra.any():
        return False
    size = np.abs(array, dtype=np.float64)
    if is_op(node, "Div") and slot == 1:
        return bool(np.any(extra > SHARE * size))
    if is_op(node, "BatchNormalization") and slot == 4:
        return bool(np.any(extra > SHARE * (size + float_attribute(node, "epsilon", 1e-5))))
    if is_op(node, *_GUARDS) and node.outputs[0] not in scene.seen:
        return False
    axes = reduced_axes_of_weight(node, array.ndim, slot) if weight_slot(node) == slot else None
    if axes is not None:
        extra, size = (grouped(node, part).sum(axis=axes) for part in (extra, size))
    return bool(extra.max() > SHARE * _least_result(node, float(size.max()), scene))


def lost(array: NDArray[Any], form: FloatFormat) -> NDArray[np.float64]:
    """Return what each number loses in a type beyond the ordinary share of itself."""
    ordinary = np.abs(array, dtype=np.float64) * 2.0**-form.digits
    return np.asarray(np.maximum(form.error(array) - ordinary, 0.0))
