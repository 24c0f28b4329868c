"""Linear and integer programs: against trying everything, and small ones done by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq_cli.solving.programs import Sums, cheapest_amounts

SMALL = st.integers(-4, 4)
MATRICES = st.tuples(st.integers(1, 4), st.integers(0, 3)).flatmap(
    lambda shape: st.tuples(
        st.lists(SMALL, min_size=shape[0], max_size=shape[0]),
        st.lists(st.lists(SMALL, min_size=shape[0], max_size=shape[0]), min_size=shape[1], max_size=shape[1]),
        st.lists(SMALL, min_size=shape[1], max_size=shape[1]),
    )
)


@settings(max_examples=150)
@given(MATRICES)
def test_whole_amounts_are_those_of_trying_all(problem: tuple[list[int], list[list[int]], list[int]]):
    cost, rows, most = problem
    bounds = np.full(len(cost), 2.0)
    matrix = np.array(rows, np.float64).reshape(len(rows), len(cost))
    sums = Sums.of_matrix(matrix, np.full(len(rows), -np.inf), np.array(most, np.float64))
    found = cheapest_amounts(np.array(cost, np.float64), bounds, sums, whole=True)
    every = [np.array(some) for some in itertools.product((0, 1, 2), repeat=len(cost))]
    allowed = [some for some in every if (matrix @ some <= np.array(most)).all()]
    if not allowed:
        assert found is None
        return
    assert found is not None
    assert (matrix @ np.rint(found) <= np.array(most) + 1e-9).all()
    assert np.dot(cost, np.rint(found)) == min(np.dot(cost, some) for some in allowed)


def test_parts_where_amounts_need_not_be_whole():
    """The cheapest way to 3 of two goods with 2 of each: 2 of the first, 1.5 of one that counts for two thirds."""
    sums = Sums.of_matrix([[1.0, 2 / 3]], [3.0], [np.inf])
    found = cheapest_amounts(np.array([1.0, 1.0]), np.array([2.0, 2.0]), sums)
    assert found == pytest.approx([2.0, 1.5])


def test_rows_in_any_order_are_the_same_program():
    sums = Sums(
        np.array([1, 0, 1]), np.array([0, 0, 1]), np.array([1.0, 1.0, 1.0]), np.array([1.0, 3.0]), np.full(2, 9.0)
    )
    assert cheapest_amounts(np.array([2.0, 1.0]), np.array([5.0, 5.0]), sums) == pytest.approx([1.0, 2.0])
    assert sums.starts().tolist() == [0, 1, 3]


def test_it_prints_nothing(capfd: pytest.CaptureFixture[str]):
    cheapest_amounts(np.ones(3), np.ones(3), Sums.of_matrix(np.eye(3), np.ones(3), np.ones(3)), whole=True)
    assert capfd.readouterr() == ("", "")
