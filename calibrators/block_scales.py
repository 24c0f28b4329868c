"""Scales of blocks that are small floats themselves: E4M3 times one number for the tensor (NVFP4), powers of two (MX).

Sources: OCP Microscaling Formats (MX) Specification 1.0, section 5.4.1 (E8M0); NVIDIA, arXiv 2509.25149, section 2
(NVFP4: a scale of FP32 for the tensor, one of E4M3 for each block of 16); Mishra et al. 2025, arXiv 2506.08027, section
3 (MXFP8: exponents rounded up, so that no value of a block overflows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import NonFiniteError
from calibrators.qtypes import FP8_E4M3, QType
from calibrators.scheme import ScaleForm

E8M0_BIAS = 127
"""Code of the scale 1.0; codes of 0 to 254 are exponents of -127 to 127."""

_NO_ZERO = np.zeros((), np.uint8)


@dataclass(frozen=True, eq=False)
class BlockScales:
    """The scales of blocks as they are stored.

    Args:
        codes: One a block: bit patterns of E4M3, or exponents with their bias.
        tensor: What all E4M3 scales are multiplied with; None for powers of two.
    """

    codes: NDArray[np.uint8]
    tensor: np.float32 | None = None

    def values(self) -> NDArray[np.float32]:
        """The scales themselves, in the shape of the codes."""
        if self.tensor is None:
            return np.ldexp(np.float32(1.0), self.codes.astype(np.int32) - E8M0_BIAS)
        return np.asarray(FP8_E4M3.decode(self.codes, _NO_ZERO) * self.tensor, np.float32)


def block_scales(amax: NDArray[np.floating[Any]], qtype: QType, form: ScaleForm) -> BlockScales:
    """Choose the scales of blocks.

    Args:
        amax: Largest absolute value of each block, >= 0.
        qtype: The stored type of the values.
        form: E4M3 or E8M0.

    Returns:
        E4M3: amax / qtype.steps in units of `tensor_scale`, rounded to the nearest; the smallest there is, not 0.
        E8M0: the smallest power of two with amax / scale <= qtype.steps, from 2**-127 to 2**127.

    Raises:
        NonFiniteError: NaN or Inf.
    """
    if not np.isfinite(amax).all():
        raise NonFiniteError("A block holds NaN or Inf, which no scale covers.")
    if form is ScaleForm.E8M0:
        return BlockScales(_exponents_up(np.asarray(amax, np.float64) / qtype.steps))
    tensor = tensor_scale(float(amax.max(initial=0.0)), qtype)
    scaled = np.abs(np.asarray(amax, np.float64)) / qtype.steps / tensor  # where -0.0 would have a sign
    return BlockScales(np.maximum(FP8_E4M3.encode(scaled.astype(np.float32), _NO_ZERO), 1).astype(np.uint8), tensor)


def tensor_scale(amax: float, qtype: QType) -> np.float32:
    """What the E4M3 scales of a tensor's blocks are multiplied with: amax / (qtype.steps * 448).

    Args:
        amax: Largest absolute value of the tensor, >= 0.
        qtype: The stored type of the values.

    Returns:
        1.0 where it would be 0 or subnormal.
    """
    found = np.float32(amax / (qtype.steps * FP8_E4M3.steps))
    return found if found >= np.finfo(np.float32).smallest_normal else np.float32(1.0)


def stored_scales(scale: NDArray[np.float32], form: ScaleForm, tensor: np.float32 | None) -> BlockScales:
    """Return scales that such codes stand for as these codes.

    Args:
        scale: One a block, as `BlockScales.values` has them.
        form: E4M3 or E8M0.
        tensor: As in `BlockScales`.
    """
    if form is ScaleForm.E8M0 or tensor is None:
        return BlockScales(_exponents_up(scale.astype(np.float64)))
    return BlockScales(FP8_E4M3.encode(np.asarray(scale / tensor, np.float32), _NO_ZERO), tensor)


def _exponents_up(scale: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Codes of the smallest powers of two that are not below some numbers."""
    fraction, exponent = np.frexp(scale)  # scale = fraction * 2**exponent, the fraction from 0.5 up to 1
    exponent = np.where(fraction == 0.5, exponent - 1, exponent)
    exponent = np.where(scale == 0.0, -E8M0_BIAS, exponent)
    return np.asarray(np.clip(exponent, -E8M0_BIAS, E8M0_BIAS) + E8M0_BIAS, np.uint8)


def dynamic_blocks(
    values: NDArray[np.floating[Any]], qtype: QType, size: int, form: ScaleForm, tensor: np.float32 | None = None
) -> tuple[NDArray[np.uint8], BlockScales]:
    """Quantize blocks along the last axis with scales of their own, as a network does while it runs.

    Args:
        values: float16 or float32, [..., a multiple of `size`]; no NaN.
        qtype: The stored type of the values.
        size: Values of a block.
        form: E4M3 or E8M0.
        tensor: What E4M3 scales are multiplied with, known beforehand: a block whose amax is above 448 * qtype.steps of
            it saturates.

    Returns:
        The codes, in the shape of the values, and the scales, [..., blocks]. A block whose E4M3 scale is 0 is all 0.0.
    """
    blocks = values.astype(np.float32, copy=False).reshape(*values.shape[:-1], -1, size)
    amax = np.abs(blocks).max(axis=-1)
    if form is ScaleForm.E8M0 or tensor is None:
        scales = BlockScales(_exponents_up(amax.astype(np.float64) / qtype.steps))
    else:
        scaled = amax / np.float32(qtype.steps) / tensor
        scales = BlockScales(FP8_E4M3.encode(np.asarray(scaled, np.float32), _NO_ZERO), tensor)
    scale = scales.values()[..., np.newaxis]
    dead = scale == 0.0
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.where(dead, np.float32(0.0), blocks / np.where(dead, np.float32(1.0), scale))
    return qtype.encode(scaled, _NO_ZERO).reshape(values.shape), scales


def from_blocks(codes: NDArray[np.uint8], scales: BlockScales, qtype: QType, size: int) -> NDArray[np.float32]:
    """The values of codes in blocks along the last axis: float32, in their shape."""
    values = qtype.decode(codes, _NO_ZERO).reshape(*codes.shape[:-1], -1, size)
    return np.asarray(values * scales.values()[..., np.newaxis], np.float32).reshape(codes.shape)
