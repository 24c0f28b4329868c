"""The methods: each turns the histogram of a tensor into the range that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from calibrators.errors import ParameterError
from calibrators.histogram import Histogram
from calibrators.methods.entropy import ERROR_RATIO, entropy
from calibrators.methods.minmax import minmax
from calibrators.methods.mse import mse
from calibrators.methods.percentile import percentile
from calibrators.ranges import Range
from calibrators.scheme import DEFAULT, Scheme

MethodName = Literal["auto", "entropy", "minmax", "percentile", "mse"]

__all__ = ["CANDIDATES", "Method", "MethodName", "choose_range", "entropy", "minmax", "mse", "percentile"]


@dataclass(frozen=True)
class Method:
    """Which method chooses the ranges.

    Args:
        name: One of the method names. `auto` is `mse`, which kept the outputs closest over a dozen networks (plain
            and depthwise convolutional, transformer, super-resolution, detection), but where another of `CANDIDATES`
            was found better for the outputs of the depthwise convolutions that read a tensor (`ScaleGroup.judged`).
        percent: Share of values that `percentile` keeps, 0 < percent <= 100; the other methods do not read it.

    Raises:
        ParameterError: Another name, or a percent outside (0, 100].
    """

    name: MethodName = "auto"
    percent: float = 99.99

    def __post_init__(self) -> None:
        if self.name not in get_args(MethodName):
            expected = ", ".join(get_args(MethodName))
            raise ParameterError(f"There is no method {self.name!r}; expected one of {expected}.")
        if not 0.0 < self.percent <= 100.0:
            raise ParameterError(f"The percent of a method must be in (0, 100], found {self.percent}.")


CANDIDATES = {
    "mse": Method("mse"),
    "entropy": Method("entropy"),
    "percentile": Method("percentile", 99.999),
    "minmax": Method("minmax"),
}
"""What `auto` chooses from, by the name that is kept of it; it takes the first where no other is clearly better."""


def choose_range(histogram: Histogram, method: Method, scheme: Scheme = DEFAULT) -> Range:
    """Choose the range of a tensor by `method`, for what its scheme can store.

    Args:
        histogram: Counts of the tensor, or of its whole scale group.
        method: Which method; `auto`, of which a histogram alone knows nothing, is `mse` here.
        scheme: Its type and symmetry are read: how many levels there are and where, and whether both ends are free.

    Raises:
        NoDataError: Nothing was observed.
    """
    if method.name == "minmax":
        return minmax(histogram)
    if method.name == "percentile":
        return percentile(histogram, method.percent, scheme)
    if method.name == "entropy":
        return entropy(histogram, ERROR_RATIO, scheme)
    return mse(histogram, scheme)
