"""How ranges are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calibrators import Range

METHODS = ("entropy", "minmax", "percentile", "mse")
DEFAULT_METHOD = "mse"
"""The method that keeps most accuracy over the measured models; the table is in docs/accuracy.md."""


def as_ranges(given: Mapping[str, Range | float]) -> Mapping[str, Range]:
    """Read numbers as symmetric ranges."""
    if not given:
        return {}
    from calibrators import Range  # NumPy is slow to load, and `qdq --help` needs these records

    return {name: Range.symmetric(found) if isinstance(found, int | float) else found for name, found in given.items()}


@dataclass(frozen=True)
class RangeConfig:
    """How ranges are chosen.

    Args:
        method: `entropy`, `minmax`, `percentile` or `mse`.
        percentile: Share of values `percentile` keeps, in percent.
        manual: Tensor name -> range, or a number for [-amax, amax]; overrides calibration. Every name must be that of a
            quantized tensor.
        imported: The same from a file of another tool, which may name other tensors too; `manual` wins.
        cache: Calibration cache to read if it is there and fits, else to write.
        recalibrate: Calibrate even if the cache is there.
        cache_missing: Where the cache lacks some of the tensors: `calibrate` those alone, or `error`; None calibrates
            all of them again where there is data, and is an error where there is none.
    """

    method: str = DEFAULT_METHOD
    percentile: float = 99.99
    manual: Mapping[str, Range] = field(default_factory=dict)
    imported: Mapping[str, Range] = field(default_factory=dict)
    cache: Path | None = None
    recalibrate: bool = False
    cache_missing: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "manual", as_ranges(self.manual))
        object.__setattr__(self, "imported", as_ranges(self.imported))
