"""Choose what stays float: an integer program over estimates, solved exactly.

Pure: numbers in, positions out. Every unit (an operator with quantized inputs) has a noise when it is quantized and a
cost when it is not; noises add up, costs add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qdq_cli.solving.programs import Sums, cheapest_amounts

FOR_NOTHING = 1e-3
"""Percent of the work or of the time that any change is taken to cost at least: none is made for nothing."""


@dataclass(frozen=True)
class Floor:
    """A share of something, such as the MACs, that has to stay in INT8.

    Args:
        weights: What each unit contributes while it is quantized; not negative.
        least: What the quantized ones have to contribute together.
    """

    weights: Sequence[float]
    least: float


def cheapest_float(
    noise: Sequence[float], cost: Sequence[float], budget: float, floor: Floor | None = None
) -> frozenset[int] | None:
    """Return the units to leave float: the cheapest set whose remaining noise is within the budget.

    Args:
        noise: Noise of each unit where it is quantized; not negative.
        cost: Cost of each unit where it stays float; not negative.
        budget: Most noise of all quantized units together.
        floor: What has to stay in INT8; None for nothing.

    Returns:
        Positions, or None where the floor leaves no set within the budget.
    """
    noises, costs = np.asarray(noise, np.float64), np.asarray(cost, np.float64)
    if budget <= 0:
        silent = frozenset(np.flatnonzero(noises > 0).tolist())
        return silent if _keeps(silent, floor) else None
    # in units of the budget, so that the solver's absolute tolerance means the same for every model; a unit that
    # exceeds the budget alone is float anyhow, and counting it as just above 1 keeps the numbers near each other
    return _solve(costs, np.minimum(noises / budget, 2.0), 1.0, floor)


def quietest_float(noise: Sequence[float], floor: Floor) -> frozenset[int] | None:
    """Return the units to leave float for the least remaining noise that a floor allows; None where it cannot be met.

    Args:
        noise: Noise of each unit where it is quantized; not negative.
        floor: What has to stay in INT8.
    """
    noises = np.asarray(noise, np.float64)
    largest = float(noises.max(initial=0.0)) or 1.0
    return _solve(-noises / largest, np.zeros(len(noises)), 1.0, floor)


def _solve(
    cost: NDArray[np.float64], noise: NDArray[np.float64], budget: float, floor: Floor | None
) -> frozenset[int] | None:
    """Minimize the cost of the float units; x = 1 for float.

    sum noise (1 - x) <= budget, sum weights (1 - x) >= least.
    """
    if not cost.size:
        return frozenset() if floor is None or floor.least <= 0 else None
    rows, least, most = [noise], [noise.sum() - budget], [np.inf]
    if floor is not None:
        weights = np.asarray(floor.weights, np.float64)
        scale = float(weights.sum()) or 1.0
        rows.append(weights / scale)
        least.append(-np.inf)
        most.append((weights.sum() - floor.least) / scale)
    size = float(np.abs(cost).max()) or 1.0
    sums = Sums.of_matrix(rows, least, most)
    found = cheapest_amounts(cost / size, np.ones(cost.size), sums, whole=True)
    return None if found is None else frozenset(np.flatnonzero(found > 0.5).tolist())


@dataclass(frozen=True)
class Pair:
    """Two units that together cost less in some types than each of them alone: no Q or DQ stands between them then.

    Args:
        units: Their numbers.
        places: Which of its types each of them takes.
        saving: By how much the costs of both together are lower than their sum; above 0.
    """

    units: tuple[int, int]
    places: tuple[int, int]
    saving: float


def cheapest_types(
    noise: Sequence[Sequence[float]], cost: Sequence[Sequence[float]], budget: float, pairs: Sequence[Pair] = ()
) -> tuple[int, ...] | None:
    """Return which of its types each unit takes: the cheapest choice whose noise is within the budget.

    Args:
        noise: Noise of each unit in each of its types; not negative.
        cost: Cost of each unit in each of its types.
        budget: Most noise of all units together, above 0.
        pairs: What two units save where both take certain types.

    Returns:
        Positions in these lists, or None where no choice is within the budget.
    """
    sizes = [len(each) for each in noise]
    if not sizes:
        return ()
    starts = np.concatenate(([0], np.cumsum(sizes)))
    one_each = np.zeros((len(sizes), starts[-1]))
    for number, (first, last) in enumerate(pairwise(starts)):
        one_each[number, first:last] = 1.0
    # as in `cheapest_float`: what exceeds the budget alone counts as just above it
    noises = np.minimum(np.concatenate([np.asarray(each, np.float64) for each in noise]) / budget, 2.0)
    costs = np.concatenate([np.asarray(each, np.float64) for each in cost])
    ones = np.ones(len(sizes))
    size = float(np.abs(costs).max()) or 1.0
    both, savings = _both(pairs, starts)
    limits = np.pad(np.vstack([noises, *one_each]), ((0, 0), (0, savings.size)))
    most = [1.0, *ones, *np.zeros(len(both))]
    sums = Sums.of_matrix([*limits, *both], [-np.inf, *ones, *np.full(len(both), -np.inf)], most)
    amounts = np.concatenate([costs, -savings]) / size
    found = cheapest_amounts(amounts, np.ones(amounts.size), sums, whole=True)
    if found is None:
        return None
    return tuple(int(np.argmax(found[first:last])) for first, last in pairwise(starts))


def _both(pairs: Sequence[Pair], starts: NDArray[np.intp]) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the rows that let a pair count where both of its units take its types alone, and what pairs save."""
    rows = []
    for number, pair in enumerate(pairs):
        for unit, place in zip(pair.units, pair.places, strict=True):
            row = np.zeros(starts[-1] + len(pairs))
            row[starts[unit] + place], row[starts[-1] + number] = -1.0, 1.0
            rows.append(row)
    return rows, np.array([pair.saving for pair in pairs], np.float64)


def _keeps(left_float: frozenset[int], floor: Floor | None) -> bool:
    if floor is None:
        return True
    kept = sum(weight for position, weight in enumerate(floor.weights) if position not in left_float)
    return kept >= floor.least * (1 - 1e-9)
