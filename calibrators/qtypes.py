"""QType: what a quantized tensor is stored as, and how values become codes and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from calibrators.errors import NonFiniteError, ParameterError


@dataclass(frozen=True)
class FloatGrid:
    """Where the values of a small floating-point type lie.

    Args:
        mantissa_bits: Bits behind the leading one: 2**mantissa_bits values an octave.
        smallest_exponent: Exponent of the smallest normal number; below it, subnormals keep its spacing.
        largest_code: Bit pattern of the largest finite value.
        infinite: Whether the next bit pattern is infinity; all others above are NaN.
        bits: Bits of a pattern; the first is the sign.
    """

    mantissa_bits: int
    smallest_exponent: int
    largest_code: int
    infinite: bool
    bits: int = 8


@dataclass(frozen=True)
class QType:
    """A stored type: its codes, how real values round to them, and how a symmetric range is laid over them.

    NumPy knows neither 4-bit integers nor floats of 8 and 4 bits, so codes are held in the narrowest type it does know:
    a 4-bit integer in a byte (whoever writes a file packs two), such a float as its bit pattern in a byte, which
    `ml_dtypes` reads by a view.

    Args:
        name: The ONNX name of the type, lower case: "int8", "float8e4m3fn".
        qmin: Smallest stored value.
        qmax: Largest stored value; both are finite, and what lies outside saturates.
        dtype: NumPy type that holds the codes.
        zero_code: Code of 0.0 in a symmetric quantization.
        steps: Stored value that amax gets, counted from 0.0: scale = amax / steps (127 for INT8, 7 for INT4, 448 for
            FP8 E4M3; the clamp is the full [qmin, qmax] all the same; rules, sections 1.1 and 7, and A1).
        grid: Of a floating-point type; None for integers.
    """

    name: str
    qmin: int
    qmax: int
    dtype: np.dtype[np.generic]
    zero_code: int
    steps: int
    grid: FloatGrid | None = None

    def levels(self) -> NDArray[np.float64]:
        """Magnitudes that a symmetric quantization has, in units of the scale: 0.0 to `steps`, ascending; read-only.

        The one further code that integers have below 0.0 is not among them.
        """
        return _levels(self)

    def encode(self, scaled: NDArray[np.float32], zero_point: NDArray[Any]) -> NDArray[Any]:
        """The codes of values in units of the scale: rounded half to even, and saturated.

        Args:
            scaled: x / scale; overwritten.
            zero_point: Codes of 0.0, broadcasting against `scaled`.

        Returns:
            Same shape, in `dtype`. Integers round before the zero point is added. Floats keep the sign of a zero.

        Raises:
            NonFiniteError: NaN: no integer means it, and a stored NaN would spoil all it is multiplied with.

        Source: ONNX QuantizeLinear, opsets 10-21; for floats ONNX Cast, opset 19, with saturate = 1 (Inf saturates).
        """
        if scaled.size and np.isnan(scaled.min()):
            raise NonFiniteError(f"Found NaN among {scaled.size} values to quantize; NaN has no code.")
        if self.grid is not None:
            return _float_codes(scaled, self.grid, self.qmax)
        np.rint(scaled, out=scaled)
        offset = zero_point.astype(np.float32)
        np.clip(scaled, self.qmin - offset, self.qmax - offset, out=scaled)
        scaled += offset
        return scaled.astype(self.dtype)

    def decode(self, codes: NDArray[Any], zero_point: NDArray[Any]) -> NDArray[np.float32]:
        """The stored values of codes, counted from 0.0 in units of the scale.

        Raises:
            ParameterError: Codes of a floating-point type that are not held in `dtype`.
        """
        if self.grid is None:
            return (codes.astype(np.int32) - zero_point.astype(np.int32)).astype(np.float32)
        if codes.dtype != self.dtype:
            raise ParameterError(
                f"Codes of {self.name} are bit patterns held in {self.dtype}, found {codes.dtype}.",
                "Take a view of the array as uint8.",
            )
        return np.asarray(_float_values(self.grid)[codes])


def _float_codes(scaled: NDArray[np.float32], grid: FloatGrid, largest: int) -> NDArray[np.uint8]:
    """Bit patterns of the nearest values of the grid, half to even.

    With e the exponent of |x|, not below the smallest, |x| counts k = |x| / 2**(e - m) spacings. Bits without the sign
    are (e - smallest) * 2**m + k: the leading one of k carries into the exponent, and so does a k rounded up to
    2**(m + 1).
    """
    magnitude = np.minimum(np.abs(scaled), np.float32(largest))
    exponent = np.maximum((magnitude.view(np.int32) >> 23) - 127, grid.smallest_exponent)
    spacings = np.rint(np.ldexp(magnitude, grid.mantissa_bits - exponent)).astype(np.int32)
    bits = ((exponent - grid.smallest_exponent) << grid.mantissa_bits) + spacings
    return np.asarray(bits | (np.signbit(scaled).astype(np.int32) << (grid.bits - 1)), np.uint8)


@cache
def _float_values(grid: FloatGrid) -> NDArray[np.float32]:
    """The value of each bit pattern."""
    bits = np.arange(1 << (grid.bits - 1))
    exponent = np.maximum((bits >> grid.mantissa_bits) - 1, 0)
    spacings = bits - (exponent << grid.mantissa_bits)
    values = np.ldexp(spacings.astype(np.float32), exponent + (grid.smallest_exponent - grid.mantissa_bits))
    values[grid.largest_code + 1 :] = np.nan
    if grid.infinite:
        values[grid.largest_code + 1] = np.inf
    return np.concatenate([values, -values])


@cache
def _levels(qtype: QType) -> NDArray[np.float64]:
    if qtype.grid is None:
        levels = np.arange(qtype.steps + 1, dtype=np.float64)
    else:
        levels = _float_values(qtype.grid)[: qtype.grid.largest_code + 1].astype(np.float64)
    levels.flags.writeable = False
    return levels


def _integers(name: str, bits: int, *, signed: bool) -> QType:
    dtype: DTypeLike = f"{'int' if signed else 'uint'}{max(bits, 8)}"
    half = 1 << (bits - 1)
    qmin = -half if signed else 0
    return QType(name, qmin, qmin + 2 * half - 1, np.dtype(dtype), qmin + half, half - 1)


def _floats(name: str, grid: FloatGrid) -> QType:
    largest = int(_float_values(grid)[grid.largest_code])
    return QType(name, -largest, largest, np.dtype(np.uint8), 0, largest, grid)


INT8 = _integers("int8", 8, signed=True)
"""[-128, 127], 0.0 at 0: what TensorRT takes (rule A13)."""

UINT8 = _integers("uint8", 8, signed=False)
"""[0, 255], 0.0 at 128 where symmetric: ONNX Runtime's other type; TensorRT refuses it (rule A16)."""

