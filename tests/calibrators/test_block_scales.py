"""NVFP4 and MXFP8: blocks whose scales are small floats, held against `ml_dtypes` and the formats' own words."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from calibrators import (
    FP4_E2M1,
    FP8_E4M3,
    Block,
    Dynamic,
    NonFiniteError,
    ParameterError,
    PerTensor,
    QType,
    Range,
    ScaleForm,
    Scheme,
    dequantize,
    dynamic_blocks,
    from_blocks,
    qparams_of,
    quantize,
    sqnr_db,
    tensor_scale,
    weight_ranges,
)
from calibrators.block_scales import BlockScales, block_scales
from calibrators.weight_search import least_error_ranges

FORMATS = [(FP4_E2M1, 16, ScaleForm.E4M3), (FP8_E4M3, 32, ScaleForm.E8M0)]
DTYPES = {"float4e2m1": ml_dtypes.float4_e2m1fn, "float8e4m3fn": ml_dtypes.float8_e4m3fn}
values = arrays(np.float32, (3, 64), elements=st.floats(-(2.0**66), 2.0**66, width=32, allow_subnormal=False))
weights = arrays(np.float32, (64, 3), elements=st.floats(-100, 100, width=32))


def rounded(array: NDArray[np.float32], dtype: type) -> NDArray[np.float32]:
    return np.asarray(array.astype(dtype).astype(np.float32))


def test_powers_of_two_mean_what_ml_dtypes_says() -> None:
    codes = np.arange(255, dtype=np.uint8)
    np.testing.assert_array_equal(BlockScales(codes).values(), codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float32))


@given(arrays(np.float32, 8, elements=st.floats(0, 2.0**120, width=32)))
def test_exponents_are_rounded_up_so_that_nothing_overflows(amax: NDArray[np.float32]) -> None:
    scale = block_scales(amax, FP8_E4M3, ScaleForm.E8M0).values().astype(np.float64)
    assert (amax <= 448 * scale).all()
    smallest = scale == 2.0**-127
    assert (smallest | (amax > 448 * scale / 2)).all()


def test_a_power_of_two_is_kept_where_it_fits_exactly() -> None:
    amax = np.float32([448, np.nextafter(np.float32(448), np.float32(449)), 224, 0])
    assert block_scales(amax, FP8_E4M3, ScaleForm.E8M0).codes.tolist() == [127, 128, 126, 0]


@given(values)
def test_mx_blocks_are_what_the_definition_gives(array: NDArray[np.float32]) -> None:
    codes, scales = dynamic_blocks(array, FP8_E4M3, 32, ScaleForm.E8M0)
    blocks = array.reshape(3, 2, 32)
    with np.errstate(divide="ignore"):
        exponents = np.ceil(np.log2(np.abs(blocks).max(-1).astype(np.float64) / 448))
    scale = np.exp2(np.clip(exponents, -127, 127)).astype(np.float32)
    expected = rounded(blocks / scale[..., None], ml_dtypes.float8_e4m3fn) * scale[..., None]
    np.testing.assert_array_equal(from_blocks(codes, scales, FP8_E4M3, 32), expected.reshape(3, 64))


@given(values)
def test_nvfp4_blocks_are_what_the_definition_gives(array: NDArray[np.float32]) -> None:
    tensor = tensor_scale(float(np.abs(array).max()), FP4_E2M1)
    codes, scales = dynamic_blocks(array, FP4_E2M1, 16, ScaleForm.E4M3, tensor)
    blocks = array.reshape(3, 4, 16)
    eighths = rounded(np.minimum(np.abs(blocks).max(-1) / np.float32(6) / tensor, 448), ml_dtypes.float8_e4m3fn)
    scale = (eighths * tensor)[..., None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        scaled = np.clip(np.where(scale == 0, np.float32(0), blocks / scale), -6, 6)
        expected = rounded(scaled, ml_dtypes.float4_e2m1fn) * scale
    np.testing.assert_array_equal(from_blocks(codes, scales, FP4_E2M1, 16), expected.reshape(3, 64))


@given(values)
def test_a_tensor_that_is_larger_than_it_was_saturates(array: NDArray[np.float32]) -> None:
    tensor = np.float32(0.5)
    codes, scales = dynamic_blocks(array, FP4_E2M1, 16, ScaleForm.E4M3, tensor)
    assert np.abs(from_blocks(codes, scales, FP4_E2M1, 16)).max(initial=0) <= 6 * 448 * 0.5


@pytest.mark.parametrize(("qtype", "size", "form"), FORMATS)
@given(weights)
def test_scales_are_stored_without_loss(qtype: QType, size: int, form: ScaleForm, weight: NDArray[np.float32]) -> None:
    scheme = Scheme(qtype, granularity=Block(0, size), scales=form)
    qparams = qparams_of(weight_ranges(weight, scheme.granularity), scheme)
    stored = qparams.block_scales()
    np.testing.assert_array_equal(stored.values(), qparams.scale)
    assert stored.codes.shape == (64 // size, 3) and stored.codes.dtype == np.uint8
    assert (stored.tensor is None) == (form is ScaleForm.E8M0)


@pytest.mark.parametrize(("qtype", "size", "form"), FORMATS)
def test_weights_round_as_activations_of_the_same_values(qtype: QType, size: int, form: ScaleForm) -> None:
    weight = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    scheme = Scheme(qtype, granularity=Block(0, size), scales=form)
    qparams = qparams_of(weight_ranges(weight, scheme.granularity), scheme)
    codes, scales = dynamic_blocks(np.ascontiguousarray(weight.T), qtype, size, form, qparams.tensor_scale)
    np.testing.assert_array_equal(
        dequantize(quantize(weight, qparams), qparams).T, from_blocks(codes, scales, qtype, size)
    )


def test_a_tensor_of_zeros_stays_zero() -> None:
    for qtype, size, form in FORMATS:
        codes, scales = dynamic_blocks(np.zeros((2, 64), np.float32), qtype, size, form, tensor_scale(0.0, qtype))
        assert not from_blocks(codes, scales, qtype, size).any()
        scheme = Scheme(qtype, granularity=Block(0, size), scales=form)
        weight = np.zeros((64, 2), np.float32)
        qparams = qparams_of(weight_ranges(weight, scheme.granularity), scheme)
        assert not dequantize(quantize(weight, qparams), qparams).any()


def test_a_small_block_beside_a_large_one_keeps_the_smallest_scale() -> None:
    amax = np.float32([[1.0, 1e-9]])
    scales = block_scales(amax, FP4_E2M1, ScaleForm.E4M3)
    assert scales.codes.tolist() == [[0x7E, 1]]


def test_the_search_keeps_more_of_a_weight_than_its_largest_values() -> None:
    weight = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    scheme = Scheme(FP4_E2M1, granularity=Block(0, 16), scales=ScaleForm.E4M3)
    found = [
        qparams_of(ranges, scheme)
        for ranges in (weight_ranges(weight, scheme.granularity), least_error_ranges(weight, scheme))
    ]
    whole, searched = (sqnr_db(weight, dequantize(quantize(weight, qparams), qparams)) for qparams in found)
    assert searched > whole + 0.5


def test_what_has_no_meaning_is_refused() -> None:
    for granularity in (PerTensor(),):
        with pytest.raises(ParameterError, match="blocks of small floats"):
            Scheme(FP4_E2M1, granularity=granularity, scales=ScaleForm.E4M3)
    with pytest.raises(ParameterError, match="blocks of small floats"):
        Scheme(granularity=Block(0, 16), scales=ScaleForm.E8M0)
    with pytest.raises(ParameterError, match="size of a block"):
        Dynamic(0)
    with pytest.raises(ParameterError, match="not known before"):
        qparams_of(Range(-1.0, 1.0), Scheme(FP4_E2M1, granularity=Dynamic(16)))
    with pytest.raises(NonFiniteError, match="NaN or Inf"):
        block_scales(np.float32([np.inf]), FP4_E2M1, ScaleForm.E4M3)
