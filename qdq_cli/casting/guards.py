"""Small numbers that keep a division from zero, and divisions by small numbers.

LayerNorm written out adds an epsilon to a variance, takes the root and divides by it; a vector is normalized by its
norm, but at least by 1e-12. Where the type does not hold the number, everything from the sum of squares to the division
stays FP32: what is small on the way is small for the samples that need the guard.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qdq_cli.casting import reasons
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.formats import FloatFormat, coarse_below
from qdq_cli.model.nodes import constant_at, consumers, input_at, is_constant, is_op

_MOVING = frozenset(
    {
        "Identity",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Gather",
        "Expand",
        "Tile",
    }
    | {"Concat", "Cast"}
)

_SUMMING = frozenset(
    {"ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Pow", "Mul", "Abs", "Sqrt"}
)

_GUARDING = {"Add": (0, 1), "Max": (0, 1), "Clip": (1,), "Sub": (1,)}
"""Operators that keep their result from 0, and where the number stands."""


def guards(scene: Scene) -> Iterator[Finding]:
    """Find guards that the type does not hold, with what leads to them and what they guard."""
    for node in scene.graph:
        if not is_op(node, *_GUARDING):
            continue
        number, data = _number(node), _data(node)
        if number is None or not 0 < number < coarse_below(scene.form) or _is_beside(number, data, scene):
            continue
        island = _guarded(node.outputs[0], number, scene.form)
        if island is None:
            continue
        detail = f"of '{node.name}' adds {number:.2g}" if is_op(node, "Add") else f"of '{node.name}' is {number:.2g}"
        for found in (node, *island, *_summed(data)):
            if found.graph is scene.graph:
                yield Finding(found, reasons.GUARD, f"the guard {detail}")


def _number(node: ir.Node) -> float | None:
    """Return the smallest magnitude above 0 of the constant that a guard has; None where it has none."""
    for slot in _GUARDING[node.op_type]:
        constant = constant_at(node, slot)
        if constant is not None and constant.dtype == np.float32 and constant.size:
            sizes = np.abs(constant[constant != 0])
            return float(sizes.min()) if sizes.size else None
    return None


def _data(node: ir.Node) -> ir.Value | None:
    return next((value for value in node.inputs if value is not None and not is_constant(value)), None)


def _is_beside(number: float, data: ir.Value | None, scene: Scene) -> bool:
    """Say whether a number that the type holds at all is little beside what it is added to."""
    reach = scene.reach(data)
    held = number >= scene.form.smallest / 2
    return held and data in scene.seen and reach is not None and reach.low >= scene.form.smallest_normal


def _guarded(value: ir.Value, number: float, form: FloatFormat) -> tuple[ir.Node, ...] | None:
    """Return the operators from a guard to what divides by it, so far as their operand is too small for the type.

    None where nothing divides by it.
    """
    found: list[ir.Node] | None = None
    for node, slot in consumers(value):
        behind = () if _divides(node, slot) else _behind(node, _after(node, slot, number), form)
        if behind is not None:
            found = [*(found or []), *((node,) if number < coarse_below(form) else ()), *behind]
    return None if found is None else tuple(dict.fromkeys(found))


def _behind(node: ir.Node, number: float | None, form: FloatFormat) -> tuple[ir.Node, ...] | None:
    parts = () if number is None else (_guarded(out, number, form) for out in node.outputs)
    there = [part for part in parts if part is not None]
    return tuple(node for part in there for node in part) if there else None


def _divides(node: ir.Node, slot: int) -> bool:
    if is_op(node, "Div"):
        return slot == 1
    power = constant_at(node, 1) if is_op(node, "Pow") and slot == 0 else None
    return is_op(node, "Reciprocal", "Log") or (power is not None and float(np.min(power.astype(np.float64))) < 0)


def _after(node: ir.Node, slot: int, number: float) -> float | None:
    """Return what a number has become behind an operator that hands it on; None where it does not."""
    if node.domain or slot != 0:
        return None
    if node.op_type in _MOVING:
        return number
    if node.op_type == "Sqrt":
        return float(np.sqrt(number))
    power = constant_at(node, 1) if node.op_type == "Pow" else None
    return None if power is None or power.size != 1 or power.item() <= 0 else float(number ** float(power.item()))


def _summed(value: ir.Value | None) -> list[ir.Node]:
    """Return the operators that made what a guard is added to, back to the first that does not sum or square."""
    found: list[ir.Node] = []
    while value is not None and (node := value.producer()) is not None:
        if node.domain or node.op_type not in _SUMMING | _MOVING:
            break
        found.append(node)
        value = input_at(node, 0)
    while found and found[-1].op_type in _MOVING:
        found.pop()
    return found


def small_divisors(scene: Scene) -> Iterator[Finding]:
    """Find divisions by tensors that were seen to be small, of one sign, and not 0."""
    form = scene.form
    for node in scene.graph:
        for slot, value in enumerate(node.inputs):
            reach = scene.reach(value)
            if value is None or reach is None or value not in scene.seen or not _divides(node, slot):
                continue
            least = reach.low if reach.low > 0 else -reach.high
            if 0 < least < coarse_below(form):
                detail = f"'{value.name}' is {least:.2g} for some samples"
                maker = value.producer()
                for found in (node, *(() if maker is None else (maker,))):
                    yield Finding(found, reasons.SMALL_DIVISOR, detail)
