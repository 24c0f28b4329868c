"""The model of what lies inside a bin, which the methods share: values evenly spread, and zeros exactly zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PER_OCTAVE = 64  # candidates between a width and its half: 1.1-1.6 % apart, where the error is flat
_GRID = np.concatenate([np.arange(_PER_OCTAVE, 2 * _PER_OCTAVE) * 2.0**shift for shift in range(-5, 8)])


def below_top(narrowest: int, top: float) -> NDArray[np.float64]:
    """Candidates for the width of a range in bins, ascending: `narrowest` and above, 64 an octave, and last `top`."""
    return np.append(_GRID[(narrowest <= _GRID) & (top > _GRID)], top)


def without_zero_spike(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts with bin 0 no larger than bin 1: zeros are kept exactly by every range."""
    spread = counts.astype(np.float64)
    spread[0] = min(spread[0], spread[1])
    return spread


def energy(counts: NDArray[np.float64]) -> float:
    """Sum of x**2 in squared bin widths, with x evenly spread within each bin."""
    number = np.arange(counts.size, dtype=np.float64)
    return float(np.sum(counts * (number * (number + 1.0) + 1.0 / 3.0)))


def above(counts: NDArray[np.float64], points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count and sum of all values above points.

    Args:
        counts: Of bins [i, i + 1), shape [n], from 0 on.
        points: In bins, any shape, >= 0; all that lie beyond the bins have nothing above.

    Returns:
        (T0, T1), each of the shape of `points`.
    """
    number = np.arange(counts.size, dtype=np.float64)
    count_from = _from_each(counts)
    sum_from = _from_each(counts * (number + 0.5))
    points = np.minimum(points, counts.size - 1e-6)
    bins = points.astype(np.intp)
    inside = (points - bins) * counts[bins]  # count of the part of the bin that lies below the point
    total = sum_from[bins] - inside * (0.5 * (points + bins))
    return count_from[bins] - inside, total


def _from_each(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of values[i:] for every i."""
    return np.asarray(np.cumsum(values[::-1])[::-1])
