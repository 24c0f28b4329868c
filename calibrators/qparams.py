"""QParams: scale, zero point, axis and type of a tensor; quantize and dequantize as ONNX Runtime does them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from calibrators.errors import NonFiniteError, ParameterError
from calibrators.qtypes import INT8, QType

_SCALE_TYPES = (np.dtype(np.float32), np.dtype(np.float16))


@dataclass(frozen=True, eq=False)
class QParams:
    """How real values become codes: code = clamp(rint(x / scale) + zero_point, qmin, qmax).

    Args:
        scale: Real units a step, float32 or float16; shape () per tensor, [C] per channel; every element > 0 (A7).
        zero_point: The code of 0.0, in the stored type; same shape as `scale` (A13).
        axis: The axis that is kept, not negative (A21); None per tensor.
        qtype: The stored type.

    Raises:
        ParameterError: Shapes, types or the axis do not fit each other.
        NonFiniteError: A scale is not positive and finite.
    """

    scale: NDArray[Any]
    zero_point: NDArray[Any]
    axis: int | None = None
    qtype: QType = INT8

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
            (self.axis, self.qtype, self.scale.dtype) == (other.axis, other.qtype, other.scale.dtype)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


def _check_shapes(qparams: QParams) -> None:
    rank = 0 if qparams.axis is None else 1
    if qparams.scale.ndim != rank or qparams.zero_point.shape != qparams.scale.shape:
        raise ParameterError(
            f"With axis {qparams.axis}, scale and zero point must both have rank {rank} and equal shapes, "
            f"found {qparams.scale.shape} and {qparams.zero_point.shape}."
        )
    if qparams.axis is not None and qparams.axis < 0:
        raise ParameterError(f"The axis must not be negative, found {qparams.axis}.")


def symmetric_qparams(
    amax: ArrayLike, *, axis: int | None = None, qtype: QType = INT8, scale_dtype: DTypeLike = np.float32
) -> QParams:
    """Lay the range [-amax, amax] over the codes around the code of 0.0.

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
    scale = _plain_scale(amax, qtype, scale_dtype)
    scale = np.where(_below_normal(scale), scale.dtype.type(1.0), scale)
    zero_point = np.full(scale.shape, qtype.zero_code, qtype.dtype)
    return QParams(scale, zero_point, axis, qtype)


def is_negligible(amax: ArrayLike, *, qtype: QType = INT8, scale_dtype: DTypeLike = np.float32) -> NDArray[np.bool_]:
    """Where the scale of `amax` would be 0 or subnormal, so that `symmetric_qparams` writes 1.0: worth a note (A19).

    Returns:
        Shape of `amax`.
    """
    return np.asarray(_below_normal(_plain_scale(amax, qtype, scale_dtype)))


def weight_amax(array: NDArray[Any], axis: int | None = None) -> NDArray[np.float32]:
    """Largest absolute value of a weight, per tensor or per slice along `axis`.

    Args:
        array: float16, float32 or float64, any shape; empty slices count as all zero.
        axis: The axis that is kept (rules, section 1.5); None per tensor.

    Returns:
        Shape [C], or () per tensor.

    Raises:
        NonFiniteError: The array holds NaN or Inf; the message says in how many slices.
        ParameterError: There is no such axis.
    """
    if axis is not None and not 0 <= axis < array.ndim:
        raise ParameterError(f"A weight of shape {array.shape} has no axis {axis}.")
    others = tuple(i for i in range(array.ndim) if i != axis)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = array.max(axis=others, initial=0.0)
        smallest = array.min(axis=others, initial=0.0)
        amax = np.maximum(largest, -smallest).astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(amax)))
    if bad:
        raise NonFiniteError(f"A weight of shape {array.shape} holds NaN or Inf in {bad} of {amax.size} slices.")
    return np.asarray(amax)


def quantize(values: ArrayLike, qparams: QParams) -> NDArray[Any]:
    """The codes of real values: divide, round half to even, add the zero point, saturate.

    Args:
        values: Any shape; float16 and float32 in the type of the scale, as QuantizeLinear wants them. Inf saturates.
        qparams: Per channel needs values.shape[axis] = scale length.

    Returns:
        Same shape, in the stored type; equal to ONNX Runtime's CPU QuantizeLinear bit for bit. Two exceptions, both of
        float16: values of 2**31 steps and more, Inf among them, which overflow an int32 there, saturate here; and early
        releases (1.20 among them) truncate where ONNX says round.

    Raises:
        NonFiniteError: NaN has no code.
        ParameterError: The axis does not fit the values.

    Source: ONNX QuantizeLinear, opsets 10-21; rules, section 1.1 and A1.
    """
    reals = np.asarray(values)
    scale, zero_point = _broadcast(reals, qparams)
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.asarray(reals.astype(np.float32, copy=False) / scale.astype(np.float32))
    np.rint(scaled, out=scaled)
    offset = zero_point.astype(np.float32)
    np.clip(scaled, qparams.qtype.qmin - offset, qparams.qtype.qmax - offset, out=scaled)
    scaled += offset
    if scaled.size and np.isnan(scaled.min()):
        raise NonFiniteError(f"Found NaN among {scaled.size} values to quantize; NaN has no code.")
    return scaled.astype(qparams.qtype.dtype)


def dequantize(codes: NDArray[Any], qparams: QParams) -> NDArray[Any]:
    """The real values of codes: (code - zero point) * scale.

    Args:
        codes: Any shape, in the stored type.
        qparams: Per channel needs codes.shape[axis] = scale length.

    Returns:
        Same shape, in the type of the scale; equal to ONNX Runtime's CPU DequantizeLinear bit for bit.

    Raises:
        ParameterError: The axis does not fit the codes.

    Source: ONNX DequantizeLinear, opsets 10-21; rules, section 1.1.
    """
    scale, zero_point = _broadcast(codes, qparams)
    steps = (codes.astype(np.int32) - zero_point.astype(np.int32)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray((steps * scale.astype(np.float32)).astype(qparams.scale.dtype))


def _plain_scale(amax: ArrayLike, qtype: QType, scale_dtype: DTypeLike) -> NDArray[Any]:
    """amax / steps in `scale_dtype`, before dead ranges are replaced."""
    values = np.asarray(amax, np.float64)
    if np.any(values < 0):
        raise ParameterError(f"An amax must not be negative, found {float(values.min())}.")
    with np.errstate(over="ignore", under="ignore"):
        scale = np.asarray((values / qtype.steps).astype(scale_dtype))
    if not np.isfinite(scale).all():
        raise NonFiniteError(
            f"An amax of {float(values.max())} has no finite scale of type {scale.dtype}.",
            "Look for NaN or Inf in the model's weights or activations.",
        )
    return scale


def _below_normal(scale: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(scale < np.finfo(scale.dtype).smallest_normal)


def _broadcast(values: NDArray[Any], qparams: QParams) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scale and zero point, shaped to broadcast against `values`."""
    if qparams.axis is None:
        return qparams.scale, qparams.zero_point
    if qparams.axis >= values.ndim or values.shape[qparams.axis] != qparams.scale.size:
        raise ParameterError(
            f"Values of shape {values.shape} do not fit {qparams.scale.size} scales along axis {qparams.axis}."
        )
    shape = [1] * values.ndim
    shape[qparams.axis] = -1
    return qparams.scale.reshape(shape), qparams.zero_point.reshape(shape)
