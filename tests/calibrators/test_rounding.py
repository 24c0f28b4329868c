"""Rounding by the output: what moves, what it costs at most, and the published algorithm written out plainly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from calibrators.errors import ParameterError
from calibrators.gram import Gram
from calibrators.qtypes import FP8_E4M3, INT4, INT8, INT16, UINT8, QType
from calibrators.rounding import adaround, gptq, nearest
from tests.calibrators.problems import Problem, plain_error, problem, problems

SLACK = 1 + 1e-9
ATOL = 1e-9


@given(problems())
def test_adaround_takes_the_code_below_or_above_every_weight(layer: Problem):
    codes = adaround(layer.weight, layer.scale, layer.gram)
    values = layer.weight / layer.scale
    assert np.all((codes == np.floor(values)) | (codes == np.ceil(values)))


@given(problems())
def test_adaround_loses_at_most_what_nearest_rounding_loses(layer: Problem):
    codes = adaround(layer.weight, layer.scale, layer.gram)
    assert np.all(layer.error(codes) <= layer.nearest_error * SLACK + ATOL)


@given(problems())
def test_no_single_flip_of_adaround_is_left_that_gains(layer: Problem):
    """Each flip is tried on the rows themselves."""
    codes = adaround(layer.weight, layer.scale, layer.gram)
    best = layer.error(codes)
    values = layer.weight / layer.scale
    for k in range(codes.shape[1]):
        flipped = codes.copy()
        flipped[:, k] = np.floor(values[:, k]) + np.ceil(values[:, k]) - codes[:, k]
        assert np.all(layer.error(flipped) >= best * (1 - 1e-6) - 1e-6)


def test_adaround_flips_one_input_after_the_other():
    """Against a plain version that computes every error anew from the rows."""
    for seed in range(5):
        layer = problem(seed, groups=2)
        codes = nearest(layer.weight, layer.scale)
        values = layer.weight / layer.scale
        for _ in range(8):
            for k in range(codes.shape[1]):
                flipped = codes.copy()
                flipped[:, k] = np.floor(values[:, k]) + np.ceil(values[:, k]) - codes[:, k]
                gains = layer.error(flipped) < layer.error(codes)
                codes = np.where(gains[:, None, :], flipped, codes)
        np.testing.assert_array_equal(adaround(layer.weight, layer.scale, layer.gram), codes)


def test_rounding_gains_much_on_correlated_inputs():
    layer = problem(1, inputs=32, outputs=16, rows=400, amax=4.0)
    for search in (adaround, gptq):
        codes = search(layer.weight, layer.scale, layer.gram)
        assert layer.error(codes).sum() < 0.5 * layer.nearest_error.sum()


def test_codes_end_where_the_type_does():
    layer = replace(problem(2), scale=np.full((1, 1, 3), 1e-3))
    for search in (adaround, gptq):
        codes = search(layer.weight, layer.scale, layer.gram)
        assert codes.min() >= INT8.qmin and codes.max() <= INT8.qmax
        np.testing.assert_array_equal(codes, np.rint(codes))


def plain_gptq(layer: Problem, damping: float = 0.01) -> np.ndarray:
    """Algorithm 1 of arXiv 2210.17323 in the form of its equations 2 and 3: the inverse is computed anew each step."""
    gram = layer.gram
    codes = np.zeros_like(layer.weight)
    for group in range(len(codes)):
        size = codes.shape[1]
        ridge = damping * np.trace(gram.quantized[group]) / size * np.eye(size)
        hessian = gram.quantized[group] + ridge
        weight = np.linalg.inv(hessian) @ ((hessian + gram.mixed[group]) @ layer.weight[group])
        for k in range(size):
            inverse = np.linalg.inv(hessian[k:, k:])
            codes[group, k] = np.clip(np.rint(weight[k] / layer.scale[group, 0]), INT8.qmin, INT8.qmax)
            error = weight[k] - codes[group, k] * layer.scale[group, 0]
            weight[k:] -= np.outer(inverse[:, 0] / inverse[0, 0], error)
    return codes


@pytest.mark.parametrize("seed", range(6))
def test_gptq_is_the_published_algorithm(seed: int):
    layer = problem(seed, groups=1 + seed % 2, inputs=10, outputs=4)
    np.testing.assert_array_equal(gptq(layer.weight, layer.scale, layer.gram), plain_gptq(layer))


def test_gptq_in_blocks_of_inputs_and_of_groups_is_the_published_algorithm(monkeypatch: pytest.MonkeyPatch):
    layer = problem(11, groups=5, inputs=40, outputs=3, rows=200)
    expected = plain_gptq(layer)
    for values in (1, 2 * 40 * 43, 10**6):
        monkeypatch.setattr("calibrators.rounding._GROUP_VALUES", values)
        np.testing.assert_array_equal(gptq(layer.weight, layer.scale, layer.gram), expected, str(values))


def test_gptq_loses_less_than_nearest_rounding_on_correlated_inputs():
    for seed in range(10):
        layer = problem(seed, inputs=16, outputs=8, rows=200, amax=4.0)
        codes = gptq(layer.weight, layer.scale, layer.gram)
        assert layer.error(codes).sum() < layer.nearest_error.sum()


@pytest.mark.parametrize("size", [1, 7])
def test_inputs_that_say_nothing_of_each_other_leave_the_nearest_codes(size: int):
    layer = problem(3, inputs=size)
    rows = 5 * np.eye(size, dtype=np.float32)[:, None, :]
    gram = Gram.of(rows, rows)
    for search in (adaround, gptq):
        np.testing.assert_array_equal(
            search(layer.weight, layer.scale, gram), nearest(layer.weight, layer.scale), search.__name__
        )


@pytest.mark.parametrize("dead", [[0], [3, 4], list(range(8))])
def test_inputs_that_are_always_zero_keep_their_nearest_codes(dead: list[int]):
    layer = problem(4)
    layer.rows[:, :, dead] = 0
    layer.quantized[:, :, dead] = 0
    for search in (adaround, gptq):
        codes = search(layer.weight, layer.scale, layer.gram)
        np.testing.assert_array_equal(codes[:, dead], nearest(layer.weight, layer.scale)[:, dead], search.__name__)


def test_a_range_that_lets_nothing_through_leaves_the_nearest_codes():
    """Xq = 0 while X is not: no code can answer that."""
    layer = problem(5)
    gram = Gram.of(layer.rows, np.zeros_like(layer.rows))
    for search in (adaround, gptq):
        np.testing.assert_array_equal(search(layer.weight, layer.scale, gram), nearest(layer.weight, layer.scale))


def test_tiny_and_huge_inputs_round_as_others_do():
    layer = problem(6)
    for search in (adaround, gptq):
        expected = search(layer.weight, layer.scale, layer.gram)
        for factor in (2.0**-60, 2.0**60):
            gram = Gram.of(factor * layer.rows.astype(np.float64), factor * layer.quantized.astype(np.float64))
            np.testing.assert_array_equal(search(layer.weight, layer.scale, gram), expected, search.__name__)


def test_weights_of_zero_and_a_single_row():
    layer = problem(7, rows=1)
    for search in (adaround, gptq):
        zeros = search(np.zeros_like(layer.weight), layer.scale, layer.gram)
        np.testing.assert_array_equal(zeros, 0)
        codes = search(layer.weight, layer.scale, layer.gram)
        assert layer.error(codes).sum() <= layer.nearest_error.sum() * SLACK


@settings(max_examples=30)
@given(problems())
def test_gptq_gives_finite_codes_for_every_layer(layer: Problem):
    codes = gptq(layer.weight, layer.scale, layer.gram)
    assert np.all(np.isfinite(codes)) and np.all(np.abs(codes) <= 128)


@given(problems())
def test_the_error_of_the_moments_is_that_of_the_rows(layer: Problem):
    other = nearest(layer.weight, layer.scale) * layer.scale
    plain = plain_error(layer.rows, layer.quantized, layer.weight, other)
    np.testing.assert_allclose(layer.gram.error(layer.weight, other), plain, rtol=1e-6, atol=1e-8)
    signal = plain_error(layer.rows, layer.quantized, layer.weight, np.zeros_like(other))
    np.testing.assert_allclose(layer.gram.signal(layer.weight), signal, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("amax", [0.5, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_moments_of_many_rows_know_errors_that_are_small_against_the_output(seed: int, amax: float):
    """Summed in float32 by blocks: what is off is a share of the error, not of the output."""
    layer = problem(seed, groups=2, inputs=24, outputs=4, rows=5000, amax=amax)
    for other, tolerance in ((layer.weight * (1 + 2**-12), 2e-5), (gptq_weight(layer), 2e-5)):
        exact = plain_error(layer.rows, layer.quantized, layer.weight, other)
        np.testing.assert_allclose(layer.gram.error(layer.weight, other), exact, rtol=tolerance)
    signal = plain_error(layer.rows, layer.quantized, layer.weight, np.zeros_like(layer.weight))
    np.testing.assert_allclose(layer.gram.signal(layer.weight), signal, rtol=2e-5)


def gptq_weight(layer: Problem) -> np.ndarray:
    """Fine codes that make up for each other's errors: the hardest sums to tell the error from."""
    fine = layer.scale / 16
    return gptq(layer.weight, fine, layer.gram, INT16) * fine