INT16 = _integers("int16", 16, signed=True)
"""[-32768, 32767], 0.0 at 0 (ONNX opset 21)."""

UINT16 = _integers("uint16", 16, signed=False)
"""[0, 65535], 0.0 at 32768 where symmetric (ONNX opset 21)."""

INT4 = _integers("int4", 4, signed=True)
"""[-8, 7], 0.0 at 0, for weights (ONNX opset 21)."""

UINT4 = _integers("uint4", 4, signed=False)
"""[0, 15], 0.0 at 8 where symmetric (ONNX opset 21)."""

FP8_E4M3 = _floats("float8e4m3fn", FloatGrid(3, -6, 0x7E, infinite=False))
"""[-448, 448], 8 values an octave, subnormals from 2**-9 (ONNX opset 19; Micikevicius 2022, arXiv 2209.05433)."""

FP8_E5M2 = _floats("float8e5m2", FloatGrid(2, -14, 0x7B, infinite=True))
"""[-57344, 57344], 4 values an octave, subnormals from 2**-16 (ONNX opset 19; arXiv 2209.05433)."""

FP4_E2M1 = _floats("float4e2m1", FloatGrid(1, 0, 0x7, infinite=False, bits=4))
"""[-6, 6]: 0, 0.5, 1, 1.5, 2, 3, 4, 6 (ONNX opset 23; OCP MX Specification 1.0, section 5.3.3)."""

QTYPES = {qtype.name: qtype for qtype in (INT8, UINT8, INT16, UINT16, INT4, UINT4, FP8_E4M3, FP8_E5M2, FP4_E2M1)}
"""By name."""
