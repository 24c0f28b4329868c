"""The search on invented networks whose noises add up exactly, nearly, or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq_cli.tuning.budget import cheapest_float
from qdq_cli.tuning.search import MAX_MEASUREMENTS, Problem, search


@dataclass(frozen=True)
class Verdict:
    met: bool
    excess_db: float | None


@dataclass
class Network:
    """Operators with a true noise and an estimated one; `blind` verdicts say met or not, and nothing of how far."""

    true: tuple[float, ...]
    allowed: float
    blind: bool = False
    factor: float = 1.0
    asked: int = 0

    def measure(self, left_float: frozenset[int]) -> Verdict:
        self.asked += 1
        noise = sum(value for number, value in enumerate(self.true) if number not in left_float)
        excess = 10 * math.log10(noise / self.allowed) if noise > 0 and not self.blind else None
        return Verdict(noise <= self.allowed * (1 + 1e-12), excess)

    def problem(self, cost: tuple[float, ...]) -> Problem[Verdict]:
        estimate = tuple(self.factor * value for value in self.true)
        return Problem(estimate, cost, partial(cheapest_float, estimate, cost), self.measure)


def cost_of(left_float: frozenset[int], cost: tuple[float, ...]) -> float:
    return sum(cost[number] for number in left_float)


def best_cost(network: Network, cost: tuple[float, ...]) -> float:
    every = (frozenset(some) for size in range(len(cost) + 1) for some in combinations(range(len(cost)), size))
    return min(cost_of(some, cost) for some in every if network.measure(some).met)


amounts = st.integers(1, 1000).map(float)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(amounts, amounts), min_size=2, max_size=8),
    st.floats(0.05, 0.95),
    st.floats(0.3, 3.0),
    st.booleans(),
)
def test_what_it_finds_meets_the_target_with_few_measurements(
    operators: list[tuple[float, float]], share: float, factor: float, blind: bool
):
    true, cost = (tuple(values) for values in zip(*operators, strict=True))
    network = Network(true, share * sum(true), blind, factor)
    measured = search(network.problem(cost))
    assert network.asked == len(measured) <= MAX_MEASUREMENTS
    met = [some for some, verdict in measured.items() if verdict.met]
    possible = best_cost(network, cost) < sum(cost)
    assert bool(met) or not possible or blind


@settings(max_examples=60)
@given(st.lists(st.tuples(amounts, amounts), min_size=2, max_size=8), st.floats(0.05, 0.95))
def test_noises_that_add_up_give_the_cheapest_set_at_once(operators: list[tuple[float, float]], share: float):
    true, cost = (tuple(values) for values in zip(*operators, strict=True))
    network = Network(true, share * sum(true))
    measured = search(network.problem(cost))
    met = [cost_of(some, cost) for some, verdict in measured.items() if verdict.met and len(some) < len(cost)]
    best = best_cost(network, cost)
    if best < sum(cost):
        assert min(met) == pytest.approx(best)


def test_everything_in_int8_is_tried_first_and_is_enough():
    network = Network((1.0, 2.0), allowed=3.0)
    assert list(search(network.problem((1.0, 1.0)))) == [frozenset()]


def test_an_impossible_target_ends():
    network = Network((1.0, 2.0, 4.0), allowed=1e-9)
    measured = search(network.problem((1.0, 1.0, 1.0)))
    assert not any(verdict.met for verdict in measured.values())
    assert len(measured) <= MAX_MEASUREMENTS


def test_an_operator_that_is_float_for_nothing_returns():
    """The estimate takes operator 0 for noisy, which it is not."""

    def measure(left_float: frozenset[int]) -> Verdict:
        return Verdict(1 in left_float, None)

    noise, cost = (10.0, 5.0, 1.0), (5.0, 5.0, 1.0)
    measured = search(Problem(noise, cost, partial(cheapest_float, noise, cost), measure))
    assert measured[frozenset({1})].met
