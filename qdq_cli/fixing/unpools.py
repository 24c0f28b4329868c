"""Repair of MaxPools whose Indices a MaxUnpool reads, neither of which TensorRT has (section 1.9).

The position of a maximum in its window is the ArgMax over the window's elements, each taken by a Slice; from it and the
window's own position follows the position in the picture, where a ScatterElements puts the number that comes back. Of
equal elements the first counts, and of two numbers for one position the last, as in ONNX Runtime; ONNX says neither.

Source: ONNX MaxPool, opset 12, and MaxUnpool, opset 11.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from qdq_cli.fixing.pools import MOST_SLICES, Window, Writer, windows_of
from qdq_cli.fixing.record import Left, Outcome, Repair, repair_of
from qdq_cli.model.insertion import take_over_output
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, int_attribute, is_op, static_dims

_RANK = 4


def place_by_argmax(graph: ir.Graph) -> Outcome:
    """Write MaxPools and the MaxUnpools that read their Indices with Slices, ArgMax and ScatterElements."""
    names = Names(graph)
    done: list[Repair] = []
    left: list[Left] = []
    for pool in list(graph):
        if not is_op(pool, "MaxPool") or len(pool.outputs) < 2 or not _is_read(pool.outputs[1]):
            continue
        unpools = [use.node for use in pool.outputs[1].uses()]
        found = _windows(pool, unpools)
        if isinstance(found, str):
            left.append(Left("1.9", pool.name or "", f"its Indices stay: {found}"))
            continue
        positions = _positions(Writer(graph, names, pool), pool, found)
        for unpool in unpools:
            _scatter(graph, names, unpool, positions)
            text = "a ScatterElements puts its numbers where the MaxPool found them"
            done.append(repair_of("1.9", unpool, text, True))
            graph.remove(unpool, safe=True)
        pool.resize_outputs(1)
        done.append(
            repair_of("1.9", pool, "its Indices are gone: an ArgMax over Slices finds the same positions", True)
        )
    return done, left


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _windows(pool: ir.Node, unpools: Sequence[ir.Node]) -> list[Window] | str:
    """Return the windows of a MaxPool, or why there is no equal form of it and what reads its Indices."""
    if pool.outputs[1].is_graph_output():
        return "they are an output of the model"
    if not all(is_op(node, "MaxUnpool") for node in unpools):
        return "something else than MaxUnpool reads them"
    windows = windows_of(pool)
    if isinstance(windows, str):
        return windows
    picture = static_dims(input_at(pool, 0)) or ()
    if len(picture) != _RANK or None in picture[1:] or any(window.size is None for window in windows):
        return "the size of its picture is not known"
    if int_attribute(pool, "storage_order", 0):
        return "they count columns first"
    if int(np.prod([window.kernel for window in windows])) > MOST_SLICES:
        return f"the equal form takes more than {MOST_SLICES} Slices"
    for node in unpools:
        if (static_dims(node.outputs[0]) or ())[2:] != picture[2:]:
            return "a MaxUnpool makes a picture of another size"
    return windows


def _positions(writer: Writer, pool: ir.Node, windows: Sequence[Window]) -> ir.Value:
    """Write where each maximum is in its plane, counted row by row: a tensor of the shape of the MaxPool's result."""
    rows, columns = windows
    width = (static_dims(input_at(pool, 0)) or ())[-1] or 0
    padded = writer.padded(pool.inputs[0], windows, -np.inf)
    taps = []
    for row in range(rows.kernel):
        lines = writer.slice(padded, rows, row)
        for column in range(columns.kernel):
            element = writer.slice(lines, columns, column)
            taps.append(writer.node("Unsqueeze", [element, writer.ints([_RANK])]))
    stacked = writer.node("Concat", taps, [ir.AttrInt64("axis", _RANK)])
    keep = [ir.AttrInt64("axis", _RANK), ir.AttrInt64("keepdims", 0)]
    first = writer.node("ArgMax", [stacked], keep)
    offsets = np.add.outer(
        np.arange(rows.kernel) * rows.dilation * width, np.arange(columns.kernel) * columns.dilation
    ).reshape(-1)
    within = writer.node("Gather", [writer.constant("offsets", offsets.astype(np.int64)), first])
    begins = [np.arange(window.size or 0) * window.stride - window.begin for window in windows]
    corners = np.add.outer(begins[0] * width, begins[1]).astype(np.int64)[None, None]
    return writer.node("Add", [within, writer.constant("corners", corners)])


def _scatter(graph: ir.Graph, names: Names, unpool: ir.Node, positions: ir.Value) -> None:
    """Put the equal form in the place of a MaxUnpool."""
    writer, value = Writer(graph, names, unpool), unpool.inputs[0]
    if value is None or value.dtype is None:
        raise ValueError("a MaxUnpool without input reached a repair")
    height, width = (static_dims(unpool.outputs[0]) or ())[2:]
    flat = [writer.node("Reshape", [tensor, writer.ints([0, 0, -1])]) for tensor in (positions, value)]
    batch = writer.node("Slice", [writer.node("Shape", [value]), writer.ints([0]), writer.ints([2])])
    plane = writer.ints([(height or 0) * (width or 0)])
    shape = writer.node("Concat", [batch, plane], [ir.AttrInt64("axis", 0)])
    zeros = writer.node("Expand", [writer.constant("zero", np.zeros((), value.dtype.numpy())), shape])
    placed = writer.node("ScatterElements", [zeros, *flat], [ir.AttrInt64("axis", 2)])
    picture = writer.node("Reshape", [placed, writer.ints([0, 0, height or 0, width or 0])])
    take_over_output(unpool.outputs[0], picture)
