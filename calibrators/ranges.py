"""Range: the real interval that is kept; what lies outside is saturated. Ranges: one for each channel or block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import NonFiniteError, ParameterError


@dataclass(frozen=True)
class Range:
    """The interval [minimum, maximum] of real values that quantization keeps, in the tensor's own units.

    Args:
        minimum: Smallest value that is kept.
        maximum: Largest value that is kept.

    Raises:
        NonFiniteError: An end is NaN or Inf (rule A7).
        ParameterError: minimum > maximum.
    """

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum)):
            raise NonFiniteError(f"The range [{self.minimum}, {self.maximum}] is not finite.")
        if self.minimum > self.maximum:
            raise ParameterError(f"The range [{self.minimum}, {self.maximum}] ends before it begins.")

    @classmethod
    def symmetric(cls, amax: float) -> Range:
        """The interval [-amax, amax]."""
        return cls(-amax, amax)

    @property
    def amax(self) -> float:
        """Largest absolute value kept; the symmetric range is [-amax, amax] (rules, section 6.4)."""
        return max(abs(self.minimum), abs(self.maximum))

    def scaled(self, factor: float) -> Range:
        """The interval with both ends multiplied by a factor above 0."""
        return Range(factor * self.minimum, factor * self.maximum)

    def joined(self, other: Range) -> Range:
        """The smallest interval that holds both."""
        return Range(min(self.minimum, other.minimum), max(self.maximum, other.maximum))


@dataclass(frozen=True, eq=False)
class Ranges:
    """The intervals of a tensor whose channels or blocks have a range each.

    Args:
        minima: Lower ends in the tensor's own units: [C] per channel; per block the shape of the tensor, with as many
            elements along the block's axis as it has blocks; () per tensor.
        maxima: Upper ends, same shape.

    Raises:
        NonFiniteError: An end is NaN or Inf (rule A7).
        ParameterError: Shapes differ, or a minimum is above its maximum.
    """

    minima: NDArray[np.floating[Any]]
    maxima: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        if self.minima.shape != self.maxima.shape:
            raise ParameterError(f"Ranges have {self.minima.shape} minima, but {self.maxima.shape} maxima.")
        bad = ~(np.isfinite(self.minima) & np.isfinite(self.maxima))
        if bad.any():
            raise NonFiniteError(f"{np.count_nonzero(bad)} of {bad.size} ranges are not finite.")
        crossed = int(np.count_nonzero(self.minima > self.maxima))
        if crossed:
            raise ParameterError(f"{crossed} of {bad.size} ranges end before they begin.")

    @property
    def amax(self) -> NDArray[np.floating[Any]]:
        """Largest absolute value kept by each, in the shape of the ends."""
        return np.asarray(np.maximum(self.maxima, -self.minima))
