"""A candidate beside the best so far, batch by batch, and when it is plain that it gains nothing on that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_ORDER = (0, 4, 2, 6, 1, 5, 3, 7)
"""A race begins with every eighth batch, and goes on between those."""

_TELLING_BATCHES, _SURE = 4, 2.0
"""From so many batches on a race may be given up: where the mean is so many standard errors on the wrong side."""


@dataclass(frozen=True)
class Race:
    """How a candidate did beside another one.

    Args:
        ratio: Its noise by that of the other, on the batches it ran on.
        parts: What each batch contributes to its noise; None where it was given up.
        noise: `Outcome.noise` on all batches; None where it was given up.
    """

    ratio: float
    parts: tuple[float, ...] | None = None
    noise: float | None = None


def spread(batches: int) -> list[int]:
    """The numbers of so many batches in the order of a race: the first few are evenly spread among all."""
    return [number for first in _ORDER for number in range(first, batches, len(_ORDER))]


def is_hopeless(parts: Mapping[int, float], rival: Sequence[float], gain: float) -> bool:
    """Whether these batches say well enough that a candidate does not save a share of its rival's noise."""
    if len(parts) < _TELLING_BATCHES:
        return False
    others = np.array([rival[number] for number in parts])
    distance = np.array(list(parts.values())) - (1 - gain) * others
    if not np.isfinite(distance).all():
        return True
    share_left = 1 - len(parts) / len(rival)
    error = float(distance.std(ddof=1)) * math.sqrt(share_left / len(parts))
    return float(distance.mean()) > _SURE * error
