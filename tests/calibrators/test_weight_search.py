"""Ranges of blocks by least error, and GPTQ in blocks: laws, and that they gain what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrators import (
    INT4,
    Block,
    NonFiniteError,
    ParameterError,
    PerChannel,
    Scheme,
    dequantize,
    qparams_of,
    quantize,
    weight_ranges,
)
from calibrators.block_rounding import gptq_in_blocks
from calibrators.weight_search import least_error_ranges

seeds = st.integers(0, 2**32 - 1)
symmetric = st.booleans()


def weight_of(seed: int, inputs: int = 40, outputs: int = 12) -> np.ndarray:
    return (np.random.default_rng(seed).standard_t(4, size=(inputs, outputs)) * 0.1).astype(np.float32)


def left(weight: np.ndarray, kept, scheme: Scheme) -> np.ndarray:
    """Squared error of every block."""
    qparams = qparams_of(kept, scheme)
    error = np.square(dequantize(quantize(weight, qparams), qparams) - weight, dtype=np.float64)
    granularity = scheme.granularity
    return np.add.reduceat(error, np.arange(0, weight.shape[granularity.axis], granularity.size), granularity.axis)


@given(seeds, symmetric, st.sampled_from([0, 1]), st.sampled_from([7, 16, 64]))
def test_no_block_is_worse_off_than_with_its_whole_range(seed: int, even: bool, axis: int, size: int):
    scheme, weight = Scheme(INT4, even, Block(axis, size)), weight_of(seed)
    searched = left(weight, least_error_ranges(weight, scheme), scheme)
    whole = left(weight, weight_ranges(weight, scheme.granularity), scheme)
    assert (searched <= whole * (1 + 1e-5)).all()


@given(seeds, symmetric)
def test_a_block_does_not_depend_on_its_neighbours_or_on_the_axis(seed: int, even: bool):
    weight = weight_of(seed)
    kept = least_error_ranges(weight, Scheme(INT4, even, Block(0, 16)))
    alone = least_error_ranges(weight[16:32, 3:5], Scheme(INT4, even, Block(0, 16)))
    np.testing.assert_array_equal(kept.maxima[1:2, 3:5], alone.maxima)
    turned = least_error_ranges(np.ascontiguousarray(weight.T), Scheme(INT4, even, Block(1, 16)))
    np.testing.assert_array_equal(turned.minima.T, kept.minima)


def test_heavy_tails_are_cut_off():
    scheme, weight = Scheme(INT4, granularity=Block(0, 64)), weight_of(1, 64, 32)
    gain = left(weight, weight_ranges(weight, scheme.granularity), scheme).sum()
    assert left(weight, least_error_ranges(weight, scheme), scheme).sum() < 0.9 * gain


@pytest.mark.parametrize("search", [least_error_ranges, lambda w, s: gptq_in_blocks(w, np.eye(len(w)), s)])
def test_what_has_no_blocks_and_what_is_not_finite_is_refused(search):
    with pytest.raises(ParameterError, match="locks"):
        search(weight_of(1), Scheme(INT4, granularity=PerChannel(0)))
    spoiled = weight_of(1)
    spoiled[3, 3] = np.nan
    with pytest.raises(NonFiniteError):
        search(spoiled, Scheme(INT4, granularity=Block(0, 8)))


def related(seed: int, inputs: int) -> np.ndarray:
    """Rows whose inputs have to do with each other."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2048, inputs)) @ (np.eye(inputs) + 0.3 * rng.normal(size=(inputs, inputs)))


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("size", [16, 24, 64])
def test_rounding_in_blocks_keeps_the_product_and_says_its_ranges(even: bool, size: int):
    scheme, weight = Scheme(INT4, even, Block(0, size)), weight_of(2, 64, 48).astype(np.float64)
    rows, new = related(1, 64)[:1536], related(1, 64)[1536:]
    rounded, kept = gptq_in_blocks(weight, rows.T @ rows, scheme)
    qparams = qparams_of(kept, scheme)
    np.testing.assert_array_equal(dequantize(quantize(rounded, qparams), qparams), rounded)
    plain = qparams_of(least_error_ranges(weight.astype(np.float32), scheme), scheme)
    nearest = dequantize(quantize(weight.astype(np.float32), plain), plain)
    error = np.square(new @ (weight - rounded)).sum()
    assert error < 0.7 * np.square(new @ (weight - nearest)).sum()


@given(seeds, symmetric)
def test_without_relations_rounding_is_to_the_nearest(seed: int, even: bool):
    scheme, weight = Scheme(INT4, even, Block(0, 16)), weight_of(seed)
    rounded, kept = gptq_in_blocks(weight.astype(np.float64), np.eye(len(weight)), scheme)
    qparams = qparams_of(kept, scheme)
    np.testing.assert_array_equal(rounded, dequantize(quantize(weight, qparams), qparams))


def test_inputs_that_are_always_zero_do_no_harm():
    scheme, weight = Scheme(INT4, granularity=Block(0, 16)), weight_of(3).astype(np.float64)
    rounded, _ = gptq_in_blocks(weight, np.zeros((40, 40)), scheme)
    assert np.isfinite(rounded).all()
