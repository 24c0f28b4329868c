"""Repairs of scales that TensorRT refuses: 0 on what was dead when it was calibrated, too small, or negative (A7, A19).

DQ makes 0 of everything with a scale of 0, so a model with one says "this is always 0". The repair says the same with a
scale that is read: constants become zeros with the scale 1.0, activations get a scale so large that all round to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import INT8
from qdq_cli.fixing.clips import along_axis
from qdq_cli.fixing.record import Left, Outcome, Repair, repair_of
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, name_of
from qdq_cli.model.scales import holds_constant, is_dequantize, is_pair_half, is_quantize
from qdq_cli.targets.tensorrt.lint_scales import is_denormal, scale_count

SILENCING = {np.dtype(np.float32): 2.0**64, np.dtype(np.float16): 2.0**15}
"""Type of a scale -> one with which Q makes 0 of what networks compute, and products of scales stay finite."""

_Array = NDArray[np.generic]


@dataclass(frozen=True)
class _Faults:
    """Which elements of a scale are wrong, each array of the shape of the scale."""

    scale: _Array

    @property
    def lost(self) -> NDArray[np.bool_]:
        """NaN or infinite: nothing says what was meant."""
        found: NDArray[np.bool_] = ~np.isfinite(self.scale.astype(np.float64))
        return found

    @property
    def dead(self) -> NDArray[np.bool_]:
        """0, or so small that GPUs may take it as 0."""
        return np.asarray(self.scale == 0) | is_denormal(self.scale)

    @property
    def negative(self) -> NDArray[np.bool_]:
        """Below 0, and none of the others."""
        found: NDArray[np.bool_] = np.asarray(self.scale.astype(np.float64) < 0) & ~self.dead & ~self.lost
        return found

    @property
    def any(self) -> bool:
        """Whether there is anything to repair."""
        return bool((self.lost | self.dead | self.negative).any())

    def text(self) -> str:
        """Say how many there are of each kind."""
        denormal = int(is_denormal(self.scale).sum())
        counts = {
            "0": int(self.dead.sum()) - denormal,
            "too small for GPUs": denormal,
            "negative": int(self.negative.sum()),
        }
        parts = [f"{what} in {count} of {self.scale.size}" for what, count in counts.items() if count]
        return " and ".join(parts) if self.scale.size > 1 else next(what for what, count in counts.items() if count)


def mend_scales(graph: ir.Graph, names: Names) -> Outcome:
    """Write a scale that TensorRT reads where one is 0, denormal or negative; every number stays where that can be."""
    done: list[Repair] = []
    left: list[Left] = []
    for node in list(graph):
        if not is_pair_half(node) or (is_dequantize(node) and _is_behind_q(node)):
            continue
        scale = constant_at(node, 1)
        if scale is None or scale.dtype.kind != "f" or not (faults := _Faults(scale)).any:
            continue
        group = [node, *(use.node for use in node.outputs[0].uses())] if is_quantize(node) else [node]
        obstacle = _obstacle(node, group, faults)
        if obstacle:
            left.append(Left("A7", node.name or "", obstacle))
        else:
            mend = _mend_constant if holds_constant(input_at(node, 0)) else _mend_activation
            done.append(mend(graph, names, group, faults))
    return done, left


def _is_behind_q(dequantize: ir.Node) -> bool:
    codes = input_at(dequantize, 0)
    return codes is not None and is_quantize(codes.producer())


def _obstacle(node: ir.Node, group: list[ir.Node], faults: _Faults) -> str:
    """Say why the scale of a Q and its DQs, or of a DQ of a constant, has to stay; "" where it need not."""
    if faults.lost.any():
        return "its scale is not finite, and neither is what it computes; only a calibration helps"
    if int_attribute(node, "block_size", 0):
        return "it has a scale for each block"
    if is_dequantize(node) and not is_constant(input_at(node, 0)):
        return "no Q before it says what is stored"
    if node.outputs[0].is_graph_output() and is_quantize(node):
        return "its integers leave the graph"
    if not all(is_dequantize(other) and _is_equal(node, other) for other in group[1:]):
        return "something else than DQ of the same scale reads its integers"
    if faults.scale.size > 1 and not holds_constant(input_at(node, 0)):
        return "it has a scale for each channel of an activation"
    zero = constant_at(node, 2)
    if faults.negative.any() and (zero is None or zero.any() or zero.dtype != np.int8):
        return "its scale is negative and its integers are not INT8 around 0; only a calibration helps"
    return ""


def _is_equal(node: ir.Node, other: ir.Node) -> bool:
    """Say whether two nodes have the same scales and zero points along the same axis."""
    for slot in (1, 2):
        one, two = constant_at(node, slot), constant_at(other, slot)
        if (one is None) != (two is None):
            return False
        if one is not None and two is not None and not np.array_equal(one.reshape(-1), two.reshape(-1)):
            return False
    per_tensor = (scale_count(node) or 1) == 1
    return per_tensor or int_attribute(node, "axis", 1) == int_attribute(other, "axis", 1)


def _mend_activation(graph: ir.Graph, names: Names, group: list[ir.Node], faults: _Faults) -> Repair:
    scale = faults.scale
    if faults.negative.any():
        _write_scale(graph, names, group, np.abs)
        return repair_of("A7", group[0], "its negative scale is positive: other numbers saturate", False)
    silencing = SILENCING.get(scale.dtype, SILENCING[np.dtype(np.float32)])
    _write_scale(graph, names, group, lambda old: np.full_like(old, silencing))
    exact = not is_denormal(scale).any()
    text = f"its scale, {faults.text()}, is {silencing:g}, which makes 0 of every number as before"
    return repair_of("A19", group[0], text if exact else text.removesuffix(" as before"), exact)


def _mend_constant(graph: ir.Graph, names: Names, group: list[ir.Node], faults: _Faults) -> Repair:
    node = group[0]
    value, stored = input_at(node, 0), np.asarray(constant_at(node, 0))
    dead = along_axis(node, faults.dead, stored.ndim)
    negative = along_axis(node, faults.negative, stored.ndim)
    exact = not is_denormal(faults.scale).any()
    if is_quantize(node):
        mended = np.where(dead, np.zeros((), stored.dtype), stored)
        steps = np.where(negative, along_axis(node, faults.scale, stored.ndim), np.ones((), stored.dtype))
        codes = np.rint(mended.astype(np.float32) / steps.astype(np.float32))
        exact = exact and not np.logical_and(negative, codes < -INT8.qmax).any()
    else:
        zero = constant_at(node, 2)
        zeros = np.zeros((), stored.dtype) if zero is None else along_axis(node, zero, stored.ndim)
        exact = exact and not np.logical_and(negative, stored == INT8.qmin).any()
        turned = (
            np.clip(-stored.astype(np.int16), INT8.qmin, INT8.qmax).astype(stored.dtype) if negative.any() else stored
        )
        mended = np.where(negative, turned, np.where(dead, zeros, stored))
    if value is not None and not np.array_equal(mended, stored):
        node.replace_input_with(0, add_initializer(graph, names.value(f"{name_of(value)}_mended"), mended))
    _write_scale(graph, names, group, lambda old: np.where(faults.dead.reshape(old.shape), np.ones_like(old), abs(old)))
    becomes = "1" if not faults.negative.any() else "positive" if not faults.dead.any() else "1 or positive"
    rule = "A7" if faults.negative.any() else "A19"
    return repair_of(rule, node, f"its scale, {faults.text()}, is {becomes} there", exact)


def _write_scale(graph: ir.Graph, names: Names, group: list[ir.Node], change: Callable[[_Array], _Array]) -> None:
    """Give a Q and its DQs the changed scale, nodes that shared one a shared one."""
    made: dict[ir.Value, ir.Value] = {}
    for node in group:
        old, array = input_at(node, 1), constant_at(node, 1)
        if old is None or array is None:
            continue
        if old not in made:
            made[old] = add_initializer(graph, names.value(f"{name_of(old)}_mended"), change(array).astype(array.dtype))
        node.replace_input_with(1, made[old])
