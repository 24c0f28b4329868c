"""The integer program finds what trying every set finds."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq_cli.tuning.budget import Floor, Pair, cheapest_float, cheapest_types, quietest_float

amounts = st.integers(0, 40).map(lambda number: number / 8)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[float], list[float], float, Floor | None]:
    size = draw(st.integers(0, 8))
    noise, cost, weights = (draw(st.lists(amounts, min_size=size, max_size=size)) for _ in range(3))
    budget = draw(st.integers(0, 100)) / 8
    floor = draw(st.none() | st.builds(Floor, st.just(weights), st.integers(0, 60).map(lambda number: number / 8)))
    return noise, cost, budget, floor


def quantized(values: list[float], left_float: frozenset[int]) -> float:
    return sum(value for position, value in enumerate(values) if position not in left_float)


def every_set(size: int) -> list[frozenset[int]]:
    return [frozenset(i for i, taken in enumerate(bits) if taken) for bits in product((0, 1), repeat=size)]


def allowed(left_float: frozenset[int], noise: list[float], budget: float, floor: Floor | None) -> bool:
    enough = floor is None or quantized(list(floor.weights), left_float) >= floor.least
    return enough and quantized(noise, left_float) <= budget


def total(values: list[float], positions: frozenset[int]) -> float:
    return sum(values[position] for position in positions)


@settings(max_examples=150)
@given(problems())
def test_it_equals_brute_force(problem: tuple[list[float], list[float], float, Floor | None]):
    noise, cost, budget, floor = problem
    found = cheapest_float(noise, cost, budget, floor)
    possible = [some for some in every_set(len(noise)) if allowed(some, noise, budget, floor)]
    if not possible:
        assert found is None
        return
    assert found is not None
    assert allowed(found, noise, budget, floor)
    assert total(cost, found) <= min(total(cost, some) for some in possible) + 1e-9


@settings(max_examples=100)
@given(problems())
def test_the_quietest_set_equals_brute_force(problem: tuple[list[float], list[float], float, Floor | None]):
    noise, _, _, floor = problem
    if floor is None:
        return
    found = quietest_float(noise, floor)
    possible = [some for some in every_set(len(noise)) if allowed(some, noise, float("inf"), floor)]
    if not possible:
        assert found is None
        return
    assert found is not None
    assert quantized(noise, found) == pytest.approx(min(quantized(noise, some) for some in possible))


@pytest.mark.parametrize("factor", [2.0**-40, 1.0, 2.0**40])
def test_the_units_of_noise_and_cost_do_not_matter(factor: float):
    noise, cost = [8.0, 4.0, 2.0, 1.0, 1.0], [5.0, 1.0, 3.0, 2.0, 4.0]
    scaled = [factor * value for value in noise], [value / factor for value in cost]
    assert cheapest_float(noise, cost, 7.0) == cheapest_float(*scaled, 7.0 * factor) == {0, 1}


def test_a_unit_far_above_the_budget_hides_no_other():
    noise = [1e6, 1e-3, 0.6e-3, 0.3e-3]
    assert cheapest_float(noise, [9.0, 1.0, 1.0, 1.0], 0.95e-3) == {0, 1}


@st.composite
def typed_problems(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], float]:
    sizes = draw(st.lists(st.integers(1, 4), max_size=5))
    noise, cost = ([draw(st.lists(amounts, min_size=size, max_size=size)) for size in sizes] for _ in range(2))
    return noise, cost, draw(st.integers(1, 100)) / 8


@given(typed_problems())
@settings(max_examples=60, deadline=None)
def test_the_choice_of_types_is_the_cheapest_of_all_within_the_budget(
    problem: tuple[list[list[float]], list[list[float]], float],
):
    noise, cost, budget = problem

    def total_of(values: list[list[float]], choice: tuple[int, ...]) -> float:
        return sum(row[taken] for row, taken in zip(values, choice, strict=True))

    every = product(*(range(len(row)) for row in noise))
    within = [choice for choice in every if total_of(noise, choice) <= budget]
    found = cheapest_types(noise, cost, budget)
    assert (found is None) == (not within)
    if found is not None:
        assert total_of(noise, found) <= budget * (1 + 1e-6)
        assert total_of(cost, found) == pytest.approx(min(total_of(cost, choice) for choice in within), abs=1e-6)


@st.composite
def paired_problems(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], float, list[Pair]]:
    noise, cost, budget = draw(typed_problems())
    pairs = [
        Pair((first, first + 1), (one, two), draw(st.integers(1, 40)) / 8)
        for first in range(len(noise) - 1)
        for one in range(len(noise[first]))
        for two in range(len(noise[first + 1]))
        if draw(st.booleans())
    ]
    return noise, cost, budget, pairs


@given(paired_problems())
@settings(max_examples=60, deadline=None)
def test_what_neighbours_save_together_counts_where_both_take_the_types(
    problem: tuple[list[list[float]], list[list[float]], float, list[Pair]],
):
    noise, cost, budget, pairs = problem

    def cost_of(choice: tuple[int, ...]) -> float:
        whole = sum(row[taken] for row, taken in zip(cost, choice, strict=True))
        return whole - sum(pair.saving for pair in pairs if tuple(choice[unit] for unit in pair.units) == pair.places)

    every = product(*(range(len(row)) for row in noise))
    within = [one for one in every if sum(row[at] for row, at in zip(noise, one, strict=True)) <= budget]
    found = cheapest_types(noise, cost, budget, pairs)
    assert (found is None) == (not within)
    if found is not None:
        assert cost_of(found) == pytest.approx(min(map(cost_of, within)), abs=1e-6)


def test_a_stretch_changes_together_where_no_operator_of_it_would_pay_alone():
    noise, cost = [[4.0, 0.5]] * 4, [[0.0, 2.0], [0.0, 2.5], [0.0, 2.5], [0.0, 1.9]]
    assert cheapest_types(noise, cost, 9.0) == (1, 0, 0, 1)
    pair = Pair((1, 2), (1, 1), 2.0)  # two Q and DQ fewer, which each of both pays for alone
    assert cheapest_types(noise, cost, 9.0, [pair]) == (0, 1, 1, 0)
