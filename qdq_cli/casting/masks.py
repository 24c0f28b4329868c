"""Constants of any size that may be clamped to a type, because nobody sees the difference.

A mask puts a number far below every score in front of a Softmax, which makes 0 of it: any number that is far enough
below does the same. It is clamped to the largest magnitude that a tensor of the type may be seen to have, so that
adding a score, or a second mask, does not overflow. Minus infinity is a number that 16-bit types have too, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.casting.bounds import Bounds
from qdq_cli.casting.formats import FloatFormat, limit
from qdq_cli.casting.intervals import UNIT, Interval, constant_interval, extremes_of
from qdq_cli.casting.slots import is_single
from qdq_cli.model.nodes import consumers, input_at, is_constant, is_op

_PASSING = frozenset(
    {"Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "GatherND"}
    | {"Expand", "Tile", "Concat", "Where", "Cast", "Trilu", "Max", "Min"}
)
"""Operators that hand a mask on."""

_LEAST_GAP = 256.0
"""How far below the largest score a masked one has to lie: e to the power of minus this is 0 in FP32."""


@dataclass(frozen=True)
class Masks:
    """Constants that are clamped, and the tensors that hold masks on their way to a Softmax.

    Args:
        clamped: The constants.
        tensors: The tensors, the constants among them.
    """

    clamped: frozenset[ir.Value]
    tensors: frozenset[ir.Value]


def find_masks(graph: ir.Graph, form: FloatFormat, bounds: Bounds) -> Masks:
    """Find the constants of a graph that may be clamped."""
    clamped: set[ir.Value] = set()
    tensors: set[ir.Value] = set()
    for value, reach in _sources(graph):
        path = _to_softmax(value, form, bounds) if reach.low < -limit(form) and reach.high <= limit(form) else None
        if path is not None:
            tensors |= path
            clamped.add(value)
        elif _only_ends(value) and reach.amax > form.largest:
            clamped.add(value)
    return Masks(frozenset(clamped), frozenset(tensors))


def _sources(graph: ir.Graph) -> Iterator[tuple[ir.Value, Interval]]:
    """Yield what holds constants: initializers, and what ConstantOfShape makes."""
    for value in graph.initializers.values():
        if is_single(value) and is_constant(value) and (reach := constant_interval(value)) is not None:
            yield value, reach
    for node in graph:
        if is_op(node, "ConstantOfShape") and is_single(node.outputs[0]) and "value" in node.attributes:
            yield node.outputs[0], Interval(*extremes_of(node.attributes["value"].as_tensor().numpy()))


def _to_softmax(source: ir.Value, form: FloatFormat, bounds: Bounds) -> frozenset[ir.Value] | None:
    """Return the tensors on every way from a constant to where it is ignored; None where a way leads elsewhere."""
    found, work = {source}, [source]
    while work:
        value = work.pop()
        if value.is_graph_output():
            return None
        for node, slot in consumers(value):
            if node.graph is not source.graph and source.graph is not None:
                return None
            if is_op(node, "Softmax", "QuantizeLinear") and slot == 0:
                continue  # a Q saturates it, as it did
            if not _hands_on(node, slot, form, bounds):
                return None
            work += [out for out in node.outputs if out not in found]
            found.update(node.outputs)
    return frozenset(found) if len(found) > 1 or any(True for _ in consumers(source)) else None


def _hands_on(node: ir.Node, slot: int, form: FloatFormat, bounds: Bounds) -> bool:
    if node.domain:
        return False
    if node.op_type in _PASSING:
        return True
    other = input_at(node, 1 - slot) if len(node.inputs) == 2 else None
    reach = None if other is None else bounds.get(other)
    if node.op_type == "Add" or (node.op_type == "Sub" and slot == 0):
        return reach is None or not is_wide(reach, form)
    return node.op_type == "Mul" and reach is not None and UNIT.widened().holds(reach)


def is_wide(scores: Interval, form: FloatFormat) -> bool:
    """Say whether scores reach so far up that a clamped mask would not lie below all of them.

    A score that is a mask itself, far down, does no harm.
    """
    return scores.high > (limit(form) - _LEAST_GAP) / 2


def _only_ends(value: ir.Value) -> bool:
    """Say whether a constant is read as the end of a Clip, or the like, alone: beyond a type is beyond its end."""
    uses = list(consumers(value))
    return bool(uses) and all(
        (is_op(node, "Clip") and slot > 0) or (is_op(node, "Max", "Min") and len(node.inputs) == 2)
        for node, slot in uses
    )


def clamp(value: ir.Value, array: NDArray[Any], form: FloatFormat) -> NDArray[Any]:
    """Return a constant with its finite numbers clamped: a mask to the limit of a type, an end to its last number."""
    end = form.largest if _only_ends(value) else limit(form)
    return np.where(np.isfinite(array), np.clip(array, -end, end), array)
