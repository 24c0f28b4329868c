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
    """The type itself; of MXFP8 and NVFP4 the scales of the blocks belong to it, and to its bits."""

    INT8 = "INT8"
    FP8 = "FP8"
    MXFP8 = "MXFP8"
    NVFP4 = "NVFP4"
    INT4 = "INT4"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    OTHER = "other"

    @property
    def kind(self) -> ElementType:
        """The same without telling floats apart."""
        return _KINDS.get(self, ElementType.FLOAT)

    @property
    def is_quantized(self) -> bool:
        """Whether kernels compute on codes of this type; INT4 is for weights alone."""
        return self in _KINDS


_KINDS = {
    Precision.INT8: ElementType.INT8,
    Precision.FP8: ElementType.FP8,
    Precision.MXFP8: ElementType.MXFP8,
    Precision.NVFP4: ElementType.NVFP4,
}

BITS = {
    Precision.INT8: 8.0,
    Precision.FP8: 8.0,
    Precision.MXFP8: 8 + 8 / 32,
    Precision.NVFP4: 4 + 8 / 16,
    Precision.INT4: 4.0,
    Precision.FP16: 16.0,
    Precision.BF16: 16.0,
    Precision.FP32: 32.0,
}
"""Type -> bits of an element, with its part of the scale of a block; what is OTHER has those of its own type."""
