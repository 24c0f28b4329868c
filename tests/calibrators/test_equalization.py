"""Factors of channels: the two ends of the exponent, the limits, and channels that nothing uses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibrators.equalization import channel_factors

SHARES = arrays(np.float64, 6, elements=st.floats(0, 1))


@given(SHARES, SHARES, st.floats(0, 1))
def test_factors_stay_within_their_limits(activations: np.ndarray, weights: np.ndarray, exponent: float):
    factors = channel_factors(activations, weights, exponent)
    assert factors.shape == (6,)
    assert np.all((factors >= 1 / 64) & (factors <= 64))
    assert np.all(factors[(activations == 0) | (weights == 0)] == 1)


def test_an_exponent_of_one_makes_all_channels_as_large_as_the_largest():
    activations = np.array([1.0, 0.5, 0.25, 1 / 64])
    factors = channel_factors(activations, np.array([0.1, 1.0, 0.5, 0.2]), 1.0)
    np.testing.assert_allclose(factors * activations, 1)


def test_an_exponent_of_zero_makes_all_weights_as_large_as_the_largest():
    weights = np.array([1.0, 0.5, 0.25, 1 / 64])
    factors = channel_factors(np.array([0.1, 1.0, 0.5, 0.2]), weights, 0.0)
    np.testing.assert_allclose(weights / factors, 1)


@given(st.floats(0.02, 1), st.floats(0.02, 1))
def test_an_exponent_of_one_half_gives_both_sides_the_same_share(activation: float, weight: float):
    factor = channel_factors(np.array([activation]), np.array([weight]), 0.5)
    np.testing.assert_allclose(activation * factor, weight / factor)


@pytest.mark.parametrize("dead", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_channel_that_is_zero_or_unread_keeps_its_values(dead: tuple[float, float]):
    activation, weight = dead
    assert channel_factors(np.array([activation]), np.array([weight]), 0.5) == 1
