"""Rank correlation: equal to SciPy's, and what it does with ties and with nothing to rank."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from calibrators.errors import ParameterError
from calibrators.ranks import rank_correlation

numbers = st.integers(-5, 5)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30))
def test_it_is_scipys(pairs: list[tuple[int, int]]):
    one, other = np.array(pairs, float).T
    found = rank_correlation(one, other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)


@given(st.lists(numbers, min_size=2, max_size=30, unique=True))
def test_only_the_order_counts(values: list[int]):
    assert rank_correlation(values, [math.exp(value) for value in values]) == pytest.approx(1.0)
    assert rank_correlation(values, [-value for value in values]) == pytest.approx(-1.0)


def test_one_thing_has_no_order():
    assert rank_correlation([], []) is None
    assert rank_correlation([1.0], [2.0]) is None


@pytest.mark.parametrize(("one", "other"), [([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_what_has_no_rank_is_refused(one: object, other: object):
    with pytest.raises(ParameterError):
        rank_correlation(one, other)
