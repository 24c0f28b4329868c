"""A constant weight as quantization leaves it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrators.qparams import dequantize, quantize, symmetric_qparams, weight_amax
from calibrators.qtypes import QType


def round_weight(
    weight: NDArray[np.generic], axis: int | None, qtype: QType, amax: NDArray[np.float32] | None = None
) -> NDArray[np.generic]:
    """Quantize and dequantize a weight as the written model does; `amax` None takes its largest values."""
    largest = weight_amax(weight, axis)
    scale_of = largest if amax is None else amax.reshape(largest.shape)
    qparams = symmetric_qparams(scale_of, axis=axis, qtype=qtype, scale_dtype=weight.dtype)
    rounded: NDArray[np.generic] = dequantize(quantize(weight, qparams), qparams)
    return rounded
