"""Random layers for laws of rounding: rows of correlated inputs, a weight, its scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from calibrators.gram import Array, Gram
from calibrators.qparams import dequantize, quantize, symmetric_qparams
from calibrators.rounding import nearest


@dataclass(frozen=True)
class Problem:
    """Rows X and Xq [R, groups, K], weight W [groups, K, O], scale [groups, 1, O]."""

    rows: np.ndarray
    quantized: np.ndarray
    weight: Array
    scale: Array

    @property
    def gram(self) -> Gram:
        return Gram.of(self.rows, self.quantized)

    def error(self, codes: Array) -> Array:
        """||X w - Xq (s codes)||^2 of every output, from the rows: shape [groups, O]."""
        return plain_error(self.rows, self.quantized, self.weight, codes * self.scale)

    @property
    def nearest_error(self) -> Array:
        return self.error(nearest(self.weight, self.scale))


def plain_error(rows: np.ndarray, quantized: np.ndarray, weight: Array, other: Array) -> Array:
    found = np.zeros((weight.shape[0], weight.shape[2]))
    for group in range(weight.shape[0]):
        difference = rows[:, group].astype(np.float64) @ weight[group]
        difference -= quantized[:, group].astype(np.float64) @ other[group]
        found[group] = (difference**2).sum(axis=0)
    return found


def problem(seed: int, *, groups: int = 1, inputs: int = 8, outputs: int = 3, rows: int = 40, amax: float = 2.0):
    """A layer whose inputs share a common part, as the elements of a patch do; INT8 on both sides of it.

    Weights are coarse against their scale, about 8 codes on each side, so that rounding matters.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, groups, 1))
    x = (0.3 * rng.standard_normal((rows, groups, inputs)) + common).astype(np.float32)
    qparams = symmetric_qparams(np.float32(amax))
    weight = rng.standard_normal((groups, inputs, outputs))
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-3) / 8
    return Problem(x, dequantize(quantize(x, qparams), qparams), weight, scale)


def problems() -> st.SearchStrategy[Problem]:
    return st.builds(
        problem,
        st.integers(0, 2**16),
        groups=st.integers(1, 3),
        inputs=st.integers(1, 12),
        outputs=st.integers(1, 4),
        rows=st.integers(1, 50),
        amax=st.sampled_from([0.0, 0.5, 2.0, 8.0]),
    )
