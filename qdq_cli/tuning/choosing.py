"""Which of the measured variants is written, and when chance decides between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from qdq_cli.tuning.record import Point

_MUCH_DB = 2.0

Key = TypeVar("Key", bound=Hashable)


def best(measured: dict[Key, Point], cost: Callable[[Point], float], changes: Callable[[Key], int]) -> Key:
    """Return the variant that is fastest, moves the fewest bytes or costs least, of those that meet the target.

    Where none does, the one that misses it least.

    Args:
        measured: What is changed -> the variant.
        cost: What a variant costs where it is neither timed nor built.
        changes: How much is changed: of two that are alike, the one with less is taken.
    """
    return min(
        measured,
        key=lambda some: (
            not measured[some].met,
            0.0 if measured[some].met else measured[some].shortfall,
            price(measured[some]),
            cost(measured[some]),
            -measured[some].sqnr_db,
            changes(some),
        ),
    )


def price(point: Point) -> float:
    """Time beside the float model, or bytes moved as built; what is not known is dearer than all, alike for all."""
    if point.speed is not None:
        return -point.speed.ratio
    return math.inf if point.built_bytes is None else point.built_bytes


def uneven(points: Sequence[Point], max_drop: float | None) -> tuple[str, ...]:
    """Say so where variants with much less noise have a worse metric: it then is too coarse for the drop allowed."""
    worse = [
        (other.drop or 0.0) - (point.drop or 0.0)
        for point in points
        for other in points
        if other.sqnr_db > point.sqnr_db + _MUCH_DB
    ]
    if max_drop is None or max(worse, default=0.0) <= max(0.0, max_drop):
        return ()
    return (
        f"Variants with much less noise are worse in the metric by up to {max(worse):.6g}, more than --max-drop is: "
        "chance decides; let --eval take more samples, or allow a larger drop.",
    )
