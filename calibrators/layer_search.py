"""Search ranges by what a layer's output loses, not by what the tensor itself loses (EasyQuant)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from calibrators.gram import Array, Gram
from calibrators.qparams import QParams, dequantize, qparams_of, quantize
from calibrators.ranges import Range
from calibrators.rounding import nearest
from calibrators.scheme import DEFAULT, Scheme

ACTIVATION_FACTORS = tuple(float(factor) for factor in np.linspace(0.5, 1.5, 41))
"""Ranges tried, as multiples of the one to improve; 1.0 is among them."""

WEIGHT_FACTORS = tuple(float(factor) for factor in np.linspace(0.5, 1.0, 26))
"""Ranges tried for weights, as multiples of their largest values: a wider range only makes steps larger."""


Layer = tuple[NDArray[np.float32], Array, Array]
"""A layer that reads the tensor: float rows of its input [R, groups, K], W and Wq [groups, K, O]."""

_STRIDE = 4
"""Every so many of the ranges are tried first, and then those around the best one."""


def _expected(layer: Layer) -> NDArray[np.float32]:
    """The float output of a layer, shape [groups, R, O]."""
    return np.asarray(layer[0].transpose(1, 0, 2) @ layer[1].astype(np.float32))


def _error(
    rows: NDArray[np.float32], quantized: NDArray[np.float32], expected: NDArray[np.float32], qparams: QParams
) -> float:
    rounded = dequantize(quantize(rows, qparams), qparams)
    error = rounded.transpose(1, 0, 2) @ quantized
    error -= expected
    signal = _squared(expected)
    return _squared(error) / signal if signal else 0.0


def _squared(array: NDArray[np.float32]) -> float:
    return float(np.einsum("i,i->", array.reshape(-1), array.reshape(-1), dtype=np.float64))


def search_activation(layers: Sequence[Layer], kept: Range, scheme: Scheme = DEFAULT) -> Range:
    """The range of one tensor under which the layers that read it lose least.

    Args:
        layers: Its readers.
        kept: The range to improve.
        scheme: How the tensor is quantized.

    Returns:
        One of `ACTIVATION_FACTORS` times `kept`: the smallest sum over the readers of squared error by squared output,
        of every fourth factor and then of those around the best of these.

    Source: Wu et al. 2020, arXiv 2006.16669, section 3.2, the scale of activations: candidates around the range that is
    there, chosen by the layer's output. The measure is the squared error, which a common factor of the output cannot
    hide from as it does from the cosine.
    """
    readers = [(layer[0], layer[2].astype(np.float32), _expected(layer)) for layer in layers]
    errors: dict[int, float] = {}

    def least(numbers: Iterable[int]) -> int:
        """The best range of those tried so far and these; the given one among equals, else the smallest."""
        for number in numbers:
            if number not in errors:
                qparams = qparams_of(kept.scaled(ACTIVATION_FACTORS[number]), scheme)
                errors[number] = sum(_error(*reader, qparams) for reader in readers)
        return min(errors, key=lambda number: (errors[number], number != keep, number))

    keep, count = ACTIVATION_FACTORS.index(1.0), len(ACTIVATION_FACTORS)
    best = least([keep, *range(0, count, _STRIDE)])
    best = least(range(max(0, best - _STRIDE + 1), min(count, best + _STRIDE)))
    return kept if best == keep else kept.scaled(ACTIVATION_FACTORS[best])


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
