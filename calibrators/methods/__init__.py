"""The methods: each turns the histogram of a tensor into the range that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from calibrators.errors import ParameterError
from calibrators.histogram import Histogram
from calibrators.methods.entropy import DEPTHWISE_ERROR_RATIO, ERROR_RATIO, entropy
from calibrators.methods.minmax import minmax
from calibrators.methods.mse import mse
from calibrators.methods.percentile import percentile
from calibrators.ranges import Range
from calibrators.scheme import DEFAULT, Scheme

MethodName = Literal["entropy", "minmax", "percentile", "mse"]

__all__ = ["Method", "MethodName", "choose_range", "entropy", "minmax", "mse", "percentile"]


@dataclass(frozen=True)
class Method:
    """Which method chooses the ranges.

    Args:
        name: One of the method names. The default, `mse`, kept the outputs closest over a dozen networks (plain and
            depthwise convolutional, transformer, super-resolution, detection); `choose_range` tells about depthwise.
        percent: Share of values that `percentile` keeps, 0 < percent <= 100; the other methods do not read it.

    Raises:
        ParameterError: Another name, or a percent outside (0, 100].
    """

    name: MethodName = "mse"
    percent: float = 99.99

    def __post_init__(self) -> None:
        if self.name not in get_args(MethodName):
            expected = ", ".join(get_args(MethodName))
            raise ParameterError(f"There is no method {self.name!r}; expected one of {expected}.")
        if not 0.0 < self.percent <= 100.0:
            raise ParameterError(f"The percent of a method must be in (0, 100], found {self.percent}.")


def choose_range(histogram: Histogram, method: Method, scheme: Scheme = DEFAULT, *, depthwise: bool = False) -> Range:
    """Choose the range of a tensor by `method`, for what its scheme can store.

    Args:
        histogram: Counts of the tensor, or of its whole scale group.
        method: Which method.
        scheme: Its type and symmetry are read: how many levels there are and where, and whether both ends are free.
        depthwise: Every weighted operator that reads the tensor is a depthwise Conv. There each channel is a network of
            its own, and the squared error of the whole tensor, in which the largest channels outvote all others, says
            little (one such tensor, clipped by squared error alone, takes a detector from 29 AP to 4). `mse` and
            `entropy` then let the divergence decide, which counts every value alike, within 32 times (15 dB) the
            smallest squared error.

    Raises:
        NoDataError: Nothing was observed.
    """
    if method.name == "minmax":
        return minmax(histogram)
    if method.name == "percentile":
        return percentile(histogram, method.percent, scheme)
    if depthwise or method.name == "entropy":
        return entropy(histogram, DEPTHWISE_ERROR_RATIO if depthwise else ERROR_RATIO, scheme)
    return mse(histogram, scheme)
