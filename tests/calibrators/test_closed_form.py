"""Scales and biases in closed form are what least squares and plain means give."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from calibrators.closed_form import fit_scale, mean_error
from calibrators.rounding import nearest
from tests.calibrators.problems import Problem, problem, problems


def test_the_scale_is_that_of_least_squares():
    layer = problem(1, groups=2)
    codes = nearest(layer.weight, layer.scale)
    found = fit_scale(layer.weight, codes, layer.gram)
    assert found.shape == (2, 1, 3)
    for group in range(2):
        for output in range(3):
            answers = layer.quantized[:, group].astype(np.float64) @ codes[group, :, output]
            wanted = layer.rows[:, group].astype(np.float64) @ layer.weight[group, :, output]
            solution = np.linalg.lstsq(answers[:, None], wanted, rcond=None)[0]
            np.testing.assert_allclose(found[group, 0, output], solution[0], rtol=1e-9)


@given(problems())
def test_the_fitted_scale_loses_at_most_what_any_other_does(layer: Problem):
    codes = nearest(layer.weight, layer.scale)
    found = fit_scale(layer.weight, codes, layer.gram)
    fitted = layer.gram.error(layer.weight, codes * found)
    assert np.all(fitted <= layer.gram.error(layer.weight, codes * layer.scale) * (1 + 1e-9) + 1e-9)


def test_codes_of_zero_have_no_scale():
    layer = problem(2)
    np.testing.assert_array_equal(fit_scale(layer.weight, np.zeros_like(layer.weight), layer.gram), 0)


@given(problems())
def test_a_bias_that_makes_up_for_the_mean_error_leaves_none(layer: Problem):
    quantized = nearest(layer.weight, layer.scale) * layer.scale
    bias = mean_error(layer.weight, quantized, layer.gram)
    for group in range(len(bias)):
        expected = layer.rows[:, group].astype(np.float64) @ layer.weight[group]
        found = layer.quantized[:, group].astype(np.float64) @ quantized[group] + bias[group]
        np.testing.assert_allclose((found - expected).mean(axis=0), 0, atol=1e-9)
