"""What a layer's samples say about its weight, in a size that does not depend on how many there are.

A layer computes Y = X W from float inputs X. Quantized, it computes Xq Wq. The squared error of one output column,
||X w - Xq wq||^2 = wq' H wq - 2 wq' C w + w' A w, needs the samples only in H = Xq'Xq, C = Xq'X and A = X'X. Rounding
and scales are searched on these (AdaRound, arXiv 2004.10568, equation 11; GPTQ, arXiv 2210.17323, equation 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gram:
    """Second moments of a layer's inputs, one of each a group; sums over the rows, not means.

    Args:
        quantized: H = Xq'Xq, shape [groups, K, K].
        cross: C = Xq'X, shape [groups, K, K].
        reference: A = X'X, shape [groups, K, K].
        sum_quantized: Column sums of Xq, shape [groups, K].
        sum_reference: Column sums of X, shape [groups, K].
        rows: How many rows were added.
    """

    quantized: Array
    cross: Array
    reference: Array
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
        x = reference.transpose(1, 0, 2).astype(np.float64)
        xq = quantized.transpose(1, 0, 2).astype(np.float64)
        turned = xq.transpose(0, 2, 1)
        return Gram(
            turned @ xq, turned @ x, x.transpose(0, 2, 1) @ x, xq.sum(axis=1), x.sum(axis=1), reference.shape[0]
        )

    def __add__(self, other: Gram) -> Gram:
        """The moments of both sets of rows."""
        return Gram(
            self.quantized + other.quantized,
            self.cross + other.cross,
            self.reference + other.reference,
            self.sum_quantized + other.sum_quantized,
            self.sum_reference + other.sum_reference,
            self.rows + other.rows,
        )

    def error(self, weight: Array, quantized: Array) -> Array:
        """Squared error of every output, sums over the rows.

        Args:
            weight: W, shape [groups, K, O].
            quantized: Wq, same shape.

        Returns:
            Shape [groups, O]; never negative.
        """
        found = np.einsum("gko,gko->go", quantized, self.quantized @ quantized - 2 * (self.cross @ weight))
        found += np.einsum("gko,gko->go", weight, self.reference @ weight)
        return np.asarray(np.maximum(found, 0.0))

    def signal(self, weight: Array) -> Array:
        """Squared float output, shape [groups, O]."""
        return np.asarray(np.maximum(np.einsum("gko,gko->go", weight, self.reference @ weight), 0.0))
