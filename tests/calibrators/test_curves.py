"""Ranges of tensors that a function alone reads: what counts is the error of its values."""

from __future__ import annotations

import numpy as np
import pytest

from calibrators import (
    INT8,
    UINT8,
    CalibrationTable,
    Entry,
    Histogram,
    Method,
    NoDataError,
    Provenance,
    Range,
    ScaleGroup,
    Scheme,
    decode_table,
    dequantize,
    encode_table,
    mse,
    qparams_of,
    quantize,
    range_of,
)
from calibrators.methods.curves import CURVES, curve_mse
from calibrators.scale_groups import _JUDGED, Grouping

AFFINE = Scheme(UINT8, symmetric=False)


def observed(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.observe(values.astype(np.float32))
    return histogram


def before_a_swish() -> np.ndarray:
    """What convolutions give: as far below 0.0 as above it."""
    return np.random.default_rng(3).normal(-4.0, 12.0, 200_000)


def behind(curve: str, values: np.ndarray, kept: Range, scheme: Scheme) -> float:
    """Mean squared error of the function's values."""
    qparams = qparams_of(kept, scheme)
    stored = dequantize(quantize(values.astype(np.float32), qparams), qparams).astype(np.float64)
    return float(np.square(CURVES[curve](stored) - CURVES[curve](values)).mean())


@pytest.mark.parametrize("curve", ["swish", "hardswish", "gelu"])
def test_what_lies_below_zero_is_cut_off_where_the_function_is_flat(curve: str) -> None:
    values = before_a_swish()
    histogram = observed(values)
    kept, plain = curve_mse(histogram, curve, AFFINE), mse(histogram, AFFINE)
    assert plain.minimum < -40 < -10 < kept.minimum
    assert kept.maximum > 0.9 * plain.maximum
    assert behind(curve, values, kept, AFFINE) < behind(curve, values, plain, AFFINE) / 2


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("scheme", [AFFINE, Scheme(INT8), Scheme(INT8, symmetric=False)], ids=str)
def test_no_range_of_a_fine_grid_is_much_better(curve: str, scheme: Scheme) -> None:
    values = before_a_swish()[:20_000]
    kept = curve_mse(observed(values), curve, scheme)
    low, high = float(values.min()), float(values.max())
    steps = 2.0 ** -np.arange(0.0, 6.0, 0.2)
    grid = [Range(low * a, high * b) for a in steps for b in steps]
    grid = grid if not scheme.symmetric else [Range.symmetric(-low * a) for a in steps]
    best = min(behind(curve, values, some, scheme) for some in grid)
    assert behind(curve, values, kept, scheme) < 1.05 * best + 1e-12


def test_one_side_and_nothing() -> None:
    kept = curve_mse(observed(np.linspace(0.5, 4.0, 5000)), "swish", AFFINE)
    assert kept.minimum == 0.0 < kept.maximum <= 4.0
    assert curve_mse(observed(np.zeros(9)), "swish", AFFINE) == Range(0.0, 0.0)
    with pytest.raises(NoDataError):
        curve_mse(Histogram(), "swish", AFFINE)


def test_the_group_says_so_and_its_cache_keeps_it() -> None:
    histogram = observed(before_a_swish())
    group = ScaleGroup(("x",), ("x",), judged="swish")
    assert range_of({"x": histogram}, group, Method(), AFFINE) == curve_mse(histogram, "swish", AFFINE)
    assert range_of({"x": histogram}, group, Method("mse"), AFFINE) == mse(histogram, AFFINE)
    entries = {"x": Entry(histogram, ("N", 4))}
    grouping = Grouping(frozenset(), (group,))
    table = CalibrationTable(Provenance(model="m"), entries, groupings=(grouping,))
    assert decode_table(encode_table(table)).groupings == (grouping,)
    assert set(_JUDGED) >= set(CURVES)
