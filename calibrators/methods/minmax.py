"""minmax: keep everything that was observed."""

from __future__ import annotations

from calibrators.errors import NoDataError
from calibrators.histogram import Histogram
from calibrators.ranges import Range


def minmax(histogram: Histogram) -> Range:
    """Keep the whole observed range: its ends are values of the data.

    Raises:
        NoDataError: Nothing was observed.

    Source: rules, section 5.1 (IInt8MinMaxCalibrator); test case T55.
    """
    require_data(histogram)
    return Range(histogram.minimum, histogram.maximum)


def clip_to(histogram: Histogram, amax: float) -> Range:
    """The observed range, clipped to [-amax, amax]; its own amax is the smaller of `amax` and the observed one."""
    return Range(
        min(max(histogram.minimum, -amax), amax),
        max(min(histogram.maximum, amax), -amax),
    )


def require_data(histogram: Histogram) -> None:
    """Raise NoDataError for an empty histogram."""
    if histogram.count == 0:
        raise NoDataError(
            "The histogram is empty, so there is no range to choose.", "Observe at least one sample first."
        )
