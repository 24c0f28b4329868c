"""percentile: keep a given share of the values."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from calibrators.errors import ParameterError
from calibrators.histogram import Histogram
from calibrators.methods.affine import affine_percentile
from calibrators.methods.minmax import clip_to, require_data
from calibrators.ranges import Range
from calibrators.scheme import DEFAULT, Scheme


def percentile(histogram: Histogram, percent: float = 99.99, scheme: Scheme = DEFAULT) -> Range:
    """Choose the smallest range that keeps `percent` of the observed values.

    Args:
        histogram: Counts of one tensor, in the tensor's own units.
        percent: Share of values inside the range, 0 < percent <= 100.
        scheme: Its symmetry is read.

    Returns:
        Symmetric: the observed range clipped to [-amax, amax]; amax lies inside the |x| bin where the share is reached,
        interpolated linearly; for 100 it is the observed amax. Affine: see `calibrators.methods.affine`.

    Raises:
        NoDataError: Nothing was observed.
        ParameterError: percent is outside (0, 100].

    Source: Wu et al. 2020, arXiv 2004.09602, section 3.2 (percentile calibration); rules, section 5.4.
    """
    if not 0.0 < percent <= 100.0:
        raise ParameterError(f"A percentile must be in (0, 100], found {percent}.")
    require_data(histogram)
    if not scheme.symmetric:
        return affine_percentile(histogram, percent)
    return clip_to(histogram, amax_keeping(histogram, percent))


def amax_keeping(histogram: Histogram, percent: float) -> float:
    """Smallest amax such that `percent` of the values have |x| <= amax, linear inside a bin."""
    kept = np.cumsum(histogram.magnitudes())
    # In decimal, as the user wrote it: 99.9 percent of 42,000 values are 41,958 and not a rounding error more, which
    # would reach over a gap of empty bins to the next value.
    wanted = Fraction(str(percent)) / 100 * histogram.count
    position = int(np.searchsorted(kept, math.ceil(wanted)))
    below = int(kept[position - 1]) if position else 0
    part = float((wanted - below) / (int(kept[position]) - below))
    # The last bin that holds a value ends at the observed amax, not at its own upper edge.
    upper = min(position + 1.0, histogram.amax / histogram.bin_width)
    return (position + part * (upper - position)) * histogram.bin_width
