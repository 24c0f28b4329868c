"""Over how many values an operator sums."""

from __future__ import annotations

import math

import onnx_ir as ir

from qdq_cli.casting.intervals import length
from qdq_cli.model.nodes import (
    constant_at,
    constant_ints,
    input_at,
    int_attribute,
    ints_attribute,
    rank,
)


def reduced_axes(node: ir.Node) -> tuple[int, ...] | None:
    """Return the axes that a reduction, a pooling over all of space or a Softmax sums over; None where not known."""
    dims = rank(input_at(node, 0))
    if dims is None:
        return None
    if node.op_type == "GlobalAveragePool":
        return tuple(range(2, dims))
    if node.op_type in ("Softmax", "LogSoftmax"):
        return (int_attribute(node, "axis", -1),)
    if node.op_type == "LpNormalization":
        return (int_attribute(node, "axis", -1),)
    axes = constant_ints(node, 1) if input_at(node, 1) is not None else ints_attribute(node, "axes")
    if axes:
        return axes
    if input_at(node, 1) is not None and constant_at(node, 1) is None:
        return None
    return () if int_attribute(node, "noop_with_empty_axes", 0) else tuple(range(dims))


def terms_of(node: ir.Node) -> int | None:
    """Return how many values a reduction sums for one result; None where a dimension is not known."""
    axes = reduced_axes(node)
    return None if axes is None else length(input_at(node, 0), axes)


def window(node: ir.Node) -> int | None:
    """Return how many values a pooling operator averages; None where it does not say."""
    kernel = ints_attribute(node, "kernel_shape")
    return None if kernel is None else math.prod(kernel)
