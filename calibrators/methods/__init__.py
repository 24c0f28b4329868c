"""The methods: each turns the histogram of a tensor into the range that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from calibrators.errors import ParameterError
from calibrators.histogram import Histogram
from calibrators.methods.entropy import entropy
from calibrators.methods.minmax import minmax
from calibrators.methods.mse import mse
from calibrators.methods.percentile import percentile
from calibrators.ranges import Range

MethodName = Literal["entropy", "minmax", "percentile", "mse"]

__all__ = ["Method", "MethodName", "choose_range", "entropy", "minmax", "mse", "percentile"]


@dataclass(frozen=True)
class Method:
    """Which method chooses the ranges.

    Args:
        name: One of the method names.
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


def choose_range(histogram: Histogram, method: Method) -> Range:
    """Choose the range of a tensor by `method`.

    Raises:
        NoDataError: Nothing was observed.
    """
    if method.name == "percentile":
        return percentile(histogram, method.percent)
    return _WITHOUT_PARAMETERS[method.name](histogram)


_WITHOUT_PARAMETERS = {"entropy": entropy, "minmax": minmax, "mse": mse}
