"""Repair of MaxPools with dilations, which no layer of TensorRT has: the same maxima over Slices (section 1.9).

A maximum over a window is the maximum along one axis of the maxima along the other, so that each dilated axis takes as
many Slices as its kernel is long, and one Max. What padding adds is the least finite number of the type.

Source: ONNX MaxPool, opset 10 to 22.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.fixing.record import Left, Outcome, Repair, repair_of
from qdq_cli.model.insertion import add_initializer, take_over_output
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, int_attribute, ints_attribute, is_op, static_dims, string_attribute
from qdq_cli.targets.tensorrt.importer.conditions import has_outputs, is_spread

MOST_SLICES = 16
"""Most Slices that stand for one MaxPool: each reads the whole tensor again."""

PAD_OPSET = 11
"""Pad has its sizes as an input since this opset."""

_TO_THE_END = np.iinfo(np.int64).max

_LEAST = {
    ir.DataType.FLOAT: float(np.finfo(np.float32).min),
    ir.DataType.FLOAT16: float(np.finfo(np.float16).min),
    ir.DataType.BFLOAT16: -(2.0**128) + 2.0**120,
}
"""Element type -> its least finite number."""


@dataclass(frozen=True)
class Window:
    """The window of a MaxPool along one axis.

    Args:
        axis: The axis of the tensor.
        kernel: Elements in the window.
        stride: Steps from one window to the next.
        dilation: Steps from one element of the window to the next.
        begin: Elements that padding adds before the tensor.
        end: Elements that it adds behind it; as many as the last window needs where the size is known.
        size: Windows; None where the dimension is open.
    """

    axis: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    size: int | None

    @property
    def is_plain(self) -> bool:
        """Whether it has no dilation, or nothing to spread."""
        return self.dilation == 1 or self.kernel == 1


def undilate_pools(graph: ir.Graph) -> Outcome:
    """Write the MaxPools of a graph that have dilations with Slices, where that is exact and cheap enough."""
    names = Names(graph)
    done: list[Repair] = []
    left: list[Left] = []
    for node in list(graph):
        if not is_op(node, "MaxPool") or not is_spread(node):
            continue
        found = "its Indices are read" if has_outputs(1)(node) else windows_of(node)
        if not isinstance(found, str) and sum(window.kernel for window in found if not window.is_plain) > MOST_SLICES:
            found = f"the equal form takes more than {MOST_SLICES} Slices"
        if isinstance(found, str):
            left.append(Left("1.9", node.name or "", f"its dilations stay: {found}"))
            continue
        slices = sum(window.kernel for window in found if not window.is_plain)
        text = f"its dilations are gone: {slices} Slices and a Max for each axis find the same numbers"
        done.append(repair_of("1.9", node, text, True))
        _replace(graph, names, node, found)
    return done, left


def windows_of(node: ir.Node) -> list[Window] | str:
    """Return the window of each spatial axis, or why there is no equal form of a node."""
    value = input_at(node, 0)
    dims, kernel = static_dims(value), ints_attribute(node, "kernel_shape") or ()
    if value is None or dims is None or len(dims) != len(kernel) + 2:
        return "the shape of its input is not known"
    if value.dtype not in _LEAST:
        return "its input is of no float type"
    if node.graph is None or node.graph.opset_imports.get("", PAD_OPSET) < PAD_OPSET:
        return f"the equal form takes opset {PAD_OPSET}"
    if string_attribute(node, "auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return "runtimes do not agree on how much auto_pad pads with dilations"
    found = [_window(node, number, dims[number + 2]) for number in range(len(kernel))]
    windows = [window for window in found if window is not None]
    if len(windows) < len(found):
        return "how many windows there are depends on an open dimension"
    declared = static_dims(node.outputs[0])
    for size, said in zip([window.size for window in windows], (declared or ())[2:], strict=False):
        if None not in (size, said) and size != said:
            return "its declared size is not the one it has"
    return windows


def _least_of(node: ir.Node) -> float:
    """Return the least finite number of the type that a MaxPool is on."""
    value = input_at(node, 0)
    return 0.0 if value is None or value.dtype is None else _LEAST[value.dtype]


def _window(node: ir.Node, number: int, size: int | None) -> Window | None:
    """Return the window along one axis; None where its padding depends on a dimension that is open."""

    def at(name: str, default: int, index: int = number) -> int:
        values = ints_attribute(node, name)
        return default if not values else values[index]

    kernel, stride, dilation = at("kernel_shape", 1), at("strides", 1), at("dilations", 1)
    rank = len(ints_attribute(node, "kernel_shape") or ())
    valid = string_attribute(node, "auto_pad", "NOTSET") == "VALID"
    begin, end = (0, 0) if valid else (at("pads", 0), at("pads", 0, number + rank))
    reach = (kernel - 1) * dilation + 1
    if not int_attribute(node, "ceil_mode", 0):
        open_or_count = None if size is None else (size + begin + end - reach) // stride + 1
        return Window(number + 2, kernel, stride, dilation, begin, end, open_or_count)
    if size is None:
        return None
    count = -(-(size + begin + end - reach) // stride) + 1
    count -= (count - 1) * stride >= size + begin  # no window begins behind the tensor
    needed = (count - 1) * stride + reach - size - begin
    return Window(number + 2, kernel, stride, dilation, begin, max(needed, 0), count)


def _replace(graph: ir.Graph, names: Names, node: ir.Node, windows: Sequence[Window]) -> None:
    """Put the equal form in the place of a MaxPool."""
    writer = Writer(graph, names, node)
    spread = [window for window in windows if not window.is_plain]
    value = writer.padded(node.inputs[0], spread, _least_of(node))
    for window in spread:
        value = writer.maximum([writer.slice(value, window, tap) for tap in range(window.kernel)])
    if any(window.is_plain and (window.kernel > 1 or window.stride > 1) for window in windows):
        value = writer.pool(value, windows)
    take_over_output(node.outputs[0], value)
    graph.remove(node, safe=True)


class Writer:
    """Writes the nodes that stand for one MaxPool in front of it; constants of equal numbers are one initializer."""

    def __init__(self, graph: ir.Graph, names: Names, node: ir.Node) -> None:
        self._graph, self._names, self._node = graph, names, node
        self._constants: dict[tuple[int, ...], ir.Value] = {}

    def padded(self, value: ir.Value | None, windows: Sequence[Window], number: float) -> ir.Value:
        """Pad a tensor with a number along the axes of some windows."""
        if value is None or value.dtype is None:
            raise ValueError("a MaxPool without input reached a repair")
        rank = len(static_dims(value) or ())
        pads = [0] * (2 * rank)
        for window in windows:
            pads[window.axis], pads[window.axis + rank] = window.begin, window.end
        if not any(pads):
            return value
        fill = self.constant("fill", np.asarray(number).astype(value.dtype.numpy()))
        return self.node("Pad", [value, self.ints(pads), fill])

    def slice(self, value: ir.Value, window: Window, tap: int) -> ir.Value:
        """Take one element of each window along an axis."""
        start, rest = tap * window.dilation, (window.kernel - 1 - tap) * window.dilation
        end = -rest or _TO_THE_END
        if window.size is not None:
            end = start + (window.size - 1) * window.stride + 1
        parts = [self.ints([number]) for number in (start, end, window.axis, window.stride)]
        return self.node("Slice", [value, *parts])

    def maximum(self, values: list[ir.Value]) -> ir.Value:
        """Take the largest of several tensors, element by element."""
        return self.node("Max", values)

    def pool(self, value: ir.Value, windows: Sequence[Window]) -> ir.Value:
        """Pool along the axes that have no dilation, as the MaxPool did."""
        plain = [window if window.is_plain else Window(window.axis, 1, 1, 1, 0, 0, None) for window in windows]
        attributes = [
            ir.AttrInt64s("kernel_shape", [window.kernel for window in plain]),
            ir.AttrInt64s("strides", [window.stride for window in plain]),
            ir.AttrInt64s("pads", [*(window.begin for window in plain), *(window.end for window in plain)]),
        ]
        return self.node("MaxPool", [value], attributes)

    def ints(self, numbers: Sequence[int]) -> ir.Value:
        """Return a list of numbers as a constant."""
        key = tuple(numbers)
        if key not in self._constants:
            self._constants[key] = self.constant("_".join(map(str, key[:2])), np.asarray(numbers, np.int64))
        return self._constants[key]

    def constant(self, word: str, array: NDArray[np.generic]) -> ir.Value:
        """Return an array as a constant whose name ends in a word."""
        return add_initializer(self._graph, self._names.value(f"{self._node.name}_{word}"), array)

    def node(self, op_type: str, inputs: Sequence[ir.Value], attributes: Sequence[ir.Attr] = ()) -> ir.Value:
        """Write a node; returns what it makes, whose type and shape are left to inference."""
        name = f"{self._node.name}_{op_type}"
        result = ir.Value(name=self._names.value(name))
        node = ir.Node("", op_type, list(inputs), attributes, outputs=[result], name=self._names.node(name))
        self._graph.insert_before(self._node, node)
        return result
