"""Searched ranges never lose more than the one they started from, and find the optimum where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrators import UINT8, Range, Scheme
from calibrators.layer_search import (
    ACTIVATION_FACTORS,
    WEIGHT_FACTORS,
    search_activation,
    search_weight,
)
from calibrators.qparams import dequantize, qparams_of, quantize
from calibrators.rounding import nearest
from calibrators.scheme import DEFAULT
from tests.calibrators.problems import Problem, plain_error, problem, problems


def activation_error(reader: tuple[np.ndarray, np.ndarray, np.ndarray], kept: Range, scheme: Scheme = DEFAULT) -> float:
    """Squared error of a layer's output under one range of its input."""
    rows, weight, quantized = reader
    qparams = qparams_of(kept, scheme)
    return float(plain_error(rows, dequantize(quantize(rows, qparams), qparams), weight, quantized).sum())


@settings(max_examples=40)
@given(problems(), st.floats(0.01, 10.0), st.sampled_from([Scheme(), Scheme(UINT8, symmetric=False)]))
def test_a_searched_range_loses_at_most_what_the_one_before_did(layer: Problem, high: float, scheme: Scheme):
    quantized, kept = nearest(layer.weight, layer.scale) * layer.scale, Range(-0.3, high)
    found = search_activation([(layer.rows, layer.weight, quantized)], kept, scheme)
    errors = [activation_error((layer.rows, layer.weight, quantized), each, scheme) for each in (found, kept)]
    assert errors[0] <= errors[1] * (1 + 1e-4) + 1e-9  # the search adds up in float32
    assert found in [kept.scaled(factor) for factor in ACTIVATION_FACTORS]


def test_a_range_around_an_outlier_that_no_weight_reads_gives_it_up():
    """One input is huge and its weight is zero: the range of the others is the best there is."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (200, 1, 8)).astype(np.float32)
    rows[:, :, 0] = 2.0
    weight = rng.standard_normal((1, 8, 4))
    weight[:, 0] = 0
    assert search_activation([(rows, weight, weight)], Range(-2.0, 2.0)).amax == pytest.approx(1.0, abs=0.06)


def test_a_range_that_cuts_what_is_read_grows():
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (200, 1, 8)).astype(np.float32)
    rows[0, 0, 0] = 1.0
    weight = rng.standard_normal((1, 8, 4))
    assert search_activation([(rows, weight, weight)], Range(-0.8, 0.8)).amax == pytest.approx(1.0, abs=0.03)


def test_few_ranges_are_tried_and_none_near_the_best_one_is_better():
    """Every fourth factor and those around the best of these find what trying all of them finds, on smooth errors."""
    for seed in range(5):
        layer = problem(seed, inputs=12, outputs=6, rows=400)
        reader = (layer.rows, layer.weight, layer.weight)
        kept = Range(-2.0, 2.0)
        errors = [activation_error(reader, kept.scaled(factor)) for factor in ACTIVATION_FACTORS]
        found = activation_error(reader, search_activation([reader], kept))
        assert found <= 1.03 * min(errors)


def test_an_output_of_zeros_keeps_its_range():
    rows = np.ones((5, 1, 3), np.float32)
    weight = np.zeros((1, 3, 2))
    kept = Range(-0.7, 0.7)
    assert search_activation([(rows, weight, weight)], kept) == kept
    assert search_activation([(0 * rows, weight + 1, weight + 1)], kept) == kept


def test_every_reader_of_a_tensor_counts_alike():
    """A layer with large outputs does not outvote one with small outputs."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (200, 1, 4)).astype(np.float32)
    small, large = rng.standard_normal((2, 1, 4, 2))
    one = search_activation([(rows, small, small), (rows, large, large)], Range(-1.3, 1.3))
    other = search_activation([(rows, small, small), (rows, 1024 * large, 1024 * large)], Range(-1.3, 1.3))
    assert one == other


@settings(max_examples=40)
@given(problems())
def test_a_searched_weight_range_loses_at_most_what_the_whole_range_does(layer: Problem):
    scale = layer.scale * (8 / 127)  # the whole range
    found = search_weight(layer.weight, scale, layer.gram)
    assert np.all(np.isclose(found[..., None] / scale[..., None], WEIGHT_FACTORS).any(axis=-1))
    before = plain_error(layer.rows, layer.quantized, layer.weight, nearest(layer.weight, scale) * scale)
    after = plain_error(layer.rows, layer.quantized, layer.weight, nearest(layer.weight, found) * found)
    assert np.all(after <= before * (1 + 1e-6) + 1e-6)


def test_a_weight_that_no_input_reads_gives_up_its_range():
    layer = problem(3, inputs=16)
    layer.weight[:, 0] = 2 * np.abs(layer.weight).max()
    layer.rows[:, :, 0] = layer.quantized[:, :, 0] = 0
    scale = np.abs(layer.weight).max(axis=1, keepdims=True) / 127
    found = search_weight(layer.weight, scale, layer.gram)
    assert np.all(found < scale) and np.any(found < 0.8 * scale)


def test_a_weight_of_zeros_keeps_its_range():
    layer = problem(4)
    ones = np.ones((1, 1, 3))
    np.testing.assert_array_equal(search_weight(np.zeros_like(layer.weight), ones, layer.gram), ones)
