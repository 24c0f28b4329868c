"""A constant weight as quantization leaves it, and the numbers it is quantized with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrators.qparams import QParams, dequantize, qparams_of, quantize, weight_ranges
from calibrators.ranges import Ranges
from calibrators.scheme import Block, PerChannel, ScaleForm, Scheme
from calibrators.weight_search import least_error_ranges


def weight_qparams(weight: NDArray[np.generic], scheme: Scheme, amax: NDArray[np.float32] | None = None) -> QParams:
    """Return the scales and zero points of a weight, in its own float type.

    Args:
        weight: The weight.
        scheme: How it is quantized.
        amax: What each scale covers, as `given_ranges` has it; None for `own_ranges`.

    Raises:
        NonFiniteError: It holds NaN or Inf, or values too large for a scale.
    """
    if amax is None:
        return qparams_of(own_ranges(weight, scheme), scheme, weight.dtype)
    return qparams_of(given_ranges(amax, weight.shape, scheme), scheme, weight.dtype)


def own_ranges(weight: NDArray[np.generic], scheme: Scheme) -> Ranges:
    """Return what each scale of a weight covers by the weight alone: all of it, or the share that serves a block best.

    Raises:
        NonFiniteError: It holds NaN or Inf.
    """
    if isinstance(scheme.granularity, Block) and scheme.scales is not ScaleForm.E8M0:  # these are rounded up anyway
        return least_error_ranges(weight, scheme)
    return weight_ranges(weight, scheme.granularity)


def given_ranges(amax: NDArray[np.float32], shape: tuple[int, ...], scheme: Scheme) -> Ranges:
    """Return what each scale of a weight covers.

    Args:
        amax: Of each scale, in any shape, or one for all; of an affine weight the lower ends and then the upper ones.
        shape: Of the weight.
        scheme: How it is quantized.
    """
    scales = _scales_shape(shape, scheme)
    if not scheme.symmetric and amax.size > 1:
        minima, maxima = amax.reshape(2, *scales)
        return Ranges(minima, maxima)
    kept = np.full(scales, amax.item(), np.float32) if amax.size == 1 else amax.reshape(scales)
    return Ranges(-kept, kept)


def ends_of(kept: Ranges, scheme: Scheme) -> NDArray[np.float32]:
    """Return ranges as `given_ranges` takes them."""
    found = kept.amax if scheme.symmetric else np.stack([kept.minima, kept.maxima])
    return np.asarray(found, np.float32)


def _scales_shape(shape: tuple[int, ...], scheme: Scheme) -> tuple[int, ...]:
    """Return the shape of a weight's scales."""
    match scheme.granularity:
        case PerChannel(axis):
            return (shape[axis],)
        case Block(axis, size):
            return tuple(-(-length // size) if at == axis else length for at, length in enumerate(shape))
        case _:
            return ()


def round_weight(
    weight: NDArray[np.generic], scheme: Scheme, amax: NDArray[np.float32] | None = None
) -> NDArray[np.generic]:
    """Quantize and dequantize a weight as the written model does; `amax` None takes its largest values."""
    qparams = weight_qparams(weight, scheme, amax)
    return np.asarray(dequantize(quantize(weight, qparams), qparams).astype(weight.dtype, copy=False))
