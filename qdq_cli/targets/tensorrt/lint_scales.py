"""Lint of single Q and DQ nodes: scale, zero point, axis and types (rules, sections 1.3 and 1.4)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.codes import CodeRange, code_range
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, is_op, static_dims
from qdq_cli.model.opset import MIN_OPSET
from qdq_cli.model.scales import (
    element_count,
    holds_constant,
    indirect_slots,
    is_pair_half,
    is_quantize,
    stored_type,
)
from qdq_cli.targets.tensorrt.findings import UP_TO_8_6, Finding, finding
from qdq_cli.targets.tensorrt.lint_types import (
    Half,
    is_made_for_blocks,
    label,
    lint_scale_type,
    lint_types,
    name_in,
)

MAX_SCALES_READ = 1 << 20
"""A scale with more elements is no per-channel scale; its values are not read."""

SHIFT = 128
"""Distance between UINT8 codes with zero point 128 and the INT8 codes of the same numbers."""

EIGHT = 8

THROUGH_IDENTITY = "read through an Identity"
INLINE = "Read the initializer itself; `qdq fix` does."
NOT_FINITE = "Calibrate again: what a scale computes that is not finite is lost, so nothing here brings it back."
NORMAL = "every element of the scale a normal FP32 number: GPUs may take smaller ones as 0"

UNSHIFT = f"Store INT8 with zero point 0, the same numbers; `qdq fix` does for UINT8 with zero point {SHIFT}."

UNSIGNED = "Quantize to INT8, with ranges that are symmetric around zero; nothing else repairs it."


def default_axis(opset: int) -> int:
    """Return the axis of a per-channel Q or DQ that names none: ONNX's since opset 13; TensorRT's before that (A20)."""
    return 1 if opset >= MIN_OPSET else 0


def lint_node(node: ir.Node, opset: int = MIN_OPSET) -> Iterator[Finding]:
    """Yield what is wrong with one Q or DQ of a model of an opset."""
    data, scale, zero_point = input_at(node, 0), input_at(node, 1), input_at(node, 2)
    block_size, axis = int_attribute(node, "block_size", 0), int_attribute(node, "axis", default_axis(opset))
    scales, indirect = scale_count(node), indirect_slots(node)
    half = Half(node, data, scale, zero_point, scales, stored_type(node), block_size, axis, indirect, opset)
    yield from _scale(half)
    yield from _zero_point(half)
    yield from lint_types(half)
    yield from _axis(half)
    yield from _vector(half)
    yield from _clipped(half)


def scale_count(node: ir.Node) -> int | None:
    """Return how many elements the scale of a Q or DQ has, or None where that is not known."""
    scale = input_at(node, 1)
    return None if scale is None else element_count(scale)


def is_shifted(node: ir.Node) -> bool:
    """Say whether a Q or DQ stores UINT8 with zero point 128: INT8 codes with zero point 0 mean the same numbers."""
    zero = constant_at(node, 2) if is_pair_half(node) else None
    return zero is not None and zero.dtype == np.uint8 and bool(np.all(zero == SHIFT))


def _scale(half: Half) -> Iterator[Finding]:
    node, scale = half.node, half.scale
    if scale is None:
        yield finding("E_SCALE_NOT_CONST", label(node), "", "no scale at all")
        return
    source, maker = scale, scale.producer()
    if maker is not None and is_op(maker, "Cast") and (before := input_at(maker, 0)) is not None:
        source = before  # one Cast is let through (A8)
    if is_made_for_blocks(half):
        return
    if not is_constant(source):
        producer = source.producer()
        found = f"computed by {producer.op_type}" if producer is not None else "a graph input"
        yield finding("E_SCALE_NOT_CONST", label(node), name_in(scale), found)
    elif 1 in half.indirect:
        yield finding("E_SCALE_NOT_CONST", label(node), name_in(scale), THROUGH_IDENTITY, UP_TO_8_6)
    yield from lint_scale_type(half)
    array = constant_at(node, 1) if (half.scales or 0) <= MAX_SCALES_READ else None
    if array is not None and array.dtype.kind in "fV" and not _all_positive(array):
        with np.errstate(invalid="ignore"):  # signalling NaNs
            values = np.ravel(array).astype(np.float64)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        found = f"{values[wrong[0]]:g}" if values.size == 1 else f"{wrong.size} of {values.size} elements"
        entry = finding("E_SCALE_NONPOS", label(node), name_in(scale), found)
        yield entry if np.isfinite(values).all() else replace(entry, fix=NOT_FINITE)
    elif array is not None and is_denormal(array).any():
        found = f"{int(is_denormal(array).sum())} of {array.size} scales below the smallest normal number"
        yield replace(finding("E_SCALE_NONPOS", label(node), name_in(scale), found), expected=NORMAL)


def is_denormal(scales: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Say which scales are denormal FP32 numbers, which GPUs may take as 0 (A19)."""
    if scales.dtype != np.float32:
        return np.zeros(scales.shape, bool)
    tiny: NDArray[np.bool_] = (scales != 0) & (np.abs(scales) < np.finfo(np.float32).tiny)
    return tiny


