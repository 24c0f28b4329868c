"""The judge: noise only ever falls, and one bad change does not keep good ones out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrators import Range
from qdq_cli.judging.candidate import Candidate
from qdq_cli.judging.trials import Trials
from qdq_cli.placement.plan import Plan
from qdq_cli.recovering.changes import Change, Judge, changed
from qdq_cli.targets.tensorrt.table import TENSORRT

PLAN = Plan((), (), (), (), (), 0, (), (), target=TENSORRT)


@dataclass
class FakeTrials:
    """The noise of a candidate as a function of its ranges."""

    rule: Callable[[tuple[float, ...]], float]
    calls: list[tuple[float, ...]] = field(default_factory=list)
    batches: int = 1

    def noise(self, candidate: Candidate) -> float:
        self.calls.append(amax_of(candidate))
        return self.rule(self.calls[-1])


def amax_of(candidate: Candidate) -> tuple[float, ...]:
    return tuple(kept.amax for kept in candidate.ranges)


def ranges_of(*amax: float) -> tuple[Range, ...]:
    return tuple(Range.symmetric(each) for each in amax)


def judge_of(rule: Callable[[tuple[float, ...]], float], count: int) -> Judge:
    return Judge(cast(Trials, FakeTrials(rule)), Candidate(PLAN, ranges_of(*[1.0] * count)))


def change(group: int, value: float) -> Change:
    return Change(f"tensor_{group}", ranges={group: Range.symmetric(value)})


@given(st.lists(st.floats(0.0, 2.0), min_size=1, max_size=9))
def test_noise_never_grows(values: list[float]):
    judge = judge_of(sum, len(values))
    verdicts = judge.decide([change(group, value) for group, value in enumerate(values)])
    assert judge.noise <= len(values)
    assert judge.noise == sum(amax_of(judge.candidate))
    assert {verdict.where for verdict in verdicts} == {f"tensor_{group}" for group in range(len(values))}
    for group, verdict in enumerate(sorted(verdicts, key=lambda verdict: int(verdict.where.split("_")[1]))):
        assert amax_of(judge.candidate)[group] == (values[group] if verdict.accepted else 1.0)


@pytest.mark.parametrize("bad", range(4))
def test_good_changes_stay_beside_a_bad_one(bad: int):
    judge = judge_of(sum, 4)
    verdicts = judge.decide([change(group, 9.0 if group == bad else 0.5) for group in range(4)])
    assert [verdict.accepted for verdict in verdicts] == [group != bad for group in range(4)]
    assert judge.noise == 2.5


def test_changes_that_help_together_alone_are_taken_together():
    judge = judge_of(lambda amax: 0.5 if amax == (2.0, 2.0) else 1.0 + amax.count(2.0), 2)
    assert all(verdict.accepted for verdict in judge.decide([change(0, 2.0), change(1, 2.0)]))
    assert judge.noise == 0.5


def test_what_is_no_better_than_chance_is_left():
    judge = judge_of(lambda amax: math.nan if amax == (0.0,) else amax[0], 1)
    assert not judge.decide([change(0, 0.9999)])[0].accepted
    assert not judge.accepts(Candidate(PLAN, ranges_of(0.0)))
    assert amax_of(judge.candidate) == (1.0,)


def test_nothing_gains_on_a_model_without_noise():
    judge = judge_of(lambda amax: 0.0, 1)
    assert not judge.accepts(Candidate(PLAN, ranges_of(0.5)))
    assert judge.decide([]) == []


def test_of_two_changes_for_one_thing_the_later_one_holds():
    start = Candidate(PLAN, ranges_of(1.0, 1.0), weights={"w": np.zeros(2)})
    one = Change("a", ranges={0: Range(-1.0, 2.0)}, weights={"w": np.ones(2)}, biases={"a": np.ones(1)})
    two = Change("b", ranges={0: Range(0.0, 3.0)}, weight_ranges={"w": np.ones(1, np.float32)})
    found = changed(start, [one, two])
    assert found.ranges == (Range(0.0, 3.0), Range(-1.0, 1.0))
    np.testing.assert_array_equal(found.weights["w"], np.ones(2))
    assert set(found.biases) == {"a"} and set(found.weight_ranges) == {"w"}
    assert start.ranges == ranges_of(1.0, 1.0) and not start.biases
