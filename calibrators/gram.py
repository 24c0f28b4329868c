"""What a layer's samples say about its weight, in a size that does not depend on how many there are.

A layer computes Y = X W from float inputs X. Quantized, it computes Xq Wq. With D = X - Xq, the squared error of one
output column is ||X w - Xq wq||^2 = ||Xq (w - wq) + D w||^2, and needs the samples only in H = Xq'Xq, Xq'D and D'D.
Rounding and scales are searched on these (AdaRound, arXiv 2004.10568, equation 11; GPTQ, arXiv 2210.17323, equation 1).

Written with C = Xq'X and A = X'X instead, the error would be a small difference of large numbers, and these moments
would have to be summed in float64 for it. All terms here are of the error's own size, so float32 says them well enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLOCK_ROWS = 1024
"""Rows that are summed in float32, where there are more than these; sums of such blocks are added in float64."""


@dataclass(frozen=True)
class Gram:
    """Second moments of a layer's inputs, one of each a group; sums over the rows, not means.

    Args:
        quantized: H = Xq'Xq, shape [groups, K, K].
        mixed: Xq'D, with the error D = X - Xq of the inputs, shape [groups, K, K].
        difference: D'D, shape [groups, K, K].
        sum_quantized: Column sums of Xq, shape [groups, K].
        sum_reference: Column sums of X, shape [groups, K].
        rows: How many rows were added.
    """

    quantized: Array
    mixed: Array
    difference: Array
    sum_quantized: Array
    sum_reference: Array
    rows: int

    @staticmethod
    def of(reference: NDArray[np.floating], quantized: NDArray[np.floating]) -> Gram:
        """Compute the moments of rows.

        Args:
            reference: Float inputs X, shape [R, groups, K].
            quantized: Inputs Xq of the quantized layer, same shape.
        """
        rows, groups, size = reference.shape
        dtype = np.float64 if rows <= _BLOCK_ROWS else np.float32
        gain = _power_of_two(reference, quantized)
        moments = np.zeros((3, groups, size, size))
        sums = np.zeros((2, groups, size))
        for start in range(0, rows, _BLOCK_ROWS):
            part = np.s_[start : start + _BLOCK_ROWS]
            x, xq = (np.multiply(array[part], gain, dtype=dtype) for array in (reference, quantized))
            sums += np.sum([xq, x], axis=1, dtype=np.float64)
            xq, d = xq.transpose(1, 0, 2), (x - xq).transpose(1, 0, 2)
            turned = xq.transpose(0, 2, 1)
            for number, product in enumerate((turned @ xq, turned @ d, d.transpose(0, 2, 1) @ d)):
                moments[number] += product
        (h, mixed, difference), (sum_quantized, sum_reference) = moments / gain / gain, sums / gain
        return Gram(h, mixed, difference, sum_quantized, sum_reference, rows)

    def __add__(self, other: Gram) -> Gram:
        """The moments of both sets of rows."""
        return Gram(
            self.quantized + other.quantized,
            self.mixed + other.mixed,
            self.difference + other.difference,
            self.sum_quantized + other.sum_quantized,
            self.sum_reference + other.sum_reference,
            self.rows + other.rows,
        )

    def cross(self, weight: Array) -> Array:
        """Xq'X W: how much every quantized input says of the float output.

        Args:
            weight: W, shape [groups, K, O].

        Returns:
            Shape [groups, K, O].
        """
        return np.asarray(self.quantized @ weight + self.mixed @ weight)

    def error(self, weight: Array, quantized: Array) -> Array:
        """Squared error of every output, sums over the rows.

        Args:
            weight: W, shape [groups, K, O].
            quantized: Wq, same shape.

        Returns:
            Shape [groups, O]; never negative.
        """
        return self._squared(weight - quantized, weight)

    def signal(self, weight: Array) -> Array:
        """Squared float output, shape [groups, O]."""
        return self._squared(weight, weight)

    def _squared(self, first: Array, second: Array) -> Array:
        """||Xq first + D second||^2 of every column."""
        found = np.einsum("gko,gko->go", first, self.quantized @ first + 2 * (self.mixed @ second))
        found += np.einsum("gko,gko->go", second, self.difference @ second)
        return np.asarray(np.maximum(found, 0.0))


def _power_of_two(*arrays: NDArray[np.floating]) -> float:
    """What brings the largest value near 1, so that squares neither overflow nor vanish; exact to multiply with."""
    largest = max((float(np.max(np.abs(array), initial=0.0)) for array in arrays), default=0.0)
    return float(np.ldexp(1.0, -int(np.frexp(largest)[1]))) if 0 < largest < np.inf else 1.0
