"""Ranges of tensors that a function alone reads: the squared error counts behind it, not before.

A kernel that writes codes rounds what a Swish, say, reads. All that lies far below 0.0 becomes nearly 0.0 behind that,
so a range that keeps it spends codes on nothing: the error that counts is that of the function's values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from calibrators.cells import CENTER
from calibrators.histogram import Histogram
from calibrators.methods.minmax import require_data
from calibrators.qparams import dequantize, qparams_of, quantize
from calibrators.ranges import Range
from calibrators.scheme import Scheme

Values = NDArray[np.float64]

_EXP_END = 700.0
"""exp(-x) overflows beyond."""


def _sigmoid(x: Values) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -_EXP_END, _EXP_END))))


def _swish(x: Values) -> Values:
    return x * _sigmoid(x)


def _gelu(x: Values) -> Values:
    return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))


def _hard_sigmoid(x: Values) -> Values:
    return np.asarray(np.clip(x / 5.0 + 0.5, 0.0, 1.0))


def _hard_swish(x: Values) -> Values:
    return np.asarray(x * np.clip(x / 6.0 + 0.5, 0.0, 1.0))


CURVES: Mapping[str, Callable[[Values], Values]] = MappingProxyType(
    {
        "sigmoid": _sigmoid,
        "swish": _swish,
        "hardsigmoid": _hard_sigmoid,
        "hardswish": _hard_swish,
        "gelu": _gelu,
        "tanh": np.tanh,
    }
)
"""Functions that are flat over a part of what they read, by name.

Source: ONNX Sigmoid, HardSwish, Gelu (approximate="tanh"), Tanh, HardSigmoid with its default alpha; Swish is
x * Sigmoid(x).
"""

_COARSE = 0.5
_ROUNDS = 3
"""Ends are tried half an octave apart, and around the best three times at half the distance."""

_OCTAVES = 6


def curve_mse(histogram: Histogram, curve: str, scheme: Scheme) -> Range:
    """Choose the range with the smallest sum of count * (f(x) - f(Q(x)))**2.

    Args:
        histogram: Counts of one tensor, in the tensor's own units; its bins count by their middles.
        curve: Name of f, of `CURVES`.
        scheme: Its type and symmetry are read.

    Returns:
        No end lies beyond the observed ones; affine ends are 0.0 or up to six octaves nearer to it.

    Raises:
        NoDataError: Nothing was observed.
    """
    require_data(histogram)
    tried = _Trial(histogram, CURVES[curve], scheme)
    grid = np.arange(0.0, _OCTAVES + _COARSE, _COARSE)
    ends = [(float(low), float(high)) for low in grid for high in (grid if not scheme.symmetric else (low,))]
    best = min(ends, key=tried.error)
    step = _COARSE
    for _ in range(_ROUNDS):
        step /= 2.0
        shifts = (0.0, -step, step)
        around = [(best[0] + low, best[1] + high) for low in shifts for high in shifts]
        best = min((pair for pair in around if min(pair) >= 0.0), key=tried.error)
    return tried.range_of(best)


class _Trial:
    """A histogram, and what ranges do to a function of its values."""

    def __init__(self, histogram: Histogram, curve: Callable[[Values], Values], scheme: Scheme) -> None:
        occupied = np.flatnonzero(histogram.counts)
        side = np.sign(occupied - CENTER)
        middles = (occupied - CENTER + 0.5 * side) * histogram.bin_width
        self._values = np.clip(middles, histogram.minimum, histogram.maximum).astype(np.float32)
        self._counts = histogram.counts[occupied].astype(np.float64)
        self._curve = curve
        self._expected = curve(self._values.astype(np.float64))
        self._scheme = scheme
        self._ends = (min(histogram.minimum, 0.0), max(histogram.maximum, 0.0))
        self._known: dict[Range, float] = {}

    def range_of(self, octaves: tuple[float, float]) -> Range:
        """The range whose ends lie so many octaves nearer to 0.0 than those of the data."""
        low, high = (end * 2.0**-by for end, by in zip(self._ends, octaves, strict=True))
        return Range.symmetric(max(-low, high)) if self._scheme.symmetric else Range(low, high)

    def error(self, octaves: tuple[float, float]) -> float:
        kept = self.range_of(octaves)
        if kept not in self._known:
            qparams = qparams_of(kept, self._scheme)
            stored = dequantize(quantize(self._values, qparams), qparams).astype(np.float64)
            self._known[kept] = float(np.dot(self._counts, np.square(self._curve(stored) - self._expected)))
        return self._known[kept]
