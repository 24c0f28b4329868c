"""entropy: TensorRT's published relative-entropy search, held back where it would clip too hard.

Why it must be held back. Clipping 1 % of the values costs the same divergence whether they are cut to a half or to a
hundredth: probability is lost, not energy. And in the tail of a histogram, where a bin holds a handful of values, their
scatter passes for information, so coarser groups look expensive and the first, finest candidates win. Where rare large
values carry the signal (gates, sparse tensors behind Relu, branches pooled to few values) both push the cut far too
low: tensors that min-max keeps at 30 dB end at 8 to 15 dB, and with every tensor of the network quantized a keyword
spotter fell from 97 to 78 % and a text classifier from 89 to 50 % (without the zero-bin rule the spotter fell to 24 %,
a plate reader from 89 to 8 %). Inside the window of `ERROR_RATIO` all of them stay within 1 to 2 points of the best
method, and most tensors of plain convolutional networks have their published minimum there anyway.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import ParameterError
from calibrators.histogram import Histogram
from calibrators.methods.minmax import clip_to, minmax, require_data
from calibrators.methods.mse import candidates, mse, squared_errors
from calibrators.ranges import Range

BINS = 2048
"""Bins of |x| over [0, amax] that are searched."""

LEVELS = 128
"""Levels of |x| that INT8 keeps; also the first candidate."""

ERROR_RATIO = 1.5
"""A candidate may have at most this many times the smallest squared error: 1.8 dB."""

DEPTHWISE_ERROR_RATIO = 32.0
"""The same for a tensor that only depthwise Convs read: 15 dB (see `choose_range`)."""

_TIE = 1e-10  # divergences this close (nats) are equal: the last bits of a logarithm differ between processors
_ROWS = 96  # candidates computed at a time: temporaries stay in the second-level cache


def entropy(histogram: Histogram, error_ratio: float = ERROR_RATIO) -> Range:
    """Choose the range whose 128 levels lose the least information, among those that keep the energy.

    The published search: for every i from 128 to 2048, P is the histogram clipped at bin i (the mass outside added to
    its last bin), Q the same without that mass, averaged in 128 groups over their non-empty bins; the first smallest
    Kullback-Leibler divergence of P from Q wins, amax = (i - 1/2) bins. Bin 0 is set to bin 1, so that the zeros behind
    a Relu do not rule the search.

    Added to the published form: only candidates are searched whose modelled squared error (see `squared_errors`) is at
    most `error_ratio` times the smallest there is, because the divergence weighs a value by its probability, not by
    its size, and clips rare large values away that carry the signal (see the module). Where no candidate of that window
    ends at an occupied bin, `mse` decides.

    Args:
        histogram: Counts of one tensor, in the tensor's own units.
        error_ratio: >= 1; Inf is the published search.

    Returns:
        The observed range clipped to [-amax, amax].

    Raises:
        NoDataError: Nothing was observed.
        ParameterError: The error ratio is below 1.

    Source: Migacz 2017, "8-bit inference with TensorRT", GTC; rules, sections 5.2 and 5.3 (zero-bin rule,
        first minimum).
    """
    require_data(histogram)
    if not error_ratio >= 1.0:
        raise ParameterError(f"The error ratio of the entropy method must be at least 1, found {error_ratio}.")
    top = histogram.amax / histogram.bin_width
    if top < BINS:  # nothing but subnormal values
        return minmax(histogram)
    low, high = _window(histogram, top, error_ratio)
    divergence = divergences(resample(histogram.magnitudes(), top), low, high)
    if np.isinf(divergence).all():
        return mse(histogram)
    chosen = low + int(np.argmax(divergence <= divergence.min() + _TIE))
    part = 1.0 if chosen == BINS else (chosen - 0.5) / BINS
    return clip_to(histogram, part * histogram.amax)


def _window(histogram: Histogram, top: float, error_ratio: float) -> tuple[int, int]:
    """First and last candidate whose squared error is small enough."""
    if math.isinf(error_ratio):
        return LEVELS, BINS
    tops = candidates(histogram)
    errors = squared_errors(histogram.magnitudes(), tops)
    allowed = tops[errors <= error_ratio * errors.min()]
    first = int(np.ceil(allowed[0] / top * BINS + 0.5))
    last = BINS if allowed[-1] == top else int(allowed[-1] / top * BINS + 0.5)
    first = min(max(first, LEVELS), BINS)
    return first, max(first, last)


def resample(magnitudes: NDArray[np.int64], top: float) -> NDArray[np.float64]:
    """Counts of 2048 equal bins over [0, top], from bins that are at most as wide, which are split evenly.

    Args:
        magnitudes: Counts of the bins of |x|, shape [n].
        top: The observed amax in bins, 2048 <= top < n; the bin it lies in ends there.

    Returns:
        Shape [2048]; the sum is kept, and what was empty stays exactly 0.
    """
    last = int(top)
    below = np.concatenate([[0], np.cumsum(magnitudes[: last + 1])]).astype(np.float64)
    edges = np.append(np.arange(last + 1.0), top)
    if top == last:  # a bin of no width: its values belong to the bin before
        below, edges = np.delete(below, last), edges[:-1]
    return np.diff(np.interp(np.linspace(0.0, top, BINS + 1), edges, below))


def divergences(counts: NDArray[np.float64], first: int, last: int) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of P from Q in nats for the candidates first..last.

    All sums over bins come out of three prefix sums, so a candidate costs 128 steps: with C the mass, Z the non-empty
    bins and A = sum h log h below a bin, and m_g, n_g the mass and the non-empty bins of group g,
    sum P log Q = sum_g m_g log(m_g / n_g) + outside * log(m_last / n_last).

    Args:
        counts: Bins of |x|, shape [2048]; bin 0 is read as bin 1.
        first: Smallest candidate, >= 128.
        last: Largest candidate, <= 2048.

    Returns:
        Shape [last - first + 1]; Inf where the last bin is empty but mass lies outside (Q cannot express P).
    """
    counts = counts.copy()
    counts[0] = counts[1]
    information = counts * np.log(np.maximum(counts, 1e-300))
    mass, occupied, content = (
        np.concatenate([[0.0], np.cumsum(values)]) for values in (counts, counts > 0, information)
    )
    ends = np.arange(first, last + 1)
    outside = mass[-1] - mass[ends]
    end_bin = counts[ends - 1] + outside
    p_log_p = content[ends - 1] + end_bin * np.log(np.maximum(end_bin, 1e-300))
    p_log_q = np.concatenate(
        [_p_log_q(mass, occupied, ends[start : start + _ROWS]) for start in range(0, ends.size, _ROWS)]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        result = (p_log_p - p_log_q) / mass[-1] - np.log(mass[-1]) + np.log(mass[ends])
    result[((counts[ends - 1] == 0) & (outside > 0)) | (mass[ends] == 0)] = np.inf
    return np.asarray(result)


def _p_log_q(mass: NDArray[np.float64], occupied: NDArray[np.float64], ends: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum of P log Q before normalisation, for each candidate in `ends`."""
    edges = _group_edges()[ends - LEVELS]
    group_mass, group_occupied = np.diff(mass[edges]), np.diff(occupied[edges])
    level = np.log(np.maximum(group_mass, 1e-300) / np.maximum(group_occupied, 1.0))
    outside = mass[-1] - mass[ends]
    return np.asarray((group_mass * level).sum(axis=1) + outside * level[:, -1])


@cache
def _group_edges() -> NDArray[np.intp]:
    """Where the 128 groups of each candidate begin and end, shape [1921, 129]: bin j is in group j * 128 // i."""
    ends = np.arange(LEVELS, BINS + 1)[:, None]
    return np.asarray(-(-(ends * np.arange(LEVELS + 1)) // LEVELS), np.intp)
