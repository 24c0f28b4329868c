"""The reasons why an operator stays FP32 beside a 16-bit float rest, as one table that needs no graph."""

from __future__ import annotations

NO_TYPE = "NO_TYPE"
CUSTOM_DOMAIN = "CUSTOM_DOMAIN"
BODY = "BODY"
NEVER_TAKEN = "NEVER_TAKEN"
UNTYPED = "UNTYPED"
FROM_SHAPES = "FROM_SHAPES"
FIXED_TYPE = "FIXED_TYPE"
COORDINATES = "COORDINATES"
SPECTRUM = "SPECTRUM"
OVERFLOW = "OVERFLOW"
VANISHES = "VANISHES"
CONSTANT_OVERFLOW = "CONSTANT_OVERFLOW"
CONSTANT_VANISHES = "CONSTANT_VANISHES"
GUARD = "GUARD"
SMALL_DIVISOR = "SMALL_DIVISOR"
LONG_SUM = "LONG_SUM"
INNER_OVERFLOW = "INNER_OVERFLOW"
TO_INTEGER = "TO_INTEGER"
SCALE = "SCALE"
COMPUTED_SCALE = "COMPUTED_SCALE"
BLOCK_SCALES = "BLOCK_SCALES"
ISLAND = "ISLAND"

REASONS: dict[str, str] = {
    NO_TYPE: "ONNX does not define its operator for the float type",
    CUSTOM_DOMAIN: "of another domain than ONNX's own, so nobody knows which types it takes",
    BODY: "hands FP32 to its body and takes FP32 from it; the operators in there have types of their own",
    NEVER_TAKEN: "in a branch that no calibration sample takes, where values may be larger than the float type holds",
    UNTYPED: "touches a value whose element type is not known, or that is no tensor",
    FROM_SHAPES: "computes from shapes alone",
    FIXED_TYPE: "states its element type itself and takes no data",
    COORDINATES: "computes with coordinates, which the type rounds to more than a pixel's share",
    SPECTRUM: "sums a whole axis at full precision: a Fourier transform or a determinant",
    OVERFLOW: "a tensor it makes or reads comes too near to the largest value of the type",
    VANISHES: "a tensor it makes or reads is too small for the type, and large again behind it",
    CONSTANT_OVERFLOW: "a constant it reads is too large for the type",
    CONSTANT_VANISHES: "a constant it reads is too small for the type",
    GUARD: "keeps a division from zero by a number that the type does not hold",
    SMALL_DIVISOR: "divides by numbers too small for the type",
    LONG_SUM: "sums more values than the type can count",
    INNER_OVERFLOW: "its sum on the way to the result may be too large for the type",
    TO_INTEGER: "its values become integers, and the type does not hold every integer of their size",
    SCALE: "its quantization scale is too small for the type",
    COMPUTED_SCALE: "its quantization scale is computed at run time",
    BLOCK_SCALES: "a DQ of NVFP4, which gives FP32 alone",
    ISLAND: "lies between operators that stay FP32, where Casts would cost more than the type saves",
}
"""Stable code -> sentence; what is behind each stands in `qdq_cli.explaining.casting`."""
