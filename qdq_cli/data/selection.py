"""Which samples calibrate and which are held back for verification.

The calibration set never depends on how many samples are verified: a report and a cache stay comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdq_cli.process.errors import UsageError

DEFAULT_SAMPLES = 512
DEFAULT_HOLD_BACK = 16
_HELD_BACK_SHARE = 8
"""By default at most one sample in eight is kept from calibration."""


@dataclass(frozen=True)
class Selection:
    """Two disjoint, ascending lists of sample indices; `held_back` is empty when there is nothing to spare."""

    calibration: tuple[int, ...]
    held_back: tuple[int, ...]


def select(
    total: int, samples: int | None = None, seed: int | None = None, hold_back: int = DEFAULT_HOLD_BACK
) -> Selection:
    """Choose samples.

    Without `samples`, min(16, total // 8) samples are reserved for verification and of the others up to 512 calibrate.
    With `samples`, exactly that many calibrate. What is left over is there for verification.

    Args:
        total: How many there are.
        samples: How many calibrate; None for the default.
        seed: None spreads them evenly over the list; a number draws them at random, equal for equal numbers.
        hold_back: How many to hold back at most, 0 for none; does not change what calibrates.

    Raises:
        UsageError: More samples are asked for than there are, or a number is below its least.
    """
    if samples is not None and not 1 <= samples <= total:
        raise UsageError(
            f"--samples {samples} asks for a number of samples outside of 1 to {total}, which is how many there are.",
            "Leave --samples out to use what is there.",
        )
    if hold_back < 0 or (seed is not None and seed < 0):
        raise UsageError("The seed and the number of samples to verify are 0 or more.")
    reserve = min(DEFAULT_HOLD_BACK, total // _HELD_BACK_SHARE) if samples is None else 0
    count = min(DEFAULT_SAMPLES, total - reserve) if samples is None else samples
    if seed is not None:
        return _drawn(total, count, seed, hold_back)
    return _spread(total, count, reserve, hold_back)


def spread_evenly(total: int, count: int) -> tuple[int, ...]:
    """`count` of the indices below `total`, each in the middle of its equal share; all when count >= total."""
    count = min(count, total)
    return tuple((2 * k + 1) * total // (2 * count) for k in range(count))


def _spread(total: int, count: int, reserve: int, hold_back: int) -> Selection:
    """Reserve evenly spread indices first, so that neither end of the list is without calibration samples."""
    reserved = spread_evenly(total, reserve)
    free = _without(range(total), reserved)
    calibration = tuple(free[k] for k in spread_evenly(len(free), count))
    rest = _without(free, calibration)
    if hold_back <= len(reserved):
        return Selection(calibration, tuple(reserved[k] for k in spread_evenly(len(reserved), hold_back)))
    more = (rest[k] for k in spread_evenly(len(rest), hold_back - len(reserved)))
    return Selection(calibration, tuple(sorted((*reserved, *more))))


def _drawn(total: int, count: int, seed: int, hold_back: int) -> Selection:
    order = [int(index) for index in np.random.default_rng(seed).permutation(total)]
    return Selection(tuple(sorted(order[:count])), tuple(sorted(order[count : count + hold_back])))


def _without(indices: range | tuple[int, ...], left_out: tuple[int, ...]) -> tuple[int, ...]:
    barred = set(left_out)
    return tuple(index for index in indices if index not in barred)
