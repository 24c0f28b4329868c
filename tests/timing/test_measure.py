"""Timing by a clock of the test's own: what is counted, how often, and how sure the median is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.timing.measure import Effort, interleaved, median_of, timing_of
from tests.listeners import Ear


@dataclass
class Watch:
    """A clock that goes on only while something runs."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, seconds: Callable[[], float]) -> Callable[[], object]:
        def run() -> object:
            self.ran.append(name)
            self.now += seconds()
            return None

        return run


def test_rounds_hold_the_time_of_each_and_nothing_else():
    watch = Watch()
    rounds = interleaved((watch.run("a", lambda: 0.5), watch.run("b", lambda: 0.25)), Effort(20.0), watch)
    assert rounds == [(0.5, 0.25)] * 27


def test_progress_is_told_round_by_round():
    watch, ear = Watch(), Ear()
    interleaved((watch.run("a", lambda: 1.0), watch.run("b", lambda: 1.0)), Effort(1.0, least=7), watch, ear)
    assert ear.stages == [("timing", 7)]
    assert ear.progress_told == [(done, 7) for done in range(1, 8)]


def test_both_run_in_turn_and_change_places():
    watch = Watch()
    interleaved((watch.run("a", lambda: 1.0), watch.run("b", lambda: 1.0)), Effort(1.0, least=7), watch)
    pilot, measured = watch.ran[:4], watch.ran[4:]
    assert pilot == ["a", "a", "b", "b"]
    assert measured == ["a", "b", "b", "a"] * 3 + ["a", "b"]


def test_short_runs_have_one_in_front_of_them_that_is_not_counted():
    watch = Watch()
    cold = [0.004, 0.001]
    a = watch.run("a", lambda: cold[sum(name == "a" for name in watch.ran) % 2 == 0])
    rounds = interleaved((a, watch.run("b", lambda: 0.002)), Effort(0.1, least=9), watch)
    assert {round(first, 9) for first, _ in rounds} == {0.001}
    assert all(first == second for first, second in list(pairwise(watch.ran))[::2])


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 201), (0.01, 201), (0.1, 31), (1.0, 9), (100.0, 9)], ids=str)
def test_effort_is_bounded_by_time_and_by_rounds(seconds: float, rounds: int):
    assert Effort(3.0).rounds(seconds) == rounds


def test_a_slow_moment_that_meets_one_run_of_some_rounds_moves_nothing():
    watch, dice = Watch(), random.Random(4)
    slow = lambda at: lambda: at * (50 if dice.random() < 0.3 else 1) * dice.uniform(0.98, 1.02)  # noqa: E731
    rounds = interleaved((watch.run("a", slow(0.16)), watch.run("b", slow(0.1))), Effort(1e9), watch)
    ratio, (low, high) = median_of([before / after for before, after in rounds])
    assert low <= 1.6 <= high
    assert ratio == pytest.approx(1.6, rel=0.03)
    assert sum(before for before, _ in rounds) / sum(after for _, after in rounds) != pytest.approx(1.6, rel=0.03)


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (9, 2), (20, 6), (50, 18), (100, 40)])
def test_the_interval_lies_between_the_numbers_of_published_tables(count: int, rank: int):
    """Ranks of 95 % intervals of a median, as tables of the sign test have them (Conover 1999, table A3)."""
    assert median_of([float(number) for number in range(1, count + 1)])[1] == (rank, count + 1 - rank)


@pytest.mark.parametrize("count", [6, 7, 9, 15, 51, 201])
def test_the_interval_holds_the_median_in_95_percent_and_a_narrower_one_does_not(count: int):
    low = int(median_of([float(number) for number in range(1, count + 1)])[1][0])

    def misses(rank: int) -> float:
        return 2 * sum(comb(count, below) for below in range(rank)) / 2**count

    assert misses(low) <= 0.05 < misses(low + 1)


def test_five_numbers_have_no_interval():
    with pytest.raises(ValueError, match="5 numbers are too few"):
        median_of([1.0] * 5)


@given(st.lists(st.floats(0.01, 100), min_size=6, max_size=60), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_the_median_lies_inside(ratios: list[float], dice: random.Random):
    found = median_of(ratios)
    middle, (low, high) = found
    assert low <= middle <= high
    dice.shuffle(ratios)
    assert median_of(ratios) == found


def test_times_are_told_in_milliseconds():
    timing = timing_of([0.004, 0.001, 0.002, 0.003, 0.005])
    assert (timing.median_ms, timing.quartiles_ms) == (3.0, (2.0, 4.0))
