"""Tensors of one scale of which one is a part of another: the range serves both by their own energies."""

from __future__ import annotations

import numpy as np
import pytest

from calibrators import UINT8, Histogram, Method, Range, ScaleGroup, Scheme, dequantize, mse, qparams_of, quantize
from calibrators.choosing import range_of
from calibrators.parts import PARTS, merged_alike
from calibrators.wide import merged

AFFINE = Scheme(UINT8, symmetric=False)


def observed(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.observe(values.astype(np.float32))
    return histogram


def noise(values: np.ndarray, kept: Range) -> float:
    """Noise by signal."""
    qparams = qparams_of(kept, AFFINE)
    stored = dequantize(quantize(values.astype(np.float32), qparams), qparams)
    return float(np.square(stored - values).sum() / np.square(values).sum())


def whole_and_part() -> tuple[np.ndarray, np.ndarray]:
    """Channels of which the last are a hundred times smaller, and these."""
    random = np.random.default_rng(1)
    small = np.abs(random.laplace(0.0, 0.2, 40_000))
    return np.append(np.abs(random.laplace(0.0, 20.0, 40_000)), small), small


def test_the_part_counts_as_much_as_the_whole():
    whole, part = whole_and_part()
    histograms = {"whole": observed(whole), "part": observed(part)}
    group = ScaleGroup(("whole", "part"), ("whole", "part"), judged=PARTS)
    kept = range_of(histograms, group, Method(), AFFINE)
    plain = range_of(histograms, group, Method("mse"), AFFINE)
    assert plain == mse(merged(histograms, group.observed), AFFINE)
    assert noise(part, kept) < noise(part, plain) / 2
    together = [noise(part, some) + noise(whole, some) for some in (kept, plain)]
    assert together[0] < together[1]
    grid = [Range(0.0, float(whole.max()) * 2.0**-by) for by in np.arange(0.0, 6.0, 0.1)]
    assert together[0] < 1.05 * min(noise(part, some) + noise(whole, some) for some in grid)


def test_equal_tensors_and_scaled_ones_give_the_same_range():
    values = np.random.default_rng(2).normal(size=30_000)
    one = mse(observed(values), AFFINE)
    assert mse(merged_alike([observed(values), observed(values)]), AFFINE) == one
    doubled = mse(merged_alike([observed(4 * values), observed(4 * values[:9000])]), AFFINE)
    assert doubled.maximum == pytest.approx(4 * one.maximum, rel=0.1)


def test_zeros_say_nothing_and_many_values_stay_countable():
    zeros, values = observed(np.zeros(5)), observed(np.arange(1.0, 9.0))
    assert merged_alike([zeros]) == zeros
    assert merged_alike([zeros, values]).maximum == 8.0
    tiny = observed(np.full(3, 1e-20))
    together = merged_alike([tiny, values, zeros])
    assert (together.minimum, together.maximum) == (pytest.approx(1e-20), 8.0)
    assert together.count < 1 << 52
