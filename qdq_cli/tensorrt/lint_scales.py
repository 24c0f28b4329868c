"""Lint of single Q and DQ nodes: scale, zero point, axis and types (rules, sections 1.3 and 1.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qdq_cli.graph.nodes import FLOAT_TYPES, constant_at, input_at, int_attribute, is_constant, is_op, static_dims
from qdq_cli.graph.scales import element_count, holds_constant, is_quantize, stored_type
from qdq_cli.tensorrt.findings import FROM_10, UP_TO_8_6, Finding, finding

MAX_SCALES_READ = 1 << 20
"""A scale with more elements is no per-channel scale; its values are not read."""

NEWER_TYPES = frozenset({ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.FLOAT4E2M1})
"""Stored types TensorRT 10 and above read (rules, section 7)."""


def lint_node(node: ir.Node) -> Iterator[Finding]:
    """Yield what is wrong with one Q or DQ."""
    yield from _scale(node)
    yield from _zero_point(node)
    yield from _types(node)
    yield from _axis(node)


def scale_count(node: ir.Node) -> int | None:
    """Return how many elements the scale of a Q or DQ has, or None where that is not known."""
    scale = input_at(node, 1)
    return None if scale is None else element_count(scale)


def _name(value: ir.Value | None) -> str:
    return "" if value is None or value.name is None else value.name


def label(node: ir.Node) -> str:
    """Return the name of a node, or one made of its operator and first output."""
    return node.name or f"{node.op_type}_{_name(node.outputs[0]) if node.outputs else ''}"


def _scale(node: ir.Node) -> Iterator[Finding]:
    scale = input_at(node, 1)
    if scale is None:
        yield finding("E_SCALE_NOT_CONST", label(node), "", "no scale at all")
        return
    source = scale
    if is_op(scale.producer(), "Cast") and (before := input_at(scale.producer() or node, 0)) is not None:
        source = before  # one Cast is let through (A8)
    if not is_constant(source):
        producer = source.producer()
        found = f"computed by {producer.op_type}" if producer is not None else "a graph input"
        yield finding("E_SCALE_NOT_CONST", label(node), _name(scale), found)
    yield from _scale_type(node, scale)
    array = constant_at(node, 1) if (scale_count(node) or 0) <= MAX_SCALES_READ else None
    if array is not None and array.dtype.kind in "fV":
        with np.errstate(invalid="ignore"):  # signalling NaNs
            values = np.ravel(array).astype(np.float64)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if wrong.size:
            found = f"{values[wrong[0]]:g}" if values.size == 1 else f"{wrong.size} of {values.size} elements"
            yield finding("E_SCALE_NONPOS", label(node), _name(scale), found)


def _scale_type(node: ir.Node, scale: ir.Value) -> Iterator[Finding]:
    dtype, data = scale.dtype, input_at(node, 0)
    if dtype is None or dtype == ir.DataType.FLOAT8E8M0:
        return
    if dtype not in FLOAT_TYPES:
        yield finding("E_SCALE_DTYPE", label(node), _name(scale), f"a {dtype.name} scale")
    elif dtype != ir.DataType.FLOAT:
        yield finding("E_SCALE_DTYPE", label(node), _name(scale), f"a {dtype.name} scale", UP_TO_8_6)
    mixed = data is not None and data.dtype in FLOAT_TYPES and dtype in FLOAT_TYPES and dtype != data.dtype
    if is_quantize(node) and mixed and data is not None and data.dtype is not None:
        found = f"a {dtype.name} scale on {data.dtype.name} data"
        yield finding("E_SCALE_DTYPE", label(node), _name(scale), found, FROM_10)


def _zero_point(node: ir.Node) -> Iterator[Finding]:
    value = input_at(node, 2)
    if value is None:
        if stored_type(node) in (ir.DataType.INT8, ir.DataType.UINT8):
            yield finding("E_ZP_MISSING", label(node), _name(input_at(node, 0)), "two inputs")
            yield finding("W_ZP_MISSING", label(node), _name(input_at(node, 0)), "two inputs")
        return
    if value.dtype == ir.DataType.UINT8:
        yield finding("E_ZP_DTYPE", label(node), _name(value), "a UINT8 zero point")
    if value.const_value is None or not is_constant(value):
        yield finding("E_ZP_NONZERO", label(node), _name(value), "a zero point that is computed at run time")
        return
    size = element_count(value) or 0
    count = scale_count(node)
    if count is not None and size != count:
        yield finding("E_ZP_SIZE", label(node), _name(value), f"{size} zero points and {count} scales")
    array = constant_at(node, 2) if size <= MAX_SCALES_READ else None
    if array is not None and array.size and np.any(array.astype(np.float32) != 0):
        first = np.ravel(array)[np.flatnonzero(np.ravel(array).astype(np.float32))[0]]
        yield finding("E_ZP_NONZERO", label(node), _name(value), f"zero point {first}")


def _types(node: ir.Node) -> Iterator[Finding]:
    data, stored = input_at(node, 0), stored_type(node)
    if is_quantize(node) and data is not None and data.dtype is not None and data.dtype not in FLOAT_TYPES:
        yield finding("E_QDQ_TYPE", label(node), _name(data), f"Q of {data.dtype.name} data")
    if stored in NEWER_TYPES:
        yield finding("E_QDQ_TYPE", label(node), _name(data), f"{stored.name}", UP_TO_8_6)
    elif stored not in (ir.DataType.INT8, ir.DataType.UINT8):
        yield finding("E_QDQ_TYPE", label(node), _name(data), f"{stored.name}")
    elif int_attribute(node, "block_size", 0):
        yield finding("E_QDQ_TYPE", label(node), _name(data), f"{stored.name} with a scale for each block")


def _axis(node: ir.Node) -> Iterator[Finding]:
    """Check per-channel scales: only on weights, with an axis, as long as the tensor is there (A2-A5, A20)."""
    count, data = scale_count(node), input_at(node, 0)
    if count is None or count == 1 or int_attribute(node, "block_size", 0) or data is None:
        return
    if not holds_constant(data):
        yield finding("E_ACT_PER_AXIS", label(node), _name(data), f"{count} scales on an activation")
        return
    if "axis" not in node.attributes:
        yield finding("E_AXIS_MISSING", label(node), _name(data), f"{count} scales and no axis")
    dims = _dims(data)
    if dims is not None:
        axis = int_attribute(node, "axis", 1)
        inside = -len(dims) <= axis < len(dims)
        length = dims[axis] if inside else None
        if not inside or (length is not None and length != count):
            yield finding("E_AXIS_LEN", label(node), _name(data), f"{count} scales along axis {axis} of {_shape(dims)}")


def _dims(value: ir.Value) -> tuple[int | None, ...] | None:
    dims = static_dims(value)
    if dims is None and value.const_value is not None:
        dims = tuple(value.const_value.shape.numpy())
    return dims


def _shape(dims: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"