def _all_positive(scales: NDArray[np.generic]) -> bool:
    """Say whether every scale is finite and above 0."""
    if scales.size == 1:
        return 0 < float(scales.item()) < math.inf
    if not scales.size:
        return True
    with np.errstate(invalid="ignore"):
        values = scales if scales.dtype.kind == "f" else scales.astype(np.float64)
        return bool(values.min() > 0 and values.max() < math.inf)  # of NaN, both are NaN


def _zero_point(half: Half) -> Iterator[Finding]:
    node, value = half.node, half.zero_point
    if value is None:
        if half.stored in (ir.DataType.INT8, ir.DataType.UINT8):
            yield finding("E_ZP_MISSING", label(node), name_in(half.data), "two inputs")
        if half.stored is ir.DataType.UINT8:  # a DQ of INT8 codes, or a Q that names its type, says the same to all
            yield finding("W_ZP_MISSING", label(node), name_in(half.data), "two inputs")
        return
    if value.dtype == ir.DataType.UINT8:
        entry = finding("E_ZP_DTYPE", label(node), name_in(value), "a UINT8 zero point")
        yield replace(entry, fix=UNSHIFT if is_shifted(node) else UNSIGNED)
    if not is_constant(value):
        yield finding("E_ZP_NONZERO", label(node), name_in(value), "a zero point that is computed at run time")
        return
    if 2 in half.indirect:
        entry = finding("E_ZP_NONZERO", label(node), name_in(value), THROUGH_IDENTITY, UP_TO_8_6)
        yield replace(entry, expected="the zero point as an initializer or Constant", rule="A8", fix=INLINE)
    size = element_count(value) or 0
    if half.scales is not None and size != half.scales:
        yield finding("E_ZP_SIZE", label(node), name_in(value), f"{size} zero points and {half.scales} scales")
    array = constant_at(node, 2) if size <= MAX_SCALES_READ else None
    if array is not None and array.astype(np.float32).any():
        first = np.ravel(array)[np.flatnonzero(np.ravel(array).astype(np.float32))[0]]
        entry = finding("E_ZP_NONZERO", label(node), name_in(value), f"zero point {first}")
        yield replace(entry, fix=UNSHIFT) if is_shifted(node) else entry


def _axis(half: Half) -> Iterator[Finding]:
    """Check per-channel scales: only on weights, with an axis, as long as the tensor is there (A2-A5, A20)."""
    node, count, data = half.node, half.scales, half.data
    if count is None or count == 1 or half.block_size or data is None:
        return
    if not holds_constant(data):
        yield finding("E_ACT_PER_AXIS", label(node), name_in(data), f"{count} scales on an activation")
        return
    if "axis" not in node.attributes:
        yield finding("E_AXIS_MISSING", label(node), name_in(data), f"{count} scales and no axis")
    dims = _dims(data)
    if dims is not None:
        axis = half.axis
        inside = -len(dims) <= axis < len(dims)
        length = dims[axis] if inside else None
        if not inside or (length is not None and length != count):
            yield finding(
                "E_AXIS_LEN", label(node), name_in(data), f"{count} scales along axis {axis} of {_shape(dims)}"
            )


def is_vector_of_one(node: ir.Node) -> bool:
    """Say whether a Q or DQ of an activation has a vector of one scale, where a scalar is meant (A2)."""
    scale, data = input_at(node, 1), input_at(node, 0)
    vector = scale is not None and scale.shape is not None and scale.shape.rank() == 1
    return vector and scale_count(node) == 1 and not holds_constant(data)


def _vector(half: Half) -> Iterator[Finding]:
    """Say once a pair that its scale is a vector; a Q speaks for the DQs behind it."""
    speaks = is_quantize(half.node) or half.data is None or not is_quantize(half.data.producer())
    if speaks and not half.block_size and is_vector_of_one(half.node):
        yield finding("W_SCALE_SHAPE", label(half.node), name_in(half.data), "a scale of shape [1]")


def _clipped(half: Half) -> Iterator[Finding]:
    """Say what a clip of stored integers that stood before a DQ means (A1)."""
    found = code_range(half.node)
    if found is None:
        return
    names = " and ".join(f"'{name}'" for name in found.nodes)
    text = f"{names} between Q and DQ lets {found.low} to {found.high} through: {meaning_of(found)}"
    yield finding("W_CODES_CLIPPED", label(half.node), name_in(half.data), text)


def meaning_of(found: CodeRange) -> str:
    """Say what a range of stored integers stands for."""
    if found.is_full:
        return f"all that {found.qtype.name} holds"
    signed = found.low < 0
    count = found.high - found.low + 1
    bits = max(count - 1, 1).bit_length()
    kind = "the narrow range of " if signed and found.low == -found.high else ""
    if bits < EIGHT:
        return f"{kind}{bits} bits kept in {found.qtype.name}"
    return f"{kind or 'the '}8 bits of {found.qtype.name}"


def _dims(value: ir.Value) -> tuple[int | None, ...] | None:
    dims = static_dims(value)
    if dims is None and value.const_value is not None:
        dims = tuple(value.const_value.shape.numpy())
    return dims


def _shape(dims: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"
