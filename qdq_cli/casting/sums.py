"""Operators that stay FP32 because of what happens between their operand and their result.

ONNX does not say in which type a runtime sums. TensorRT and ONNX Runtime sum in FP32 inside of Conv, Gemm, MatMul,
Softmax, LayerNormalization, InstanceNormalization and GroupNormalization, so these are not meant; every other operator
is taken at its word.

Source: TensorRT, INormalizationLayer (computes in FP32); ONNX, LayerNormalization (stash_type).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx_ir as ir

from qdq_cli.casting import reasons
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.formats import FloatFormat
from qdq_cli.casting.intervals import Interval, length
from qdq_cli.casting.reduced import reduced_axes, terms_of, window
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_op

_MEANS = ("ReduceMean", "GlobalAveragePool", "AveragePool", "ReduceSum", "ReduceL1", "ReduceLogSum", "CumSum")
_SQUARES = ("ReduceL2", "ReduceSumSquare", "LpNormalization", "LRN", "MeanVarianceNormalization")
_RISING = ("Exp", "Pow", "ReduceSumSquare", "ReduceProd", "Mul")


def sums(scene: Scene) -> Iterator[Finding]:
    """Find long sums, and what may overflow or vanish on the way."""
    for node in scene.graph:
        check = None if node.domain else _checks(scene.form).get(node.op_type)
        found = None if check is None else check(node, scene)
        if found is not None:
            yield found
        elif scene.form.is_narrow and is_op(node, *_RISING) and _rises_unseen(node, scene):
            yield Finding(node, reasons.OVERFLOW, "nothing is known of what it reads, and it makes large numbers of it")


def _rises_unseen(node: ir.Node, scene: Scene) -> bool:
    """Say whether nothing bounds the result of an operator that makes large numbers of ordinary ones."""
    if node.outputs[0] in scene.seen or not scene.may_overflow(node.outputs[0]):
        return False
    if is_op(node, "Mul"):
        return node.inputs[0] is node.inputs[1]
    power = constant_at(node, 1) if is_op(node, "Pow") else None
    return power is None or float(np.abs(power).max()) > 1


def _count(node: ir.Node) -> int | None:
    if is_op(node, "AveragePool"):
        return window(node)
    if is_op(node, "LRN"):
        return int_attribute(node, "size", 1)
    if is_op(node, "CumSum"):
        axis = constant_at(node, 1)
        return None if axis is None else length(input_at(node, 0), (int(axis.item()),))
    return terms_of(node)


def _mean(node: ir.Node, scene: Scene) -> Finding | None:
    count = _count(node)
    if count is None:
        return None
    long = _long(node, count, scene.form)
    data = scene.reach(input_at(node, 0))
    if long is not None or data is None:
        return long
    return _inner(node, count * _average(node, data, scene), scene.form, f"its sum of {count} values")


def _average(node: ir.Node, data: Interval, scene: Scene) -> float:
    """Return how large the summed values can be on average: where all have one sign, the mean itself says."""
    result = scene.reach(node.outputs[0])
    one_sign = data.low >= 0 or data.high <= 0
    is_mean = is_op(node, "ReduceMean", "GlobalAveragePool", "AveragePool")
    if result is not None and one_sign and is_mean and node.outputs[0] in scene.seen:
        return min(data.amax, result.amax)
    return data.amax


def _long(node: ir.Node, count: int, form: FloatFormat) -> Finding | None:
    if count <= 2**form.digits:
        return None
    return Finding(node, reasons.LONG_SUM, f"{count} values, and {form.name} has {form.digits} digits")


def _inner(node: ir.Node, size: float, form: FloatFormat, what: str) -> Finding | None:
    if size <= form.largest:
        return None
    return Finding(
        node, reasons.INNER_OVERFLOW, f"{what} may reach {size:.4g}, and {form.name} ends at {form.largest:.4g}"
    )


def _squares(node: ir.Node, scene: Scene) -> Finding | None:
    data, form = scene.reach(input_at(node, 0)), scene.form
    count = _count(node)
    if data is None:
        return Finding(node, reasons.INNER_OVERFLOW, "nothing is known of what it squares")
    if not is_op(node, "LRN") and count is not None and (long := _long(node, count, form)) is not None:
        return long
    size = _sum_of_squares(node, data, count or 1, scene)
    if 0 < size < form.smallest_normal:
        detail = f"its squares sum up to {size:.2g}, and {form.name} is exact from {form.smallest_normal:.2g} on"
        return Finding(node, reasons.VANISHES, detail)
    return _inner(node, size, form, "its sum of squares")


def _sum_of_squares(node: ir.Node, data: Interval, count: int, scene: Scene) -> float:
    """Return how large the sum of squares gets; a norm that was observed says it exactly."""
    result = scene.reach(node.outputs[0])
    if is_op(node, "ReduceL2") and result is not None:
        return min(result.amax**2, count * data.amax**2)
    return count * data.amax**2


def _log_sum_exp(node: ir.Node, scene: Scene) -> Finding | None:
    data, most = scene.reach(input_at(node, 0)), math.log(scene.form.largest)
    if data is not None and data.high <= most - math.log(terms_of(node) or 1):
        return None
    return Finding(node, reasons.INNER_OVERFLOW, f"it sums powers of e, and e^{most:.3g} ends {scene.form.name}")


def _log_softmax(node: ir.Node, scene: Scene) -> Finding | None:
    """Runtimes take the logarithm of the Softmax, whose small numbers a 16-bit type holds coarsely or not at all.

    Source: onnx-tensorrt, LogSoftmax (a Softmax, then a logarithm).
    """
    data, form = scene.reach(input_at(node, 0)), scene.form
    axes = reduced_axes(node)
    count = None if axes is None else length(input_at(node, 0), axes)
    if data is not None and data.low - data.high - math.log(count or 1) >= math.log(form.smallest_normal):
        return None
    detail = (
        "the smallest share of its Softmax is not known, or" if data is None else "the smallest share of its Softmax"
    )
    return Finding(node, reasons.INNER_OVERFLOW, f"{detail} lies below what {form.name} holds")


def _only_long(node: ir.Node, scene: Scene) -> Finding | None:
    count = None if is_op(node, "LRN") else _count(node)
    return None if count is None else _long(node, count, scene.form)


def _checks(form: FloatFormat) -> Mapping[str, _Check]:
    return _CHECKS if form.is_narrow else _LONG


_Check = Callable[[ir.Node, Scene], Finding | None]

_LONG: dict[str, _Check] = dict.fromkeys((*_MEANS, *_SQUARES), _only_long)
"""For a type of FP32's reach."""

_CHECKS: dict[str, _Check] = {
    **dict.fromkeys(_MEANS, _mean),
    **dict.fromkeys(_SQUARES, _squares),
    "ReduceLogSumExp": _log_sum_exp,
    "LogSoftmax": _log_softmax,
}
