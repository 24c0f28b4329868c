"""Search ranges by what a layer's output loses, not by what the tensor itself loses (EasyQuant)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibrators.gram import Array, Gram
from calibrators.qparams import dequantize, qparams_of, quantize
from calibrators.ranges import Range
from calibrators.rounding import nearest
from calibrators.scheme import DEFAULT, Scheme

ACTIVATION_FACTORS = tuple(float(factor) for factor in np.linspace(0.5, 1.5, 41))
"""Ranges tried, as multiples of the one to improve; 1.0 is among them."""

WEIGHT_FACTORS = tuple(float(factor) for factor in np.linspace(0.5, 1.0, 26))
"""Ranges tried for weights, as multiples of their largest values: a wider range only makes steps larger."""


def activation_error(
    rows: NDArray[np.float32], weight: Array, quantized_weight: Array, kept: Range, scheme: Scheme = DEFAULT
) -> tuple[float, float]:
    """Squared error of a layer's output under one range of its input, and the squared output itself.

    Args:
        rows: Float inputs, shape [R, groups, K].
        weight: W, shape [groups, K, O].
        quantized_weight: Wq, same shape.
        kept: The range.
        scheme: How the input is quantized.
    """
    qparams = qparams_of(kept, scheme)
    rounded = dequantize(quantize(rows, qparams), qparams)
    x, xq = (array.transpose(1, 0, 2) for array in (rows, rounded))
    expected = x @ weight.astype(np.float32)
    error = expected - xq @ quantized_weight.astype(np.float32)
    return float(np.sum(error * error, dtype=np.float64)), float(np.sum(expected * expected, dtype=np.float64))


def search_activation(
    layers: Sequence[tuple[NDArray[np.float32], Array, Array]], kept: Range, scheme: Scheme = DEFAULT
) -> Range:
    """The range of one tensor under which the layers that read it lose least.

    Args:
        layers: Of each reader: rows [R, groups, K], W and Wq [groups, K, O].
        kept: The range to improve.
        scheme: How the tensor is quantized.

    Returns:
        One of `ACTIVATION_FACTORS` times `kept`: the smallest sum over the readers of squared error by squared output.

    Source: Wu et al. 2020, arXiv 2006.16669, section 3.2, the scale of activations: candidates around the range that is
    there, chosen by the layer's output. The measure is the squared error, which a common factor of the output cannot
    hide from as it does from the cosine.
    """
    errors = []
    for factor in ACTIVATION_FACTORS:
        total = 0.0
        for rows, weight, quantized in layers:
            error, signal = activation_error(rows, weight, quantized, kept.scaled(factor), scheme)
            total += error / signal if signal else 0.0
        errors.append(total)
    best = int(np.argmin(errors))
    keep = ACTIVATION_FACTORS.index(1.0)
    return kept if errors[keep] <= errors[best] else kept.scaled(ACTIVATION_FACTORS[best])


def search_weight(weight: Array, scale: Array, gram: Gram) -> Array:
    """The scale of every output under which nearest rounding loses least of it.

    Args:
        weight: W, shape [groups, K, O].
        scale: Scales that cover the whole range, shape [groups, 1, O].
        gram: Moments of the layer's samples.

    Returns:
        Shape [groups, 1, O]: one of `WEIGHT_FACTORS` times `scale`, chosen for each output.

    Source: Wu et al. 2020, arXiv 2006.16669, section 3.2, the scale of weights.
    """
    found, least = scale.copy(), np.full((weight.shape[0], weight.shape[2]), np.inf)
    for factor in reversed(WEIGHT_FACTORS):  # the whole range first: it stays where nothing is better
        tried = factor * scale
        error = gram.error(weight, nearest(weight, tried) * tried)
        better = error < least
        least = np.where(better, error, least)
        found = np.where(better[:, None, :], tried, found)
    return found
