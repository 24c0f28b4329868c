"""mse: the range with the smallest squared error of quantization."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calibrators.histogram import Histogram
from calibrators.methods.affine import affine_mse, place, sides
from calibrators.methods.minmax import clip_to, minmax, require_data
from calibrators.methods.spread import above, below_top, energy, without_zero_spike
from calibrators.qtypes import INT8, QType
from calibrators.ranges import Range
from calibrators.scheme import DEFAULT, Scheme


def mse(histogram: Histogram, scheme: Scheme = DEFAULT) -> Range:
    """Choose the range whose codes have the smallest sum of count * (x - Q(x))**2.

    Every value counts by its energy, so a rare large value is clipped only where the finer steps gained for all others
    outweigh it. That survives heavy tails (one value a hundred times the mean) and sparse tensors (behind Relu, 99 % of
    the energy may lie in 1 % of the values), which a share of the values, or of the probability, does not see.

    Args:
        histogram: Counts of one tensor, in the tensor's own units.
        scheme: Its type and symmetry are read.

    Returns:
        Symmetric: the observed range clipped to [-amax, amax]; amax is the observed one or one of the smaller
        `candidates`: about 250 for INT8, at least 128 bins (1/32 to 1/16 of the observed amax). Affine: see
        `calibrators.methods.affine`. Types of 16 bits, finer than the bins, keep everything.

    Raises:
        NoDataError: Nothing was observed.

    Source: Wu et al. 2020, arXiv 2004.09602, section 5.2 names the criterion; rules, sections 5.3 and 5.4.
    """
    require_data(histogram)
    if not scheme.symmetric:
        return affine_mse(histogram, scheme)
    tops = candidates(histogram, scheme.qtype)
    if tops.size == 1:
        return minmax(histogram)
    best = int(np.argmin(squared_errors(histogram.magnitudes(), tops, scheme.qtype)))
    return clip_to(histogram, float(tops[best]) * histogram.bin_width)


def candidates(histogram: Histogram, qtype: QType = INT8) -> NDArray[np.float64]:
    """Candidates for amax in bins, ascending: a grid of 64 an octave, and last the observed amax.

    Below the first, the widest quantization step would be finer than the bins, whose inside is unknown.
    """
    levels = qtype.levels()
    return below_top(narrowest(levels), histogram.amax / histogram.bin_width)


def narrowest(levels: NDArray[np.float64]) -> int:
    """Bins that [0, the end of the last level's step) spans at least: its step, the widest, is one bin then."""
    widest = levels[-1] - levels[-2]
    return math.ceil(float((levels[-1] + widest) / widest))


def squared_errors(
    magnitudes: NDArray[np.int64], tops: NDArray[np.float64], qtype: QType = INT8
) -> NDArray[np.float64]:
    """Sum over all values of (|x| - Q(|x|))**2 for each candidate amax, in units of a squared bin width.

    Values are taken as evenly spread over their bin, except that the zeros behind a Relu are zeros: what bin 0 holds
    above bin 1 is counted as exact. With scale s = top / last level, level v[k] takes the values between the middles
    m[k - 1] s and m[k] s to its neighbours, and the last level all above, so with T0, T1 the count and the sum of all
    values above a point, summation by parts gives sum (x - v s)**2 = sum x**2 - 2 s sum_k (v[k + 1] - v[k]) T1(m[k] s)
    + s**2 sum_k (v[k + 1]**2 - v[k]**2) T0(m[k] s).

    Args:
        magnitudes: Counts of the bins of |x|, shape [n].
        tops: Candidates for amax in bins, shape [m], > 0.
        qtype: Whose `levels` are v.

    Returns:
        Shape [m].
    """
    levels = qtype.levels()
    counts = without_zero_spike(magnitudes)
    step = tops / levels[-1]
    tail0, tail1 = above(counts, step[:, None] * ((levels[:-1] + levels[1:]) / 2))
    if qtype.grid is not None:  # steps of integers are 1
        tail1 *= np.diff(levels)
    tail0 *= np.diff(levels * levels)
    return np.asarray(energy(counts) - 2.0 * step * tail1.sum(axis=1) + step * step * tail0.sum(axis=1))


def best_sqnr_db(histogram: Histogram, scheme: Scheme = DEFAULT) -> float:
    """The SQNR in dB that the tensor's values keep at their mse-optimal range: what no choice of range can beat.

    Raises:
        NoDataError: Nothing was observed.

    Source: the model of `squared_errors`, with its values spread evenly within each bin.
    """
    require_data(histogram)
    if not scheme.symmetric:
        found = place(sides(histogram), scheme.steps)
        return _decibels(found.signal, float(found.errors.min()))
    return _sqnr_db(histogram, candidates(histogram, scheme.qtype), scheme.qtype)


def sqnr_db_at(histogram: Histogram, amax: float, qtype: QType = INT8) -> float:
    """The SQNR in dB that the tensor's values keep at a given symmetric range; Inf where nothing is lost.

    Args:
        histogram: Counts of one tensor.
        amax: In the tensor's units, above 0.
        qtype: The stored type.

    Raises:
        NoDataError: Nothing was observed.

    Source: the model of `squared_errors`, with its values spread evenly within each bin.
    """
    require_data(histogram)
    return _sqnr_db(histogram, np.array([amax / histogram.bin_width]), qtype)


def _sqnr_db(histogram: Histogram, tops: NDArray[np.float64], qtype: QType) -> float:
    """The SQNR at the best of some ranges, which are in bins."""
    magnitudes = histogram.magnitudes()
    signal = energy(without_zero_spike(magnitudes))
    return _decibels(signal, float(squared_errors(magnitudes, tops, qtype).min()) if signal else 0.0)


def _decibels(signal: float, error: float) -> float:
    return 10.0 * math.log10(signal / error) if error > 0 else math.inf
