"""Range: the real interval that is kept; what lies outside is saturated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibrators.errors import NonFiniteError, ParameterError


@dataclass(frozen=True)
class Range:
    """The interval [minimum, maximum] of real values that quantization keeps, in the tensor's own units.

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

    @property
    def amax(self) -> float:
        """Largest absolute value kept; the symmetric range is [-amax, amax] (rules, section 6.4)."""
        return max(abs(self.minimum), abs(self.maximum))
