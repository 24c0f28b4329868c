"""How far to scale each channel, so that one range serves all of them (cross-layer equalization, SmoothQuant)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXPONENTS = (0.25, 0.5, 0.75, 1.0)
"""Exponents tried; 0 leaves activations as they are, 1 makes all channels as large as the largest."""

_LARGEST_FACTOR = 64.0
_SMALLEST_SHARE = 1e-3


def channel_factors(activations: NDArray[np.floating], weights: NDArray[np.floating], exponent: float) -> Array:
    """Factors that move the difficulty of quantizing channels from activations to weights, or back.

    Args:
        activations: Largest absolute value of each channel, by that of its tensor: 0 to 1, shape [C].
        weights: Largest absolute weight that reads the channel, by the largest of its scale: 0 to 1, shape [C].
        exponent: How much of it, 0 to 1.

    Returns:
        weights^(1 - exponent) / activations^exponent, shape [C], within 1/64 and 64; 1 for channels that are always
        zero or that nothing reads.

    Source: Xiao et al. 2022, arXiv 2211.10438, equation 4, with 1 / s as the factor of the activation. At exponent 0.5
    and with the ranges of both weights in place of the activation's, it is Nagel et al. 2019, arXiv 1906.04721,
    equation 11.
    """
    used = (activations > 0) & (weights > 0)
    large = np.maximum(activations, _SMALLEST_SHARE) ** exponent
    small = np.maximum(weights, _SMALLEST_SHARE) ** (1 - exponent)
    return np.where(used, np.clip(small / large, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR), 1.0)
