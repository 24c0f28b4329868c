"""Constant weights, as arrays, and how far their products reach: one interval for all output channels.

A weight behind Q and DQ has what the DQ gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qtypes import QTYPES
from qdq_cli.casting.intervals import Interval
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, is_op
from qdq_cli.model.scales import is_dequantize, is_quantize

_UNIT_ROUNDING = 2.0**-23


def weight_array(value: ir.Value | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return a constant weight and how far each element of it may be off, both of the weight's shape or a scalar.

    None where it is computed at run time.
    """
    if value is None:
        return None
    if is_constant(value) and value.const_value is not None:
        return np.asarray(value.const_value.numpy()), np.zeros(())
    node = value.producer()
    if not is_dequantize(node) or node is None:
        return None
    scale = spread_scale(node)
    codes = input_at(node, 0)
    if scale is None or codes is None:
        return None
    if is_constant(codes) and codes.const_value is not None:
        return dequantized(node, np.asarray(codes.const_value.numpy()), scale), np.zeros(())
    quantize = codes.producer()
    if not is_quantize(quantize) or quantize is None:
        return None
    floats, first = constant_at(quantize, 0), spread_scale(quantize)
    if floats is None or first is None or floats.dtype != np.float32:
        return None
    ratio = scale / first  # 1, but for integers kept as floats behind a scale of 1
    return floats * ratio, np.asarray((0.5 + _UNIT_ROUNDING) * scale + np.abs(floats * ratio) * _coarseness(quantize))


def _coarseness(quantize: ir.Node) -> float:
    """Return the relative rounding of a stored float type; 0 for integers."""
    codes = quantize.outputs[0]
    qtype = QTYPES.get(codes.dtype.name.lower()) if codes.dtype is not None else None
    return 0.0 if qtype is not None and qtype.grid is None else 0.25


def dequantized(node: ir.Node, codes: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    """Return what a DQ gives for constant codes, in FP32."""
    wide = codes.astype(np.float32)
    zero_point = constant_at(node, 2)
    if zero_point is not None and np.any(offset := zero_point.astype(np.float32)):
        placed = spread(node, offset, codes.shape)
        wide = wide if placed is None else wide - placed
    return np.asarray(wide * scale)


def spread_scale(node: ir.Node) -> NDArray[Any] | None:
    """Return the constant scale of a Q or DQ in a shape that broadcasts to its data; None where it is computed."""
    scale, data = constant_at(node, 1), input_at(node, 0)
    if scale is None or data is None or data.shape is None or not data.shape.is_static():
        return None
    return spread(node, scale.astype(np.float32), tuple(data.shape.numpy()))


def spread(node: ir.Node, scale: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Bring a scale or zero point of a Q or DQ to a shape that broadcasts to its data; None where it does not fit."""
    block, axis = int_attribute(node, "block_size", 0), int_attribute(node, "axis", 1)
    if scale.size == 1:
        return scale.reshape(())
    if not -len(shape) <= axis < len(shape):
        return None
    if block:
        whole = np.repeat(scale, block, axis=axis) if scale.ndim == len(shape) else scale
        return whole.take(range(shape[axis]), axis=axis) if whole.shape[axis] >= shape[axis] else None
    placed = [1] * len(shape)
    placed[axis] = scale.size
    return scale.reshape(placed) if scale.size == shape[axis] else None


def channel_sums(node: ir.Node) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """Return, for each output channel of an operator, the sums of positive and of negative weights and of doubt.

    None where the weight is not constant, or its layout not known.
    """
    slot = weight_slot(node)
    weight = None if slot is None else weight_array(input_at(node, slot))
    if weight is None:
        return None
    array, doubt = weight
    reduced = reduced_axes_of_weight(node, array.ndim, slot or 0)
    if reduced is None:
        return None
    wide = grouped(node, array)
    off = grouped(node, np.broadcast_to(doubt, array.shape)) if np.ndim(doubt) else np.zeros_like(wide[..., :1])
    above = np.maximum(wide, 0).sum(axis=reduced, dtype=np.float64)
    below = np.minimum(wide, 0).sum(axis=reduced, dtype=np.float64)
    return above, below, np.broadcast_to(off, wide.shape).sum(axis=reduced, dtype=np.float64)


def grouped(node: ir.Node, array: NDArray[Any]) -> NDArray[Any]:
    """Split the input channels of a ConvTranspose with groups, each of which makes channels of its own."""
    groups = int_attribute(node, "group", 1)
    if node.op_type == "ConvTranspose" and groups > 1 and array.shape[0] % groups == 0:
        return array.reshape(groups, array.shape[0] // groups, *array.shape[1:])
    return array


def weight_slot(node: ir.Node) -> int | None:
    """Return the slot of the weight of a weighted operator; of a MatMul, the one that is constant, or None."""
    if is_op(node, "Conv", "ConvTranspose", "Gemm"):
        return 1
    constant = [slot for slot in (1, 0) if is_op(node, "MatMul") and _is_weight(input_at(node, slot))]
    return constant[0] if constant else None


def _is_weight(value: ir.Value | None) -> bool:
    if value is None or is_constant(value):
        return value is not None
    node = value.producer()
    if not is_dequantize(node) or node is None:
        return False
    codes = input_at(node, 0)
    maker = None if codes is None else codes.producer()
    return is_constant(codes) or (maker is not None and is_quantize(maker) and is_constant(input_at(maker, 0)))


def reduced_axes_of_weight(node: ir.Node, dims: int, slot: int) -> tuple[int, ...] | None:
    """Return the axes of a weight that one output element sums over, after `grouped`."""
    if node.op_type == "Conv":
        return tuple(range(1, dims)) if dims > 2 else None
    if node.op_type == "ConvTranspose":
        groups = int_attribute(node, "group", 1)
        return ((0, *range(2, dims)) if groups == 1 else (1, *range(3, dims + 1))) if dims > 2 else None
    if node.op_type == "Gemm":
        return ((1,) if int_attribute(node, "transB", 0) else (0,)) if dims == 2 else None
    return (-1,) if slot == 0 or dims == 1 else (-2,)


def product_interval(node: ir.Node, data: Interval, scale: float = 1.0) -> Interval | None:
    """Bound the products of a weighted operator with a constant weight, without its bias.

    Args:
        node: The operator.
        data: Bounds of its other operand; padding adds zeros to it.
        scale: Factor of the products (alpha of Gemm).
    """
    sums = channel_sums(node)
    if sums is None or not sums[0].size:
        return None
    above, below, doubt = sums
    x = data.with_zero()
    reach = doubt * x.amax
    high = above * x.high + below * x.low + reach
    low = above * x.low + below * x.high - reach
    magnitude = (above - below + doubt) * x.amax
    room = _UNIT_ROUNDING * _terms(node) * float(magnitude.max())
    ends = (scale * (float(low.min()) - room), scale * (float(high.max()) + room))
    return Interval(min(ends), max(ends)).widened()


def _terms(node: ir.Node) -> int:
    """Return at most how many products one output element sums: what rounding grows with."""
    slot = weight_slot(node)
    weight = None if slot is None else input_at(node, slot)
    if weight is None or weight.shape is None or not weight.shape.is_static():
        return 1 << 16
    dims = [int(size) for size in weight.shape.numpy()]
    return max(int(np.prod(dims)) // max(min(dims, default=1), 1), 1) if dims else 1
