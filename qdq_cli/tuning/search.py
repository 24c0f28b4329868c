"""Find the cheapest set of changes that meets a target, with few measurements: of operators to leave float.

The estimates rank operators well, but single noises do not quite add up to the noise of all together. So the integer
program is solved for a budget, the set is measured, and the budget is corrected by what was measured: a bisection over
budgets. Afterwards operators return to INT8, those first that cost most for their noise, as
far as the target allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

MAX_MEASUREMENTS = 12
"""Variants measured in one search, the first included."""

_MAX_RETURNS = 4  # of them kept for operators that return to INT8
_MAX_STEPS = 60  # budgets tried; most lead to sets that were measured before
_CLOSE = 1.03  # a bracket of budgets that close is not narrowed further
_FIRST_CUT = 4.0  # where nothing says how much too large a budget is, it is cut by this


class Verdict(Protocol):
    """What measuring a set says."""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        ...

    @property
    def excess_db(self) -> float | None:
        """How far the noise is above what the target allows, in dB; None where the target is about something else."""
        ...


V = TypeVar("V", bound=Verdict)
FloatSet = frozenset[int]


@dataclass(frozen=True)
class Problem(Generic[V]):
    """What is searched.

    Args:
        noise: Estimated noise that each change takes away: of an operator, where that becomes float.
        cost: Cost of each change.
        pick: Budget -> the cheapest set within it; None where there is none.
        measure: Set -> verdict.
        whole: Estimated noise without any change; None for that of all changes together.
    """

    noise: tuple[float, ...]
    cost: tuple[float, ...]
    pick: Callable[[float], FloatSet | None]
    measure: Callable[[FloatSet], V]
    whole: float | None = None


def search(problem: Problem[V]) -> dict[FloatSet, V]:
    """Measure sets until the cheapest that meets the target is found; returns all that were measured, in order.

    The first is the empty set: everything in INT8.
    """
    measured: dict[FloatSet, V] = {frozenset(): problem.measure(frozenset())}
    if measured[frozenset()].met:
        return measured
    chosen = _bisect(problem, measured)
    if chosen is not None:
        _return_to_int8(problem, measured, chosen)
    return measured


def _bisect(problem: Problem[V], measured: dict[FloatSet, V]) -> FloatSet | None:
    """Narrow the bracket between a budget that meets the target and one that does not."""
    good, bad = 0.0, sum(problem.noise) if problem.whole is None else problem.whole
    least = min((noise for noise in problem.noise if noise > 0), default=0.0)
    budget, excess_db = bad, measured[frozenset()].excess_db
    chosen: FloatSet | None = None
    for _ in range(_MAX_STEPS):
        if bad <= max(least, good * _CLOSE):
            break
        budget = _corrected(budget, excess_db, good, bad)
        picked = problem.pick(budget)
        if picked is None or len(picked) == len(problem.noise):
            good, excess_db = budget, None  # below are no sets but that of all, and nothing quantized is no answer
            continue
        if picked not in measured:
            if len(measured) >= MAX_MEASUREMENTS - _MAX_RETURNS:
                break
            measured[picked] = problem.measure(picked)
        excess_db = measured[picked].excess_db
        if measured[picked].met:
            good, chosen = budget, picked
        else:
            bad = budget
    return chosen


def _corrected(budget: float, excess_db: float | None, good: float, bad: float) -> float:
    """The next budget: what the measurement asks for where that is inside the bracket, else its middle."""
    if excess_db is not None and math.isfinite(excess_db):
        asked = budget * 10 ** (-excess_db / 10)
        if good * _CLOSE < asked < bad / _CLOSE:
            return asked
    return math.sqrt(good * bad) if good > 0 else bad / _FIRST_CUT


def _return_to_int8(problem: Problem[V], measured: dict[FloatSet, V], chosen: FloatSet) -> None:
    """Quantize operators again that seem not to be needed float: half of them, or a half of that half, and so on."""
    count = max(1, len(chosen) // 2)
    needed: set[int] = set()
    for _ in range(_MAX_RETURNS):
        ranked = sorted(chosen - needed, key=lambda number: (-_worth(problem, number), number))
        smaller = chosen - set(ranked[:count])
        if not ranked or not smaller:
            return
        if smaller not in measured:
            measured[smaller] = problem.measure(smaller)
        if measured[smaller].met:
            chosen = smaller
        elif count == 1:
            needed.add(ranked[0])
        count = max(1, count // 2)


def _worth(problem: Problem[V], number: int) -> float:
    """Cost saved for the noise that comes back."""
    return problem.cost[number] / (problem.noise[number] + 1e-300)
