"""Which samples calibrate and which are held back for verification.

Nothing is held back that verification does not use: without it every sample calibrates. Memory depends on how many
samples are chosen, not on how many there are.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdq_cli.process.errors import DataError, UsageError

DEFAULT_SAMPLES = 512
DEFAULT_HOLD_BACK = 16
MOST_SAMPLES = 1 << 20
"""More cannot be counted in one calibration cache."""

_HELD_BACK_SHARE = 8
"""By default at most one sample in eight is kept from calibration."""


@dataclass(frozen=True)
class Selection:
    """Two disjoint, ascending lists of sample indices; `held_back` is empty when there is nothing to spare."""

    calibration: tuple[int, ...]
    held_back: tuple[int, ...]


def select(
    total: int,
    samples: int | None = None,
    seed: int | None = None,
    hold_back: int = DEFAULT_HOLD_BACK,
    run: int = 1,
) -> Selection:
    """Choose samples.

    Without `samples`, whole runs of at most min(hold_back, 16) samples, and of no more than an eighth of all, are
    reserved for verification, and of the others up to 512 calibrate, or one run. With `samples`, exactly that many
    calibrate, or all but the reserved ones where there are not so many. What is left over is there for verification.

    Args:
        total: How many there are.
        samples: How many calibrate; None for the default.
        seed: None spreads them evenly over the list; a number draws them at random, equal for equal numbers.
        hold_back: How many to hold back at most, 0 for none; one run where that is more.
        run: How many samples the model takes in one run.

    Raises:
        UsageError: A number is below its least.
        DataError: More samples would calibrate than one calibration can count.
    """
    _check(samples, seed, hold_back)
    reserve = _reserve(total, hold_back, run) if samples is None or samples > total else 0
    most = max(DEFAULT_SAMPLES // run, 1) * run if samples is None else samples
    count = min(most, total - reserve)
    _check_count(count)
    if seed is not None:
        return _drawn(total, count, seed, max(hold_back, reserve))
    return _spread(total, count, reserve, max(hold_back, reserve))


def _check(samples: int | None, seed: int | None, hold_back: int) -> None:
    if samples is not None and samples < 1:
        raise UsageError(f"--samples {samples} asks for no sample.", "Leave --samples out to use what is there.")
    if hold_back < 0 or (seed is not None and seed < 0):
        raise UsageError("The seed and the number of samples to verify are 0 or more.")


def _check_count(count: int) -> None:
    if count > MOST_SAMPLES:
        raise DataError(
            f"{count:,} samples are to calibrate, but one calibration counts at most {MOST_SAMPLES:,}.",
            "Choose fewer with --samples; some hundred are usual.",
        )


def _reserve(total: int, hold_back: int, run: int) -> int:
    """How many samples to keep from calibration: whole runs, and none where one run is more than an eighth of all."""
    share = total // _HELD_BACK_SHARE
    if hold_back == 0 or run > share:
        return 0
    return max(min(hold_back, DEFAULT_HOLD_BACK, share) // run, 1) * run


def spread_evenly(total: int, count: int) -> tuple[int, ...]:
    """`count` of the indices below `total`, each in the middle of its equal share; all when count >= total."""
    count = min(count, total)
    return tuple((2 * k + 1) * total // (2 * count) for k in range(count))


def _spread(total: int, count: int, reserve: int, hold_back: int) -> Selection:
    """Reserve evenly spread indices first, so that neither end of the list is without calibration samples."""
    reserved = spread_evenly(total, reserve)
    calibration = _others(reserved, spread_evenly(total - reserve, count))
    taken = sorted((*reserved, *calibration))
    more = _others(taken, spread_evenly(total - len(taken), hold_back - reserve))
    return Selection(calibration, tuple(sorted((*reserved, *more))))


def _drawn(total: int, count: int, seed: int, hold_back: int) -> Selection:
    generator = np.random.default_rng(seed)
    calibration = _draw(generator, total, count)
    rest = total - count
    return Selection(calibration, _others(calibration, _draw(generator, rest, min(hold_back, rest))))


def _draw(generator: np.random.Generator, total: int, count: int) -> tuple[int, ...]:
    """Draw some of the indices below `total`, each equally likely; ascending."""
    return tuple(sorted(int(index) for index in generator.choice(total, count, replace=False, shuffle=False)))


def _others(taken: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    """The indices at these places of the list 0, 1, 2, ... from which the ascending `taken` are left out."""
    gaps = [index - position for position, index in enumerate(taken)]  # free indices below each
    return tuple(place + bisect.bisect_right(gaps, place) for place in places)
