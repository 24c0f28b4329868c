"""Scheme: how a tensor is quantized, as one value: stored type, symmetric or affine, and what shares a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrators.errors import ParameterError
from calibrators.qtypes import INT8, QType


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


Granularity = PerTensor | PerChannel | Block

_FIELDS = (
    ("qtype", QType, "a QType such as INT8"),
    ("symmetric", bool, "True or False"),
    ("granularity", Granularity, "PerTensor(), PerChannel(axis) or Block(axis, size)"),
)


@dataclass(frozen=True)
class Scheme:
    """How a tensor is quantized; what the numbers are is for its range to say.

    Args:
        qtype: The stored type.
        symmetric: The range is [-amax, amax] and 0.0 has the code in the middle; otherwise (affine) the two ends are
            free as long as 0.0 lies between them.
        granularity: What shares a scale.

    Raises:
        ParameterError: A field of another kind, or an affine floating-point type: its levels are dense around 0.0, so
            0.0 has to be code 0 (ONNX wants the zero point of a float8 to be 0).

    Source: ONNX QuantizeLinear, opset 21.
    """

    qtype: QType = INT8
    symmetric: bool = True
    granularity: Granularity = PerTensor()

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

    @property
    def steps(self) -> int:
        """Steps of the scale that the range takes: from 0.0 to amax where symmetric, else from end to end."""
        return self.qtype.steps if self.symmetric else self.qtype.qmax - self.qtype.qmin


def _check_whole(value: object, least: int, what: str) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ParameterError(f"{what} must be a whole number, {least} or more; found {value!r}.")


DEFAULT = Scheme()
"""INT8, symmetric, per tensor: activations for TensorRT (rule A13; rules, section 6.4)."""