@given(problems())
def test_moments_of_two_halves_add_up(layer: Problem):
    half = len(layer.rows) // 2
    parts = Gram.of(layer.rows[:half], layer.quantized[:half]) + Gram.of(layer.rows[half:], layer.quantized[half:])
    for name, whole in vars(layer.gram).items():
        np.testing.assert_allclose(getattr(parts, name), whole, rtol=1e-9, atol=1e-9, err_msg=name)


@given(problems())
def test_four_bits_stay_in_their_interval(layer: Problem):
    scale = layer.scale * (127 / 7)
    searched = [search(layer.weight, scale, layer.gram, INT4) for search in (adaround, gptq)]
    for codes in (nearest(layer.weight, scale, INT4), *searched):
        assert np.array_equal(codes, np.clip(np.rint(codes), -8, 7))


@pytest.mark.parametrize("qtype", [UINT8, FP8_E4M3], ids=lambda qtype: qtype.name)
def test_types_without_whole_numbers_around_0_are_refused(qtype: QType):
    layer = problem(0)
    with pytest.raises(ParameterError, match=f"signed integers, found {qtype.name}"):
        nearest(layer.weight, layer.scale, qtype)
    for search in (adaround, gptq):
        with pytest.raises(ParameterError, match="signed integers"):
            search(layer.weight, layer.scale, layer.gram, qtype)
