"""Ranges of weights that leave their own values the least squared error: what coarse codes need, without any sample.

With 16 levels a block's largest value decides how coarse all others are, so that cutting it off a little pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import ParameterError
from calibrators.qparams import qparams_of, weight_ranges
from calibrators.ranges import Ranges
from calibrators.scheme import Block, ScaleForm, Scheme

_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65)
"""How much of the whole range is tried."""

_SHARES_OF_FLOATS = (1.0, 1.5, 0.9, 0.8)
"""The same for floats of 4 bits, which have nothing between 4 and 6: a block with values there is nearer where its
largest value becomes 4.

Source: Cook et al. 2025, "Four Over Six", arXiv 2512.02010, section 3.
"""

_NO_ZERO = np.zeros((), np.uint8)

_PORTION = 1 << 18
"""Values that are worked on at once: their copies stay in a processor's cache."""


def least_error_ranges(array: NDArray[Any], scheme: Scheme) -> Ranges:
    """Choose for every block the share of its range whose codes are nearest to its values, squared and summed.

    Args:
        array: float16, float32 or float64, a matrix.
        scheme: In blocks.

    Returns:
        One range a block, float32, in the shape of its scales; never with more error than the whole range, as far as
        float32 tells errors apart, before scales are rounded to what they are stored as.

    Raises:
        NonFiniteError: The array holds NaN or Inf.
        ParameterError: The scheme is not one in blocks, or there is no such axis.

    Source: the search of Nagel et al. 2021, arXiv 2106.08295, section 2.3.1 (MSE), a block at a time.
    """
    granularity = scheme.granularity
    if not isinstance(granularity, Block):
        raise ParameterError(f"Ranges by least error are those of blocks, found {granularity}.")
    whole = weight_ranges(array, granularity)
    minima, maxima = whole.minima.copy(), whole.maxima.copy()
    plain = replace(scheme, scales=ScaleForm.FLOAT)
    for part in _portions(array, granularity.axis):
        found = _searched(np.asarray(array[part]), Ranges(minima[part], maxima[part]), plain, granularity)
        minima[part], maxima[part] = found.minima, found.maxima
    return Ranges(minima, maxima)


def _portions(array: NDArray[Any], axis: int) -> Iterator[tuple[slice, ...]]:
    """Cut a matrix across its blocks into parts that are worked on at once."""
    other = 1 - axis
    step = max(1, _PORTION // max(1, array.shape[axis]))
    for start in range(0, array.shape[other], step):
        part = slice(start, start + step)
        yield (slice(None), part) if other else (part, slice(None))


def _searched(array: NDArray[Any], whole: Ranges, scheme: Scheme, granularity: Block) -> Ranges:
    axis, size = granularity.axis, granularity.size
    starts, block_of = np.arange(0, array.shape[axis], size), np.arange(array.shape[axis]) // size
    values = array.astype(np.float32, copy=False)
    best = np.full(whole.minima.shape, np.inf, np.float32)
    minima, maxima = whole.minima, whole.maxima
    for share in _SHARES if scheme.qtype.grid is None else _SHARES_OF_FLOATS:
        kept = Ranges(whole.minima * np.float32(share), whole.maxima * np.float32(share))
        qparams = qparams_of(kept, scheme, array.dtype)
        scale = qparams.scale.astype(np.float32).take(block_of, axis)
        zero_point = qparams.zero_point.astype(np.float32).take(block_of, axis)
        noise = np.add.reduceat(_squared_error(values, scale, zero_point, scheme), starts, axis)
        better = noise < best
        best = np.where(better, noise, best)
        minima, maxima = np.where(better, kept.minima, minima), np.where(better, kept.maxima, maxima)
    return Ranges(minima, maxima)


def _squared_error(
    values: NDArray[np.float32], scale: NDArray[np.float32], zero_point: NDArray[np.float32], scheme: Scheme
) -> NDArray[np.float32]:
    """What quantizing leaves of every value, squared: `dequantize(quantize(...))` without the codes in between."""
    found = np.divide(values, scale)
    if scheme.qtype.grid is None:
        np.rint(found, out=found)
        np.clip(found, scheme.qtype.qmin - zero_point, scheme.qtype.qmax - zero_point, out=found)
    else:
        found = scheme.qtype.decode(scheme.qtype.encode(found, _NO_ZERO), _NO_ZERO)
    found *= scale
    found -= values
    return np.multiply(found, found, out=found)
