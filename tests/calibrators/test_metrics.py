"""Distances between outputs: against their definitions, and finite whatever comes in."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrators import Comparison, Distances, NoDataError, ParameterError, TopAgreement, sqnr_db
from calibrators.metrics import sqnr_of_ratio

REALS = st.floats(-1e3, 1e3)
PAIRS = arrays.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 40)), elements=REALS)


def compared(*pairs: tuple[object, object]) -> Distances:
    comparison = Comparison()
    for reference, other in pairs:
        comparison.observe(reference, other)  # type: ignore[arg-type]
    return comparison.distances()


@given(PAIRS)
def test_distances_are_their_definitions(pair: np.ndarray) -> None:
    one, two = pair
    got = compared((one, two))
    noise, signal, other = np.sum((one - two) ** 2), np.sum(one**2), np.sum(two**2)
    assert got.mse == pytest.approx(noise / one.size)
    assert got.max_error == np.abs(one - two).max()
    if noise > 0 and signal > 1e-200:
        assert got.sqnr_db == pytest.approx(np.clip(10 * np.log10(signal / noise), -200, 200))
    if signal > 1e-200 and other > 1e-200:
        assert got.cosine == pytest.approx(np.sum(one * two) / np.sqrt(signal) / np.sqrt(other), abs=1e-9)


@given(PAIRS, st.integers(1, 5))
def test_batches_do_not_matter_beyond_rounding(pair: np.ndarray, pieces: int) -> None:
    one, two = pair
    parts = zip(np.array_split(one, pieces), np.array_split(two, pieces), strict=True)
    whole, split = compared((one, two)), compared(*parts)
    assert split.count == whole.count
    assert split.max_error == whole.max_error
    assert split.mse == pytest.approx(whole.mse)


@given(
    arrays.arrays(np.float32, 20, elements=st.floats(width=32)),
    arrays.arrays(np.float32, 20, elements=st.floats(width=32)),
)
def test_every_record_is_valid_json(one: np.ndarray, two: np.ndarray) -> None:
    record = asdict(compared((one, two)))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert -200 <= record["sqnr_db"] <= 200
    assert -1 <= record["cosine"] <= 1


def test_equal_outputs_reach_the_ceiling() -> None:
    assert compared(([1.0, -2.0], [1.0, -2.0])) == Distances(2, 200.0, 0.0, pytest.approx(1.0), 0.0, 0)
    assert compared(([0.0], [0.0])) == Distances(1, 200.0, 0.0, 1.0, 0.0, 0)


def test_noise_on_an_all_zero_reference_is_the_floor() -> None:
    assert compared(([0.0, 0.0], [0.0, 1.0])) == Distances(2, -200.0, 0.5, 0.0, 1.0, 0)


def test_a_known_ratio() -> None:
    assert sqnr_db([10.0], [9.0]) == pytest.approx(20.0)


def test_non_finite_elements_count_unless_they_agree() -> None:
    inf, nan = math.inf, math.nan
    agreeing = compared(([1.0, inf, -inf, nan], [1.0, inf, -inf, nan]))
    assert (agreeing.non_finite, agreeing.sqnr_db) == (0, 200.0)
    differing = compared(([1.0, inf, -inf, 1.0, 2.0], [1.0, -inf, 0.0, nan, 2.5]))
    assert (differing.non_finite, differing.sqnr_db, differing.max_error) == (3, -200.0, 0.5)


def test_huge_values_do_not_overflow_the_record() -> None:
    got = compared(([1e300, -1e300], [-1e300, 1e300]))
    assert math.isfinite(got.mse)
    assert got.sqnr_db == -200.0


def test_integers_and_large_arrays() -> None:
    assert compared((np.array([3, 5]), np.array([3, 4]))).mse == 0.5
    assert compared((np.array([True, False]), np.array([True, True]))).max_error == 1.0
    large = np.ones(600_000, np.float32)
    assert compared((large, large * 2)).mse == 1.0


def test_shapes_must_agree_and_something_must_be_there() -> None:
    with pytest.raises(ParameterError, match=r"\(2,\) and \(3,\)"):
        compared((np.ones(2), np.ones(3)))
    with pytest.raises(NoDataError):
        Comparison().distances()
    with pytest.raises(NoDataError):
        compared((np.ones((0, 3)), np.ones((0, 3))))


def test_top_agreement() -> None:
    agreement = TopAgreement()
    agreement.observe([[0.1, 0.9], [0.8, 0.2]], [[0.4, 0.6], [0.3, 0.7]])
    assert (agreement.count, agreement.agreed, agreement.percent) == (2, 1, 50.0)
    agreement.observe(np.zeros((1, 4, 3, 3)), np.zeros((1, 4, 3, 3)), axis=1)
    assert (agreement.count, agreement.agreed) == (11, 10)


def test_top_agreement_needs_classes() -> None:
    agreement = TopAgreement()
    with pytest.raises(NoDataError):
        _ = agreement.percent
    for one, two in ((np.ones((2, 3)), np.ones((3, 2))), (np.ones((2, 0)), np.ones((2, 0))), (1.0, 1.0)):
        with pytest.raises(ParameterError):
            agreement.observe(one, two)


@pytest.mark.parametrize(
    ("noise", "sqnr"), [(0.01, 20.0), (1.0, 0.0), (0.0, 200.0), (-1e-20, 200.0), (math.inf, -200.0)]
)
def test_sqnr_of_a_ratio(noise, sqnr):
    """Sums of squares taken by moments may end just below zero."""
    assert sqnr_of_ratio(noise) == pytest.approx(sqnr)
