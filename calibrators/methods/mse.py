"""mse: the amax with the smallest squared error of quantization."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calibrators.histogram import Histogram
from calibrators.methods.minmax import clip_to, minmax, require_data
from calibrators.qtypes import INT8
from calibrators.ranges import Range

NARROWEST = 128
"""Smallest candidate in bins: below it a quantization step would be finer than the bins, whose inside is unknown."""

_PER_OCTAVE = 64  # candidates between amax and amax / 2: 1.1-1.6 % apart, where the error is flat


def mse(histogram: Histogram) -> Range:
    """Choose the symmetric range whose INT8 codes have the smallest sum of count * (x - Q(x))**2.

    Every value counts by its energy, so a rare large value is clipped only where the finer steps gained for all others
    outweigh it. That survives heavy tails (one value a hundred times the mean) and sparse tensors (behind Relu, 99 % of
    the energy may lie in 1 % of the values), which a share of the values, or of the probability, does not see.

    Args:
        histogram: Counts of one tensor, in the tensor's own units.

    Returns:
        The observed range clipped to [-amax, amax]; amax is the observed one or one of about 250 smaller candidates,
        at least 128 bins (1/32 to 1/16 of the observed amax).

    Raises:
        NoDataError: Nothing was observed.

    Source: Wu et al. 2020, arXiv 2004.09602, section 5.2 names the criterion; rules, sections 5.3 and 5.4.
    """
    require_data(histogram)
    tops = candidates(histogram)
    if tops.size == 1:
        return minmax(histogram)
    best = int(np.argmin(squared_errors(histogram.magnitudes(), tops)))
    return clip_to(histogram, float(tops[best]) * histogram.bin_width)


def candidates(histogram: Histogram) -> NDArray[np.float64]:
    """Candidates for amax in bins, ascending: whole numbers on a grid of 64 an octave, and last the observed amax."""
    top = histogram.amax / histogram.bin_width
    mantissas = np.arange(_PER_OCTAVE, 2 * _PER_OCTAVE)
    grid = np.concatenate([mantissas << shift for shift in range(1, 6)]).astype(np.float64)
    return np.append(grid[(grid >= NARROWEST) & (grid < top)], top)


def squared_errors(magnitudes: NDArray[np.int64], tops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over all values of (|x| - Q(|x|))**2 for each candidate amax, in units of a squared bin width.

    Values are taken as evenly spread over their bin, except that the zeros behind a Relu are zeros: what bin 0 holds
    above bin 1 is counted as exact. With step s = top / 127, code k takes the values from (k - 1/2) s to (k + 1/2) s
    and code 127 all above, so with T0, T1 the count and the sum of all values above a point, summation by parts gives
    sum (x - k s)**2 = sum x**2 - 2 s sum_k T1((k + 1/2) s) + s**2 sum_k (2 k + 1) T0((k + 1/2) s), k = 0..126.

    Args:
        magnitudes: Counts of the bins of |x|, shape [n].
        tops: Candidates for amax in bins, shape [m], > 0.

    Returns:
        Shape [m].
    """
    counts = _without_zero_spike(magnitudes)
    number = np.arange(counts.size, dtype=np.float64)
    above0 = _above(counts)
    above1 = _above(counts * (number + 0.5))
    energy = _energy(counts)
    step = tops / INT8.steps
    middles = np.arange(INT8.steps) + 0.5
    points = np.minimum(step[:, None] * middles, counts.size - 1e-6)
    bins = points.astype(np.intp)
    inside = (points - bins) * counts[bins]  # count of the part of the bin that lies below the point
    tail1 = above1[bins] - inside * (0.5 * (points + bins))
    tail0 = above0[bins] - inside
    tail0 *= 2.0 * middles
    return np.asarray(energy - 2.0 * step * tail1.sum(axis=1) + step * step * tail0.sum(axis=1))


def best_sqnr_db(histogram: Histogram) -> float:
    """The SQNR in dB that the tensor's values keep at their mse-optimal INT8 range: what no choice of range can beat.

    Raises:
        NoDataError: Nothing was observed.

    Source: the model of `squared_errors`, with its values spread evenly within each bin.
    """
    require_data(histogram)
    return _sqnr_db(histogram, candidates(histogram))


def sqnr_db_at(histogram: Histogram, amax: float) -> float:
    """The SQNR in dB that the tensor's values keep at a given INT8 range; Inf where nothing is lost.

    Args:
        histogram: Counts of one tensor.
        amax: In the tensor's units, above 0.

    Raises:
        NoDataError: Nothing was observed.

    Source: the model of `squared_errors`, with its values spread evenly within each bin.
    """
    require_data(histogram)
    return _sqnr_db(histogram, np.array([amax / histogram.bin_width]))


def _sqnr_db(histogram: Histogram, tops: NDArray[np.float64]) -> float:
    """The SQNR at the best of some ranges, which are in bins."""
    magnitudes = histogram.magnitudes()
    energy = _energy(_without_zero_spike(magnitudes))
    error = float(squared_errors(magnitudes, tops).min()) if energy else 0.0
    return 10.0 * math.log10(energy / error) if error > 0 else math.inf


def _without_zero_spike(magnitudes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts with bin 0 no larger than bin 1: zeros are kept exactly by every range."""
    counts = magnitudes.astype(np.float64)
    counts[0] = min(counts[0], counts[1])
    return counts


def _energy(counts: NDArray[np.float64]) -> float:
    """Sum of x**2 in squared bin widths, with x evenly spread within each bin."""
    number = np.arange(counts.size, dtype=np.float64)
    return float(np.sum(counts * (number * (number + 1.0) + 1.0 / 3.0)))


def _above(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of values[i:] for every i."""
    return np.asarray(np.cumsum(values[::-1])[::-1])
