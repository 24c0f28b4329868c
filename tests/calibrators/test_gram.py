"""Moments of rows: portions add up, and FP32 products tell the errors of INT8 as float64 does."""

from __future__ import annotations

import numpy as np
import pytest

from calibrators.gram import Gram


@pytest.mark.parametrize(("rows", "groups", "inputs"), [(1, 1, 3), (1023, 2, 5), (1024, 1, 9), (5000, 3, 27)])
def test_moments_are_products_of_all_rows(rows: int, groups: int, inputs: int):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, groups, inputs))
    xq = np.round(8 * x) / 8
    found = Gram.of(x, xq)
    assert found.rows == rows
    np.testing.assert_allclose(found.quantized, np.einsum("rgk,rgl->gkl", xq, xq), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.cross, np.einsum("rgk,rgl->gkl", xq, x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.reference, np.einsum("rgk,rgl->gkl", x, x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.sum_quantized, xq.sum(axis=0))
    np.testing.assert_allclose(found.sum_reference, x.sum(axis=0))


def test_fp32_rows_tell_an_error_of_50_decibels_within_a_percent():
    rng = np.random.default_rng(3)
    x = (np.abs(rng.normal(size=(4096, 1, 144))) + 0.5).astype(np.float32)
    step = np.float32(np.abs(x).max() / 127)
    xq = np.round(x / step) * step
    weight = rng.normal(size=(1, 144, 8))
    rounded = np.round(weight * 40) / 40
    exact = Gram.of(x.astype(np.float64), xq.astype(np.float64)).error(weight, rounded)
    assert 10 * np.log10(float(Gram.of(x, xq).signal(weight).sum() / exact.sum())) > 35
    np.testing.assert_allclose(Gram.of(x, xq).error(weight, rounded), exact, rtol=0.01)
