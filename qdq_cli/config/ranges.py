"""How ranges are chosen."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, Made, OneOf, option, ruled
from qdq_cli.process.errors import UsageError

if TYPE_CHECKING:
    from calibrators import Method, MethodName, Range
else:
    Range = Any  # NumPy is slow to load, and who asks for help needs these records

METHODS = ("auto", "entropy", "minmax", "percentile", "mse")
DEFAULT_METHOD = "auto"
"""The method that keeps most accuracy over the measured models; the table is in docs/accuracy.md."""


def method_field() -> Any:
    """Declare the field that says how ranges are chosen."""
    text = "How ranges are chosen; auto: mse, or what serves the outputs of its readers best."
    return option(DEFAULT_METHOD, text, rule=OneOf(METHODS))


DEFAULT_PERCENTILE = 99.99
"""Share of the values that the method percentile keeps, in percent, where nobody says another."""


def percentile_field(text: str) -> Any:
    """Declare the field with the share that the method percentile keeps, in percent; `text` is its help."""
    return option(DEFAULT_PERCENTILE, text, metavar="PERCENT", rule=Interval(0, 100, above=True))


def named_range(text: str) -> tuple[str, tuple[float, float]]:
    """Parse `NAME=AMAX` or `NAME=MIN:MAX`, split at the last `=`: names may hold any character.

    Returns:
        The name and both ends.

    Raises:
        UsageError: The text is something else, an end is not finite, or the range holds nothing but 0.
    """
    name, separator, numbers = text.rpartition("=")
    low, colon, high = numbers.partition(":")
    try:
        first, last = (float(low), float(high)) if colon else (-float(low), float(low))
    except ValueError:
        first = last = 0.0
    if not separator or not name or not -math.inf < first < last < math.inf:
        raise UsageError(
            f"'{text}' is neither NAME=AMAX with a positive AMAX (conv1_out=6.0) nor NAME=MIN:MAX (conv1_out=-1:6)."
        )
    return name, (first, last)


def range_of(given: Any) -> Range:
    """Read a range, a number for [-number, number], or both ends.

    Raises:
        TypeError: It is something else.
        ValueError: The ends are not finite, or in the wrong order.
    """
    from calibrators import Range  # NumPy is slow to load, and who asks for help needs these records

    if isinstance(given, Range):
        return given
    if isinstance(given, tuple | list):
        first, last = map(_end, given)
        return Range(first, last)
    return Range(-_end(given), _end(given))


def _end(number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise TypeError("an end of a range is a number")
    if not math.isfinite(number):
        raise ValueError("the ends of a range are finite")
    return float(number)


def wide_range_of(given: Any) -> Range:
    """Read a range that holds more than one value.

    Raises:
        TypeError: It is no range.
        ValueError: It is none that is finite, or holds one value alone.
    """
    found = range_of(given)
    if found.minimum == found.maximum:
        raise ValueError("a range is wider than 0")
    return found


RANGE = Made("a range, an amax of 0 or more, or both ends", range_of)
WIDE_RANGE = Made("a range, an amax above 0, or both ends", wide_range_of)


@dataclass(frozen=True)
class RangeConfig(Checked):
    """How ranges are chosen.

    Args:
        method: `auto`, `entropy`, `minmax`, `percentile` or `mse`.
        percentile: Share of values `percentile` keeps, in percent.
        manual: Tensor name -> range, or a number for [-amax, amax]; overrides calibration. Every name must be that of a
            quantized tensor.
        imported: The same from a file of another tool, which may name other tensors too; `manual` wins.
        wide: Tensors of which that file says that their depthwise readers stay float.
        cache: Calibration cache to read if it is there and fits, else to write.
        recalibrate: Calibrate even if the cache is there.
        cache_missing: Where the cache lacks some of the tensors: `calibrate` those alone, or `error`; None calibrates
            all of them again where there is data, and is an error where there is none.
    """

    method: str = method_field()
    percentile: float = percentile_field("Share of values that --method percentile keeps.")
    manual: Mapping[str, Range] = option(
        dict,
        "Range [-AMAX, AMAX] of a tensor; overrides calibration. NAME=MIN:MAX gives both ends; where the scheme is "
        "symmetric, the larger absolute value counts. Repeatable.",
        names=("--range", "manual"),
        metavar="NAME=AMAX",
        rule=WIDE_RANGE,
        parse=named_range,
    )
    imported: Mapping[str, Range] = ruled(dict, RANGE)
    wide: frozenset[str] = frozenset()
    cache: Path | None = option(
        None,
        "Calibration cache: read if it is there and fits the model (no data needed then), else written.",
        metavar="FILE",
    )
    recalibrate: bool = option(False, "Calibrate even if the cache is there.")
    cache_missing: str | None = option(
        None,
        "Where tensors are not in the cache: calibrate those alone, or fail. [default: calibrate all again with "
        "--calib, else fail]",
        rule=OneOf(("calibrate", "error")),
    )

    @property
    def chooser(self) -> Method:
        """What chooses ranges where none is given."""
        from calibrators import Method  # as in `range_of`

        return Method(cast("MethodName", self.method), self.percentile)
