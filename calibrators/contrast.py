"""Outputs of detectors, and how far their quantized form is from them for what they find, not for what they always say.

A detector gives a few numbers for each of thousands of places. Nearly all places say the same, "nothing here", which is
most of the signal; what is found is how the others differ from it. So noise counts by the variance of the output.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST_PLACES = 16
"""Places for each number a place has, from which on an output is taken for one of places."""

_MOST_NUMBERS = 8
"""Numbers of a place up to which all of them say what is found: of eighty classes, most are in none of the samples."""

_LARGEST_DB = 200.0


def has_places(output: NDArray[np.generic]) -> bool:
    """Say whether an output holds a few numbers for each of many places, as [N, anchors, 4] does.

    Args:
        output: Any shape.
    """
    if output.dtype.kind != "f" or output.ndim != 3:
        return False
    few, many = sorted(output.shape[1:])
    return bool(0 < few <= _MOST_NUMBERS and few * _LEAST_PLACES <= many)


class ContrastNoise:
    """Running noise of an output of places, by the variance of their numbers; memory does not grow with the outputs."""

    def __init__(self) -> None:
        self._count = 0
        self._shift: NDArray[np.float64] = np.zeros(0)
        self._sums: NDArray[np.float64] = np.zeros((3, 0))

    def observe(self, reference: ArrayLike, other: ArrayLike) -> None:
        """Add a pair of outputs of equal shape [N, places, numbers] or [N, numbers, places].

        Another number of numbers than before is left out: it is the length of something else.
        """
        one, two = (_numbers_last(np.asarray(array, np.float64)) for array in (reference, other))
        if not self._count:
            self._shift, self._sums = one[0], np.zeros((3, one.shape[1]))
        if one.shape[1] != self._shift.size:
            return
        moved = one - self._shift  # near what most places say, so that the variance is no small difference
        self._sums += [moved.sum(axis=0), (moved**2).sum(axis=0), ((one - two) ** 2).sum(axis=0)]
        self._count += len(one)

    @property
    def sqnr_db(self) -> float | None:
        """Variance over squared error in dB, the numbers counted alike, at most 200; None without places that differ.

        A number that is the same in all places says nothing, and is left out.
        """
        if not self._count:
            return None
        total, squares, noise = self._sums
        variance = np.maximum(squares - total**2 / self._count, 0.0)
        varies = variance > 0
        if not varies.any() or not np.isfinite(noise).all():
            return None
        ratio = float(np.minimum(noise[varies] / variance[varies], 1.0).mean())
        return round(min(-10 * math.log10(ratio), _LARGEST_DB), 4) if ratio else _LARGEST_DB


def _numbers_last(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of the numbers of one place each."""
    rows = array if array.shape[2] <= array.shape[1] else array.transpose(0, 2, 1)
    return rows.reshape(-1, rows.shape[2])
