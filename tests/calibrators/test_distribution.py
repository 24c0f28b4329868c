"""Shares outside a range, distances and profiles of histograms, against the values themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrators import Histogram, NoDataError, ParameterError, distance, profile, share_outside


def counted(values: object) -> Histogram:
    histogram = Histogram()
    histogram.observe(np.asarray(values, np.float32))
    return histogram


NORMAL = np.random.default_rng(3).normal(size=40_000).astype(np.float32)
VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60)


@pytest.mark.parametrize("amax", [0.0, 0.1, 0.5, 1.0, 2.0, 3.9])
def test_share_outside_is_that_of_the_values(amax: float) -> None:
    assert share_outside(counted(NORMAL), amax) == pytest.approx((np.abs(NORMAL) > amax).mean(), abs=1e-3)


@given(VALUES)
def test_nothing_lies_outside_of_the_largest_magnitude(values: list[float]) -> None:
    histogram = counted(values)
    assert share_outside(histogram, histogram.amax) == 0.0
    assert 0.0 <= share_outside(histogram, histogram.amax / 3) <= 1.0


def test_a_shift_is_measured_in_units_of_the_values() -> None:
    for shift in (0.05, 0.3, 1.0):
        expected = shift / np.sqrt((np.mean(NORMAL**2) + np.mean((NORMAL + shift) ** 2)) / 2)
        assert distance(counted(NORMAL), counted(NORMAL + np.float32(shift))) == pytest.approx(expected, rel=0.01)


def test_a_scaling_is_measured() -> None:
    expected = 0.2 * np.abs(NORMAL).mean() / np.sqrt((1 + 1.44) / 2 * np.mean(NORMAL**2))
    assert distance(counted(NORMAL), counted(NORMAL * np.float32(1.2))) == pytest.approx(expected, rel=0.01)


@given(VALUES, VALUES, st.integers(-8, 8))
def test_distance_is_symmetric_and_free_of_units(one: list[float], other: list[float], exponent: int) -> None:
    first, second = counted(one), counted(other)
    expected = distance(first, second)
    assert 0.0 <= expected < 2.1
    assert distance(second, first) == pytest.approx(expected)
    assert distance(first, first) == 0.0
    factor = np.float32(2.0**exponent)
    scaled = [np.float32(values) * factor for values in (one, other)]
    if all((values[np.nonzero(values)] > 1e-30).all() for values in map(np.abs, scaled)):
        assert distance(*map(counted, scaled)) == pytest.approx(expected)


def test_observing_everything_twice_moves_nothing() -> None:
    once, twice = counted(NORMAL), counted(np.concatenate([NORMAL, NORMAL]))
    assert distance(once, twice) == 0.0


def test_tensors_of_zeros_have_not_moved() -> None:
    assert distance(counted([0.0]), counted([0.0, 0.0])) == 0.0


@given(VALUES, st.integers(1, 40))
def test_a_profile_counts_every_value(values: list[float], cells: int) -> None:
    histogram = counted(values)
    counts = profile(histogram, cells)
    assert counts.shape == (cells,)
    assert counts.sum() == pytest.approx(histogram.count)
    assert (counts >= 0).all()


def test_a_profile_follows_the_values() -> None:
    expected, _ = np.histogram(NORMAL, 10)
    assert profile(counted(NORMAL), 10) == pytest.approx(expected, abs=40)


def test_profiles_without_an_extent() -> None:
    assert profile(Histogram(), 3).tolist() == [0, 0, 0]
    assert profile(counted([2.5, 2.5]), 3).tolist() == [2, 0, 0]


def test_what_has_no_answer_is_refused() -> None:
    full, empty = counted([1.0]), Histogram()
    for question in (
        lambda: share_outside(empty, 1.0),
        lambda: distance(full, empty),
        lambda: distance(empty, full),
    ):
        with pytest.raises(NoDataError, match="no value"):
            question()
    with pytest.raises(ParameterError, match="-1"):
        share_outside(full, -1.0)
    with pytest.raises(ParameterError, match="0 cells"):
        profile(full, 0)
