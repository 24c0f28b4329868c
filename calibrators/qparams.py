"""QParams: the numbers that a scheme and a range come to; quantize and dequantize as ONNX Runtime does them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from calibrators.block_scales import BlockScales, block_scales, stored_scales
from calibrators.errors import NonFiniteError, ParameterError
from calibrators.qtypes import INT8, QType
from calibrators.ranges import Range, Ranges
from calibrators.scheme import Block, Dynamic, Granularity, PerChannel, PerTensor, ScaleForm, Scheme

_SCALE_TYPES = (np.dtype(np.float32), np.dtype(np.float16))


@dataclass(frozen=True, eq=False)
class QParams:
    """How real values become codes: code = clamp(round(x / scale) + zero_point, qmin, qmax).

    Args:
        scale: Real units a step, float32 or float16; shape () per tensor, [C] per channel, per block that of the values
            with one element a block along the axis; every element > 0 (A7).
        zero_point: The code of 0.0, in the stored type; same shape as `scale` (A13).
        axis: The axis that is kept, or cut into blocks; not negative (A21); None per tensor.
        qtype: The stored type.
        block_size: Values along the axis that share a scale; None per tensor and per channel.
        scales: What the scales are stored as; they are float32 here all the same.
        tensor_scale: What scales stored as E4M3 are multiplied with; None for others.

    Raises:
        ParameterError: Shapes, types or the axis do not fit each other.
        NonFiniteError: A scale is not positive and finite.
    """

    scale: NDArray[Any]
    zero_point: NDArray[Any]
    axis: int | None = None
    qtype: QType = INT8
    block_size: int | None = None
    scales: ScaleForm = ScaleForm.FLOAT
    tensor_scale: np.float32 | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        if self.scale.dtype not in _SCALE_TYPES or self.zero_point.dtype != self.qtype.dtype:
            raise ParameterError(
                f"A scale of {self.scale.dtype} with a zero point of {self.zero_point.dtype} does not quantize to "
                f"{self.qtype.name}: expected a float32 or float16 scale and a zero point of {self.qtype.dtype}."
            )
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise NonFiniteError(f"Every scale must be positive and finite, found {self.scale.ravel()[:4].tolist()}.")

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QParams):
            return NotImplemented
        return (
            (self.axis, self.block_size, self.qtype, self.scales, self.tensor_scale)
            == (other.axis, other.block_size, other.qtype, other.scales, other.tensor_scale)
            and self.scale.dtype == other.scale.dtype
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def block_scales(self) -> BlockScales:
        """The scales as they are stored, where that is not as floats."""
        return stored_scales(self.scale, self.scales, self.tensor_scale)


def _check_shapes(qparams: QParams) -> None:
    scale, axis = qparams.scale, qparams.axis
    match _granularity(axis, qparams.block_size):  # checks both
        case Block(cut, _):
            fits, rank = scale.ndim > cut, "the rank of the values"
        case _:
            fits, rank = scale.ndim == (axis is not None), f"rank {int(axis is not None)}"
    if not fits or qparams.zero_point.shape != scale.shape:
        raise ParameterError(
            f"With axis {axis}, scale and zero point must both have {rank} and equal shapes, "
            f"found {scale.shape} and {qparams.zero_point.shape}."
        )


def _granularity(axis: int | None, block_size: int | None) -> Granularity:
    if axis is None and block_size is not None:
        raise ParameterError(f"A block of {block_size} values needs an axis.")
    if axis is None:
        return PerTensor()
    return PerChannel(axis) if block_size is None else Block(axis, block_size)


def qparams_of(ranges: Range | Ranges, scheme: Scheme, scale_dtype: DTypeLike = np.float32) -> QParams:
    """Lay ranges over the codes of a scheme.

    Args:
        ranges: One for the tensor, or those of its channels or blocks. An affine scheme widens them to hold 0.0.
        scheme: How the tensor is quantized.
        scale_dtype: float32, or float16 where the tensor is float16 (rules A9-A11). Scales that are stored as small
            floats are float32.

    Returns:
        Symmetric: scale = amax / qtype.steps, the zero point in the middle; scales that are stored as small floats are
        those of `block_scales`. Affine: scale = (maximum - minimum) / (qmax - qmin), zero point = rint(qmin - minimum /
        scale), saturated, so that 0.0 is a code and stays 0.0. Divided in float64 and rounded once to `scale_dtype`.
        Where that is 0 or subnormal, the scale is 1.0 and the zero point in the middle (A19).

    Raises:
        NonFiniteError: A range has no finite scale of that type (A7).
        ParameterError: The shape of the ranges does not fit the granularity, or scales are computed at run time.

    Source: rules, section 1.1; affine: ONNX DynamicQuantizeLinear, opset 11, and compute_scale_zp of ONNX Runtime's
        quantizer.
    """
    if scheme.symmetric:
        return _symmetric(np.asarray(ranges.amax, np.float64), scheme, scale_dtype)
    minimum, maximum = _ends(ranges)
    minimum, maximum = np.minimum(minimum, 0.0), np.maximum(maximum, 0.0)
    qtype = scheme.qtype
    scale = _quotient(maximum - minimum, scheme.steps, scale_dtype, "A width")
    dead = _below_normal(scale)
    scale = np.where(dead, scale.dtype.type(1.0), scale)
    codes = np.clip(np.rint(qtype.qmin - minimum / scale.astype(np.float64)), qtype.qmin, qtype.qmax)
    return _of_scheme(scale, np.where(dead, qtype.zero_code, codes).astype(qtype.dtype), scheme)


def _ends(ranges: Range | Ranges) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if isinstance(ranges, Range):
        return np.asarray(ranges.minimum, np.float64), np.asarray(ranges.maximum, np.float64)
    return ranges.minima.astype(np.float64), ranges.maxima.astype(np.float64)


def _symmetric(amax: NDArray[np.float64], scheme: Scheme, scale_dtype: DTypeLike) -> QParams:
    if scheme.scales is not ScaleForm.FLOAT:
        return _in_blocks(amax, scheme)
    scale = _quotient(amax, scheme.steps, scale_dtype)
    scale = np.where(_below_normal(scale), scale.dtype.type(1.0), scale)
    return _of_scheme(scale, np.full(scale.shape, scheme.qtype.zero_code, scheme.qtype.dtype), scheme)


def _in_blocks(amax: NDArray[np.float64], scheme: Scheme) -> QParams:
    found = block_scales(amax, scheme.qtype, scheme.scales)
    scale = found.values()
    qparams = _of_scheme(scale, np.full(scale.shape, scheme.qtype.zero_code, scheme.qtype.dtype), scheme)
    return replace(qparams, scales=scheme.scales, tensor_scale=found.tensor)


def _of_scheme(scale: NDArray[Any], zero_point: NDArray[Any], scheme: Scheme) -> QParams:
    """The record, with axis and block size as the granularity has them."""
    match scheme.granularity:
        case PerTensor():
            return QParams(scale, zero_point, None, scheme.qtype)
        case PerChannel(axis):
            return QParams(scale, zero_point, axis, scheme.qtype)
        case Block(axis, size):
            return QParams(scale, zero_point, axis, scheme.qtype, size)
        case Dynamic():
            raise ParameterError("Scales that are computed while a network runs are not known before.")


def symmetric_qparams(
    amax: ArrayLike, *, axis: int | None = None, qtype: QType = INT8, scale_dtype: DTypeLike = np.float32
) -> QParams:
    """Lay the range [-amax, amax] over the codes around the code of 0.0: `qparams_of` without blocks, by amax.

    Args:
        amax: Real units, >= 0; a number per tensor, an array [C] per channel.
        axis: The channel axis for an array; None per tensor.
        qtype: The stored type.
        scale_dtype: float32, or float16 where the tensor is float16 (rules A9-A11).

    Returns:
        scale = amax / qtype.steps, divided in float64 and rounded once to `scale_dtype`: for a float32 amax the same as
        dividing in float32, and a scale read from a file comes back from scale * steps exactly. Where `is_negligible`,
        the scale is 1.0 (A19).

    Raises:
        NonFiniteError: NaN or Inf, or a scale too large for its type (A7).
        ParameterError: A negative amax, or a shape that does not fit the axis.
    """
    scheme = Scheme(qtype, granularity=_granularity(axis, None))
    return _symmetric(np.asarray(amax, np.float64), scheme, scale_dtype)


def is_negligible(amax: ArrayLike, *, qtype: QType = INT8, scale_dtype: DTypeLike = np.float32) -> NDArray[np.bool_]:
    """Where the scale of `amax` would be 0 or subnormal, so that `symmetric_qparams` writes 1.0: worth a note (A19).

    Returns:
        Shape of `amax`.
    """
    return np.asarray(_below_normal(_quotient(np.asarray(amax, np.float64), qtype.steps, scale_dtype)))


def is_dead(kept: Range | Ranges, scheme: Scheme, scale_dtype: DTypeLike = np.float32) -> NDArray[np.bool_]:
    """Whether the scale of a range would be 0 or subnormal, so that `qparams_of` writes 1.0 (A19).

    Returns:
        Of each of the ranges; shape () for one. Never of scales that are small floats: the smallest of them stands.
    """
    if scheme.scales is not ScaleForm.FLOAT:
        return np.zeros(np.shape(kept.amax), np.bool_)
    if scheme.symmetric:
        width = np.asarray(kept.amax, np.float64)
    else:
        minimum, maximum = _ends(kept)
        width = np.maximum(maximum, 0.0) - np.minimum(minimum, 0.0)
    return _below_normal(_quotient(width, scheme.steps, scale_dtype))


def weight_amax(array: NDArray[Any], axis: int | None = None) -> NDArray[np.float32]:
    """Largest absolute value of a weight, per tensor or per slice along `axis`: the amax of `weight_ranges`.

    Args:
        array: float16, float32 or float64, any shape; empty slices count as all zero.
        axis: The axis that is kept (rules, section 1.5); None per tensor.

    Returns:
        Shape [C], or () per tensor.

    Raises:
        NonFiniteError: The array holds NaN or Inf; the message says in how many slices.
        ParameterError: There is no such axis.
    """
    return weight_ranges(array, _granularity(axis, None)).amax.astype(np.float32)


def weight_ranges(array: NDArray[Any], granularity: Granularity) -> Ranges:
    """Smallest and largest value of a weight that share a scale, and 0.0 always between them.

    Args:
        array: float16, float32 or float64, any shape; empty slices count as all zero.
        granularity: What shares a scale.

    Returns:
        float32 ends of shape () per tensor, [C] per channel, per block that of the array with one element a block.

    Raises:
        NonFiniteError: The array holds NaN or Inf; the message says in how many slices or blocks.
        ParameterError: There is no such axis.
    """
    axis = granularity.axis if isinstance(granularity, PerChannel | Block) else None
    if axis is not None and axis >= array.ndim:
        raise ParameterError(f"A weight of shape {array.shape} has no axis {axis}.")
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(granularity, Block):
            starts = np.arange(0, array.shape[granularity.axis], granularity.size)
            smallest = np.minimum(np.minimum.reduceat(array, starts, granularity.axis), 0.0)
            largest = np.maximum(np.maximum.reduceat(array, starts, granularity.axis), 0.0)
        else:
            others = tuple(i for i in range(array.ndim) if i != axis)
            smallest, largest = array.min(axis=others, initial=0.0), array.max(axis=others, initial=0.0)
        minima, maxima = np.asarray(smallest, np.float32), np.asarray(largest, np.float32)
    bad = int(np.count_nonzero(~(np.isfinite(minima) & np.isfinite(maxima))))
    if bad:
        parts = "blocks" if isinstance(granularity, Block) else "slices"
        raise NonFiniteError(f"A weight of shape {array.shape} holds NaN or Inf in {bad} of {minima.size} {parts}.")
    return Ranges(minima, maxima)


def quantize(values: ArrayLike, qparams: QParams) -> NDArray[Any]:
    """The codes of real values: divide, round half to even, add the zero point, saturate.

    Args:
        values: Any shape; float16 and float32 in the type of the scale, as QuantizeLinear wants them. Inf saturates.
        qparams: Per channel needs values.shape[axis] = scale length; per block, as many blocks as there are scales.

    Returns:
        Same shape, in the stored type (4-bit integers a byte each, floats as bit patterns: see `QType`); equal to ONNX
        Runtime's CPU QuantizeLinear bit for bit. Two exceptions, both of float16: values of 2**31 steps and more, Inf
        among them, which overflow an int32 there, saturate here; and early releases (1.20 among them) truncate where
        ONNX says round.

    Raises:
        NonFiniteError: NaN has no code.
        ParameterError: The axis does not fit the values.

    Source: ONNX QuantizeLinear, opsets 10-21; rules, section 1.1 and A1.
    """
    reals = np.asarray(values)
    scale, zero_point = _broadcast(reals, qparams)
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.asarray(reals.astype(np.float32, copy=False) / scale.astype(np.float32), np.float32)
    return qparams.qtype.encode(scaled, zero_point)


def dequantize(codes: NDArray[Any], qparams: QParams) -> NDArray[Any]:
    """The real values of codes: (code - zero point) * scale.

    Args:
        codes: Any shape, in the stored type.
        qparams: Per channel needs codes.shape[axis] = scale length; per block, as many blocks as there are scales.

    Returns:
        Same shape, in the type of the scale; equal to ONNX Runtime's CPU DequantizeLinear bit for bit.

    Raises:
        ParameterError: The axis does not fit the codes.

    Source: ONNX DequantizeLinear, opsets 10-21; rules, section 1.1.
    """
    scale, zero_point = _broadcast(codes, qparams)
    stored = qparams.qtype.decode(codes, zero_point)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray((stored * scale.astype(np.float32)).astype(qparams.scale.dtype))


def _quotient(width: NDArray[np.float64], steps: int, scale_dtype: DTypeLike, what: str = "An amax") -> NDArray[Any]:
    """width / steps in `scale_dtype`, before dead ranges are replaced."""
    if np.any(width < 0):
        raise ParameterError(f"{what} must not be negative, found {float(width.min())}.")
    with np.errstate(over="ignore", under="ignore"):
        scale = np.asarray((width / steps).astype(scale_dtype))
    if not np.isfinite(scale).all():
        raise NonFiniteError(
            f"{what} of {float(width.max())} has no finite scale of type {scale.dtype}.",
            "Look for NaN or Inf in the model's weights or activations.",
        )
    return scale


def _below_normal(scale: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(scale < np.finfo(scale.dtype).smallest_normal)


def _broadcast(values: NDArray[Any], qparams: QParams) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scale and zero point, shaped to broadcast against `values`."""
    axis = qparams.axis
    if axis is None:
        return qparams.scale, qparams.zero_point
    if qparams.block_size is not None:
        return _spread(values, qparams, axis, qparams.block_size)
    if axis >= values.ndim or values.shape[axis] != qparams.scale.size:
        raise ParameterError(
            f"Values of shape {values.shape} do not fit {qparams.scale.size} scales along axis {axis}."
        )
    shape = [1] * values.ndim
    shape[axis] = -1
    return qparams.scale.reshape(shape), qparams.zero_point.reshape(shape)


def _spread(values: NDArray[Any], qparams: QParams, axis: int, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scale and zero point of every value, from those of its block."""
    blocks = tuple(-(-length // size) if i == axis else length for i, length in enumerate(values.shape))
    if qparams.scale.shape != blocks:
        raise ParameterError(
            f"Values of shape {values.shape} have {blocks} blocks of {size} along axis {axis}, "
            f"found {qparams.scale.shape} scales."
        )
    block_of = np.arange(values.shape[axis]) // size
    return qparams.scale.take(block_of, axis), qparams.zero_point.take(block_of, axis)
