"""Questions about whole histograms: what a range cuts off, how far two distributions lie apart, a profile to draw."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import NoDataError, ParameterError
from calibrators.histogram import Histogram
from calibrators.ranges import Range


def share_outside(histogram: Histogram, amax: float) -> float:
    """The share of the observed values whose magnitude is above `amax`: what quantization saturates.

    Args:
        histogram: Counts of one tensor.
        amax: In the tensor's units, 0 or more. Inside a bin the values count as evenly spread.

    Returns:
        0.0 to 1.0; exactly 0.0 from the largest magnitude observed on.

    Raises:
        NoDataError: Nothing was observed.
        ParameterError: `amax` is negative or NaN.
    """
    _require_values(histogram)
    if not amax >= 0:
        raise ParameterError(f"An amax of {amax} is no range; expected 0 or more.")
    if amax >= histogram.amax:
        return 0.0
    magnitudes = histogram.magnitudes()
    position = amax / histogram.bin_width
    inside = int(position)
    above = int(magnitudes[inside + 1 :].sum()) + float(magnitudes[inside]) * (inside + 1 - position)
    return min(1.0, above / histogram.count)


def energy_outside(histogram: Histogram, kept: Range) -> float:
    """The mean square of what a range cuts off: of each value, its distance from the range.

    Args:
        histogram: Counts of one tensor.
        kept: In the tensor's units; 0.0 counts as inside.

    Returns:
        In squared units of the tensor, with every value in the middle of its bin; exactly 0.0 where the range holds all
        that was observed.

    Raises:
        NoDataError: Nothing was observed.
    """
    _require_values(histogram)
    edges = _edges(histogram)
    centers = np.clip((edges[1:] + edges[:-1]) / 2, histogram.minimum, histogram.maximum)
    beyond = centers - np.clip(centers, min(kept.minimum, 0.0), max(kept.maximum, 0.0))
    return float(np.square(beyond) @ histogram.occupied()[1]) / histogram.count


def distance(one: Histogram, other: Histogram) -> float:
    """How far the values of one tensor moved: the earth mover's distance, in units of their root mean square.

    Symmetric, 0.0 for equal shares in all bins, about 2 at most; scaling both tensors by one factor does not change it,
    nor does observing everything twice. A shift of all values by a tenth of their root mean square gives about 0.1.

    Args:
        one: Counts of a tensor.
        other: Counts of the same tensor on other data, or of another tensor.

    Raises:
        NoDataError: One of them has seen no value.

    Source: the integral of the difference of the cumulative distributions (Wasserstein metric of order 1); values count
        as evenly spread inside a bin.
    """
    _require_values(one)
    _require_values(other)
    edges = np.union1d(_edges(one), _edges(other))
    gaps = np.abs(_below(one, edges) - _below(other, edges))
    moved = float(np.sum((gaps[1:] + gaps[:-1]) / 2 * np.diff(edges)))
    scale = math.sqrt((_mean_square(one) + _mean_square(other)) / 2)
    return moved / scale if scale else 0.0


def profile(histogram: Histogram, cells: int) -> NDArray[np.float64]:
    """Counts in equal cells from the smallest to the largest value, for drawing.

    Args:
        histogram: Counts of one tensor.
        cells: How many cells, 1 or more.

    Returns:
        Shape [cells]; the sum is the count. One value alone, or none, fills the first cell.

    Raises:
        ParameterError: There is no cell.
    """
    if cells < 1:
        raise ParameterError(f"A profile of {cells} cells cannot be drawn; expected 1 or more.")
    counts = np.zeros(cells)
    if histogram.minimum == histogram.maximum:
        counts[0] = histogram.count
        return counts
    edges = np.linspace(histogram.minimum, histogram.maximum, cells + 1)
    below = _below(histogram, edges)
    below[0], below[-1] = 0.0, 1.0  # the outermost bins reach beyond the extremes
    return np.diff(below) * histogram.count


def _edges(histogram: Histogram) -> NDArray[np.float64]:
    """Where the occupied bins begin and end, [bins + 1]; bin 0 is twice as wide as the others."""
    first, counts = histogram.occupied()
    numbers = np.arange(first, first + counts.size + 1, dtype=np.float64)
    numbers[numbers <= 0] -= 1.0  # bin -1 ends at -1, and bin 0 goes from there to 1
    return numbers * histogram.bin_width


def _below(histogram: Histogram, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the values below each point."""
    shares = np.concatenate([[0.0], np.cumsum(histogram.occupied()[1])]) / histogram.count
    return np.interp(points, _edges(histogram), shares)


def _mean_square(histogram: Histogram) -> float:
    """Mean of x**2 with every value in the middle of its bin, but 0 in bin 0."""
    magnitudes = histogram.magnitudes()
    centers = np.arange(magnitudes.size) + 0.5
    centers[0] = 0.0
    return float((magnitudes / histogram.count) @ (centers * histogram.bin_width) ** 2)


def _require_values(histogram: Histogram) -> None:
    if histogram.count == 0:
        raise NoDataError(
            "The histogram holds no value, so there is nothing to compare.", "Observe at least one array."
        )
