"""The methods for affine ranges: both ends are searched, on the signed histogram, and 0.0 always lies between them.

A scheme with K steps from end to end has the ranges [-z * step, (K - z) * step] with 0.0 at code z, exactly. Whatever
the step, the error of a value depends on its own side alone: below 0.0 there are z levels, above K - z. So one sum a
side gives the error of every z at once, and all pairs (step, z) are searched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from calibrators.cells import CENTER
from calibrators.histogram import Histogram
from calibrators.methods.divergence import BINS, first_smallest, lost_information
from calibrators.methods.minmax import minmax
from calibrators.methods.spread import above, below_top, energy, without_zero_spike
from calibrators.ranges import Range
from calibrators.scheme import Scheme


@dataclass(frozen=True)
class Sides:
    """A histogram cut at 0.0, in bins.

    Args:
        below: Counts by distance from 0.0 of the values below it, shape [4096].
        above: The same of those above it.
        low: Distance from 0.0 to the smallest value, 0 where none is below.
        high: Distance from 0.0 to the largest value, 0 where none is above.
    """

    below: NDArray[np.int64]
    above: NDArray[np.int64]
    low: float
    high: float


def sides(histogram: Histogram) -> Sides:
    """Cut a histogram at 0.0; bin 0, which lies on both sides, is shared out as their next bins are."""
    below, upper = histogram.counts[CENTER::-1].copy(), histogram.counts[CENTER:].copy()
    zeros, left, right = (int(count) for count in (upper[0], below[1], upper[1]))
    if histogram.minimum >= 0:
        below[0] = 0
    elif histogram.maximum <= 0:
        below[0] = zeros
    else:
        below[0] = zeros * left // (left + right) if left + right else zeros // 2
    upper[0] = zeros - below[0]
    width = histogram.bin_width
    return Sides(below, upper, max(-histogram.minimum, 0.0) / width, max(histogram.maximum, 0.0) / width)


@dataclass(frozen=True)
class Placements:
    """For each candidate width, the code of 0.0 with the smallest squared error.

    Args:
        steps: Candidates for the step in bins, ascending, shape [m]; the last spans all that was observed.
        zeros: z, shape [m].
        errors: Sum of (x - Q(x))**2 in squared bin widths, shape [m].
        signal: Sum of x**2 in the same unit.
    """

    steps: NDArray[np.float64]
    zeros: NDArray[np.intp]
    errors: NDArray[np.float64]
    signal: float


def place(cut: Sides, count: int) -> Placements:
    """Search all ranges of `count` steps whose step is one of the candidates: from 1 bin up, 64 an octave."""
    steps = below_top(count + 1, cut.low + cut.high) / count
    below, upper = without_zero_spike(cut.below), without_zero_spike(cut.above)
    gained = _gains(below, steps, count) + _gains(upper, steps, count)[:, ::-1]
    zeros = gained.argmax(axis=1)
    signal = energy(below) + energy(upper)
    return Placements(steps, zeros, signal - gained[np.arange(zeros.size), zeros], signal)


def _gains(counts: NDArray[np.float64], steps: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """What 0..count levels beside 0.0 take off the squared error of one side, shape [m, count + 1].

    Level k + 1 takes the values above (k + 1/2) s from level k: sum (x - k s)**2 - (x - (k + 1) s)**2 over them.
    """
    middles = np.arange(count) + 0.5
    tail0, tail1 = above(counts, steps[:, None] * middles)
    gains = np.zeros((steps.size, count + 1))
    np.cumsum(2.0 * steps[:, None] * tail1 - steps[:, None] ** 2 * (2.0 * middles) * tail0, axis=1, out=gains[:, 1:])
    return gains


def affine_mse(histogram: Histogram, scheme: Scheme) -> Range:
    """Choose the affine range with the smallest sum of count * (x - Q(x))**2.

    Returns:
        A range whose `qparams_of` has 0.0 exactly at a code; at most half a step wider than the data at either end.
        Everything that was observed where the scheme's steps are finer than the bins (16 bits).
    """
    found = place(sides(histogram), scheme.steps)
    return _chosen(histogram, found, scheme, int(np.argmin(found.errors)))


def _chosen(histogram: Histogram, found: Placements, scheme: Scheme, best: int) -> Range:
    if found.steps.size == 1:
        return minmax(histogram)
    step, zero = float(found.steps[best]) * histogram.bin_width, int(found.zeros[best])
    return Range(0.0 - zero * step, (scheme.steps - zero) * step)


def affine_percentile(histogram: Histogram, percent: float) -> Range:
    """Choose the narrowest range around 0.0 that keeps `percent` of the observed values.

    Where all values lie on one side of 0.0, all that is cut off is cut off there. One end lies at the edge of a bin or
    of the data, the other inside a bin, interpolated linearly; for 100 they are the ends of the data.
    """
    cut, wanted = sides(histogram), Fraction(str(percent)) / 100 * histogram.count
    low, high = _tightest((cut.below, cut.low), (cut.above, cut.high), wanted)
    other_high, other_low = _tightest((cut.above, cut.high), (cut.below, cut.low), wanted)
    if other_low + other_high < low + high:
        low, high = other_low, other_high
    return Range(0.0 - low * histogram.bin_width, high * histogram.bin_width)


_Side = tuple[NDArray[np.int64], float]
"""Counts by distance from 0.0, and where they end."""


def _tightest(near: _Side, far: _Side, wanted: Fraction) -> tuple[float, float]:
    """Distances of both ends from 0.0, of the narrowest range that ends at an edge of `near`."""
    starts = np.minimum(np.arange(near[0].size + 1), near[1])
    kept = np.append(0, np.cumsum(near[0]))
    found = np.cumsum(far[0])
    whole = math.ceil(wanted)  # counts stay integers: a rounding error would reach over a gap to the next value
    missing = whole - kept
    position = np.minimum(np.searchsorted(found, missing), found.size - 1)
    part = (missing - (found[position] - far[0][position]) - float(whole - wanted)) / np.maximum(far[0][position], 1)
    ends = position + np.clip(part, 0.0, 1.0) * (np.minimum(position + 1.0, far[1]) - position)
    ends[missing <= 0] = 0.0
    best = int(np.argmin(np.where(missing <= found[-1], starts + ends, np.inf)))
    return float(starts[best]), float(ends[best])


def affine_entropy(histogram: Histogram, error_ratio: float, scheme: Scheme) -> Range:
    """Choose the affine range whose levels lose the least information, among those that keep the energy.

    The candidates are the steps of `mse`, each with the code of 0.0 that costs least energy, and of those the ones with
    at most `error_ratio` times the smallest squared error. The observed interval has 2048 bins; the range is cut into
    as many groups as there are levels, the mass outside is added to the first and the last bin of P, and the first
    smallest divergence of P from Q wins. Where the values lie on one side of 0.0 that is the published search.
    """
    cut = sides(histogram)
    found = place(cut, scheme.steps)
    width = (cut.low + cut.high) / BINS
    wide = found.steps * scheme.steps >= width * (scheme.steps + 1)  # a group has one bin at least
    allowed = np.flatnonzero(wide & (found.errors <= error_ratio * found.errors.min()))
    if found.steps.size == 1 or allowed.size == 0:
        return affine_mse(histogram, scheme)
    steps, zeros = found.steps[allowed], found.zeros[allowed]
    starts = (cut.low - zeros * steps) / width
    groups = np.arange(scheme.steps + 2) / (scheme.steps + 1)
    edges = starts[:, None] + (steps * scheme.steps / width)[:, None] * groups
    divergence = lost_information(_resample(cut), np.clip(np.ceil(edges - 1e-9), 0, BINS).astype(np.intp))
    best = first_smallest(divergence)
    return affine_mse(histogram, scheme) if best is None else _chosen(histogram, found, scheme, int(allowed[best]))


def _resample(cut: Sides) -> NDArray[np.float64]:
    """Counts of 2048 equal bins over the observed interval, with what lies next to 0.0 read as the bin beside it."""
    below, upper = cut.below.astype(np.float64), cut.above.astype(np.float64)
    below[0], upper[0] = below[1], upper[1]
    edges = np.clip(np.arange(-below.size, upper.size + 1.0), -cut.low, cut.high)
    mass = np.append(0.0, np.cumsum(np.append(below[::-1], upper)))
    found = np.interp(np.linspace(-cut.low, cut.high, BINS + 1), edges, mass)
    found[0], found[-1] = 0.0, mass[-1]  # a value on the edge of a bin may leave the last one no width
    return np.diff(found)
