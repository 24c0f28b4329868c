"""Sums with a grid of positions, at the end of a detector, which a type of few digits moves by a share of a cell.

A detector adds its grid to what its last convolution gives: the numbers of cells, or the centers of prior boxes. BF16
counts by ones from 128 on, and places what lies beyond the middle of a picture to 1/256 of its width.
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
from qdq_cli.model.nodes import constant_at, consumers, is_op
from qdq_cli.model.scales import is_pair_half
from qdq_cli.placement.operators import is_weighted

_PLACES = 64
"""A table of fewer numbers is no grid."""

_REPEATS = 4
"""How often a number of a grid stands in it on average, at least: a column has one x, a row one y."""

_SHARE = 2.0**-4
"""Share of a cell that a position may move by: FP16 holds the cells of 1,024 pixels, in steps of 8, to that."""


def grids(scene: Scene) -> Iterator[Finding]:
    """Find sums with a grid that the type holds too coarsely, and what becomes of them up to the outputs."""
    for node in scene.graph:
        detail = _coarse(node, scene.form)
        behind = _to_outputs(node) if detail else None
        for found in behind or ():
            yield Finding(found, reasons.COORDINATES, detail)


def _coarse(node: ir.Node, form: FloatFormat) -> str:
    """Say what is lost of the grid that a node adds; "" where nothing to speak of is, or it adds none."""
    for slot in (0, 1) if is_op(node, "Add", "Sub") else ():
        table = constant_at(node, slot)
        cell = None if table is None or table.dtype != np.float32 else _cell(table)
        if cell is not None and table is not None:
            off = float(np.abs(table).max()) * 2.0**-form.digits
            if off > _SHARE * cell:
                return f"'{node.name}' adds a grid of cells of {cell:.3g}, and {form.name} is off by up to {off:.2g}"
    return ""


def _cell(table: NDArray[Any]) -> float | None:
    """Return the mean distance of neighbours in a grid of positions; None where a table is none."""
    distinct = np.unique(table)
    if table.size < _PLACES or distinct.size < 2 or distinct.size * _REPEATS > table.size:
        return None
    span = float(distinct[-1]) - float(distinct[0])
    return span / (distinct.size - 1) if np.isfinite(span) else None


def _to_outputs(node: ir.Node) -> tuple[ir.Node, ...] | None:
    """Return a node and all behind it; None where a weighted operator or a Q is among them, which end positions."""
    found: dict[ir.Node, None] = {}
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        if is_weighted(current) or is_pair_half(current) or current.graph is not node.graph:
            return None
        found[current] = None
        waiting += [reader for value in current.outputs for reader, _ in consumers(value)]
    return tuple(found)
