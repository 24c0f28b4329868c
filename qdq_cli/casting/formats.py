"""What the two 16-bit float types can hold, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.config.forms import FloatType


@dataclass(frozen=True)
class FloatFormat:
    """A float type of 16 bits.

    Args:
        name: As it is written for people.
        suffix: Ends the names of constants that are stored a second time in this type.
        dtype: Its element type.
        largest: Its largest finite value.
        smallest_normal: Its smallest value of full precision.
        digits: Binary digits of its significand, the hidden one counted.
    """

    name: str
    suffix: str
    dtype: ir.DataType
    largest: float
    smallest_normal: float
    digits: int

    @property
    def is_narrow(self) -> bool:
        """Whether it reaches less far than FP32."""
        return self.largest < 1e38

    @property
    def smallest(self) -> float:
        """Its smallest value above 0; a value below half of it becomes 0."""
        return self.smallest_normal * 2.0 ** (1 - self.digits)

    def rounded(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array in this type, rounded to nearest, ties to even; what is too large becomes infinite."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(array).astype(self.dtype.numpy())

    def error(self, array: NDArray[Any]) -> NDArray[np.float64]:
        """Return how far each value of an array moves when it is rounded to this type."""
        wide = np.asarray(array, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(wide - self.rounded(array).astype(np.float64)))


FORMATS = {
    FloatType.FP16: FloatFormat("FP16", "fp16", ir.DataType.FLOAT16, 65504.0, 2.0**-14, 11),
    FloatType.BF16: FloatFormat("BF16", "bf16", ir.DataType.BFLOAT16, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 8),
}
"""The types a float rest can have besides FP32."""

MARGIN = 4.0
"""How far above what was observed a tensor may reach on other data.

Two bits: activations of unseen samples exceed the largest of a few hundred by less than that on every network that was
measured (docs/float-types.md), and a tensor that comes within two bits of the end of FP16 costs little as FP32.
"""


def limit(form: FloatFormat) -> float:
    """Return the largest magnitude that a tensor of a type may be seen to have."""
    return form.largest / MARGIN


_COARSE = 2.0**7
"""A number this many times the smallest of a type is held to an eighth digit."""


def coarse_below(form: FloatFormat) -> float:
    """Return the size below which a type holds numbers by fewer than eight binary digits."""
    return form.smallest * _COARSE
