"""Scheme: how a tensor is quantized, as one value: stored type, symmetric or affine, and what shares a scale."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from calibrators.errors import ParameterError
from calibrators.qtypes import FP4_E2M1, FP8_E4M3, INT8, QType


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor."""


@dataclass(frozen=True)
class PerChannel:
    """One scale a slice.

    Args:
        axis: The axis that is kept, not negative (rule A21).

    Raises:
        ParameterError: Another axis.
    """

    axis: int

    def __post_init__(self) -> None:
        _check_whole(self.axis, 0, "The axis of a granularity")


@dataclass(frozen=True)
class Block:
    """One scale for every `size` neighbours along an axis; the last block of a slice may be shorter.

    Args:
        axis: The axis that is cut into blocks, not negative.
        size: Values of a block, >= 1.

    Raises:
        ParameterError: Another axis or size.

    Source: ONNX QuantizeLinear, opset 21, block_size.
    """

    axis: int
    size: int

    def __post_init__(self) -> None:
        _check_whole(self.axis, 0, "The axis of a granularity")
        _check_whole(self.size, 1, "The size of a block")


@dataclass(frozen=True)
class Dynamic:
    """One scale for every `size` neighbours along the last axis, computed from these while the network runs.

    Args:
        size: Values of a block, >= 1.

    Raises:
        ParameterError: Another size.
    """

    size: int

    def __post_init__(self) -> None:
        _check_whole(self.size, 1, "The size of a block")


Granularity = PerTensor | PerChannel | Block | Dynamic


class ScaleForm(Enum):
    """What scales are stored as."""

    FLOAT = "float"
    """As floats of the data's type."""
    E4M3 = "e4m3"
    """Each as a float of 8 bits, E4M3, times one FP32 number for the whole tensor (NVFP4)."""
    E8M0 = "e8m0"
    """Each as a power of two, of which 8 bits hold the exponent (MX formats)."""


@dataclass(frozen=True)
class BlockFormat:
    """A type whose blocks have small floats as scales: what its values and its scales are, and how many share one.

    Args:
        qtype: The stored type of the values.
        size: Values of a block.
        scales: What its scales are stored as.
    """

    qtype: QType
    size: int
    scales: ScaleForm


BLOCK_FORMATS = {
    "nvfp4": BlockFormat(FP4_E2M1, 16, ScaleForm.E4M3),
    "mxfp8": BlockFormat(FP8_E4M3, 32, ScaleForm.E8M0),
}
"""By name. Sources: NVIDIA, arXiv 2509.25149, section 2; OCP Microscaling Formats (MX) Specification 1.0, table 1."""

_FIELDS = (
    ("qtype", QType, "a QType such as INT8"),
    ("symmetric", bool, "True or False"),
    ("granularity", Granularity, "PerTensor(), PerChannel(axis), Block(axis, size) or Dynamic(size)"),
    ("scales", ScaleForm, "a ScaleForm"),
)


@dataclass(frozen=True)
class Scheme:
    """How a tensor is quantized; what the numbers are is for its range to say.

    Args:
        qtype: The stored type.
        symmetric: The range is [-amax, amax] and 0.0 has the code in the middle; otherwise (affine) the two ends are
            free as long as 0.0 lies between them.
        granularity: What shares a scale.
        scales: What scales are stored as.

    Raises:
        ParameterError: A field of another kind; an affine floating-point type: its levels are dense around 0.0, so
            0.0 has to be code 0 (ONNX wants the zero point of a float8 to be 0); scales that are no floats without
            blocks, or of integers.

    Source: ONNX QuantizeLinear, opset 21.
    """

    qtype: QType = INT8
    symmetric: bool = True
    granularity: Granularity = PerTensor()
    scales: ScaleForm = ScaleForm.FLOAT

    def __post_init__(self) -> None:
        for name, kind, expected in _FIELDS:
            if not isinstance(getattr(self, name), kind):
                found = getattr(self, name)
                raise ParameterError(f"The {name} of a scheme is {expected}, found {found!r}.")
        if self.qtype.grid is not None and not self.symmetric:
            raise ParameterError(
                f"There is no affine quantization to {self.qtype.name}: its zero point is always 0.",
                "Make the scheme symmetric, or take an integer type.",
            )
        blocks = isinstance(self.granularity, Block | Dynamic)
        if self.scales is not ScaleForm.FLOAT and not (blocks and self.qtype.grid is not None):
            raise ParameterError(f"Scales as {self.scales.value} are those of blocks of small floats, found {self}.")

    @property
    def name(self) -> str:
        """What it stores, in one word: that of a block format, else the name of the stored type."""
        own = (self.qtype, self.scales)
        found = (name for name, known in BLOCK_FORMATS.items() if (known.qtype, known.scales) == own)
        return next(found, self.qtype.name)

    @property
    def steps(self) -> int:
        """Steps of the scale that the range takes: from 0.0 to amax where symmetric, else from end to end."""
        return self.qtype.steps if self.symmetric else self.qtype.qmax - self.qtype.qmin


def _check_whole(value: object, least: int, what: str) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ParameterError(f"{what} must be a whole number, {least} or more; found {value!r}.")


DEFAULT = Scheme()
"""INT8, symmetric, per tensor: activations for TensorRT (rule A13; rules, section 6.4)."""
