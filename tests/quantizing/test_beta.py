"""The quantile of the beta distribution: equal to SciPy's, and closed forms."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import betainc, betaincinv

from qdq_cli.quantizing.beta import beta_quantile, beta_share

PARAMETERS = st.integers(1, 1_000_000)


@given(PARAMETERS, PARAMETERS, st.sampled_from([0.025, 0.5, 0.975]))
@example(1, 1_000_000, 0.025)
@example(1_000_000, 1, 0.975)
@example(592_110, 767_235, 0.5)
def test_it_is_scipys(first: int, second: int, probability: float):
    """Within 6e-13 of the newest release; the oldest, 1.11, is exact to about 1e-11 itself."""
    assert beta_quantile(first, second, probability) == pytest.approx(betaincinv(first, second, probability), abs=1e-9)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0, 1))
def test_the_share_below_is_scipys(first: int, second: int, x: float):
    assert beta_share(first, second, x) == pytest.approx(betainc(first, second, x), abs=1e-10)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_with_one_parameter_of_one_it_is_a_root(rows: int):
    assert beta_quantile(rows, 1, 0.025) == pytest.approx(0.025 ** (1 / rows), rel=1e-12)
    assert beta_quantile(1, rows, 0.025) == pytest.approx(1 - 0.975 ** (1 / rows), rel=1e-11)
