"""The types that tensors, weights and products have in an engine, each with the bits of one element."""

from __future__ import annotations

from enum import Enum


class ElementType(Enum):
    """Type of a tensor between kernels: that of its codes, or "float" for FP32, FP16 and BF16 alike."""

    INT8 = "INT8"
    FP8 = "FP8"
    MXFP8 = "MXFP8"
    NVFP4 = "NVFP4"
    FLOAT = "float"


class Precision(Enum):
    """The type itself: its name, and the bits of an element; of MXFP8 and NVFP4 with a part of the scale of a block."""

    kind: ElementType
    """The same without telling floats apart."""

    is_quantized: bool
    """Whether kernels compute on codes of this type; INT4 is for weights alone."""

    bits: float
    """Bits of an element; 0 for OTHER, whose elements have those of their own type."""

    def __new__(cls, name: str, bits: float, kind: ElementType = ElementType.FLOAT) -> Precision:
        """Make a member: asked for several times of each layer, so that nothing is looked up then."""
        made = object.__new__(cls)
        made._value_, made.bits, made.kind = name, bits, kind
        made.is_quantized = kind is not ElementType.FLOAT
        return made

    INT8 = "INT8", 8.0, ElementType.INT8
    FP8 = "FP8", 8.0, ElementType.FP8
    MXFP8 = "MXFP8", 8 + 8 / 32, ElementType.MXFP8
    NVFP4 = "NVFP4", 4 + 8 / 16, ElementType.NVFP4
    INT4 = "INT4", 4.0
    FP16 = "FP16", 16.0
    BF16 = "BF16", 16.0
    FP32 = "FP32", 32.0
    OTHER = "other", 0.0


PRECISIONS = {precision.value: precision for precision in Precision}
"""Name of a type, as documents have it -> the type."""
