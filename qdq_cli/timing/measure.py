"""Time two runs in turn, and say how many times as fast the second is, and how sure that is.

Other programs take the processor away, and its clock changes. Both runs of a round meet much the same of it, so that
the quotient of a round says more than both times; and the median of the quotients does not mind the rounds in which
only one was interrupted.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qdq_cli.process.interrupts import insist
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.timing.record import Timing

CERTAINTY = 0.95
"""How often an interval holds the ratio that is looked for."""

_SHORT_SECONDS = 0.05
"""What takes longer does not mind cold caches."""

Round = tuple[float, float]
"""Seconds of the first and of the second run."""

Clock = Callable[[], float]
"""Seconds since whenever."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        seconds: How long all rounds take together, as far as the number of rounds allows it.
        least: Rounds at least: fewer than 6 have no interval of 95 %.
        most: Rounds at most.
    """

    seconds: float
    least: int = 9
    most: int = 201

    def rounds(self, seconds: float) -> int:
        """How many rounds of these seconds each are run; odd, so that one of them is in the middle."""
        wanted = self.most if seconds <= 0 else int(self.seconds / seconds)
        return min(max(wanted, self.least), self.most) | 1


def interleaved(
    runs: tuple[Callable[[], object], Callable[[], object]],
    effort: Effort,
    clock: Clock = time.perf_counter,
    listener: Listener = SILENT,
) -> list[Round]:
    """Run both in turn, the first and the second time changing places, and return how long each took.

    Short runs have another one in front of them that is not timed: it brings the weights back into the caches, and lets
    the threads of the other model, which wait for work for a while, fall asleep.

    Args:
        runs: The two.
        effort: How often.
        clock: What the time is.
        listener: Told about progress, between rounds.
    """
    pilot = _round(runs, clock, warm=True, swapped=False)
    warm = max(pilot) < _SHORT_SECONDS
    rounds = effort.rounds(sum(pilot) * (2 if warm else 1))
    found = []
    with listener.progress("timing", rounds) as advance:
        for number in range(rounds):
            found.append(_round(runs, clock, warm=warm, swapped=bool(number % 2)))
            advance(number + 1, rounds)
    return found


def _round(
    runs: tuple[Callable[[], object], Callable[[], object]], clock: Clock, *, warm: bool, swapped: bool
) -> Round:
    insist()
    if swapped:
        second, first = _timed(runs[1], clock, warm=warm), _timed(runs[0], clock, warm=warm)
    else:
        first, second = _timed(runs[0], clock, warm=warm), _timed(runs[1], clock, warm=warm)
    return first, second


def _timed(run: Callable[[], object], clock: Clock, *, warm: bool) -> float:
    if warm:
        run()
    start = clock()
    run()
    return clock() - start


def timing_of(seconds: Sequence[float]) -> Timing:
    """Say how long runs took, at least two, in milliseconds rounded to a tenth of a microsecond."""
    low, middle, high = (round(1000 * each, 4) for each in statistics.quantiles(seconds, n=4, method="inclusive"))
    return Timing(middle, (low, high))


def median_of(ratios: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the median of some numbers, six at least, and the ends of its 95 % interval.

    The interval lies between two of the numbers, whatever their distribution: so many are below the median as heads
    come up when coins are tossed.

    Source: David and Nagaraja, Order Statistics, 3rd edition, section 7.1 (confidence intervals of quantiles).
    """
    ordered = sorted(ratios)
    rank = _rank(len(ordered))
    return statistics.median(ordered), (ordered[rank - 1], ordered[-rank])


def _rank(count: int) -> int:
    """The highest k for which the k-th smallest and the k-th largest number hold the median in 95 % of the cases."""
    tail, rank = 1, 0  # `tail` over 2^count: how often at most `rank` of the numbers are below the median
    while 2 * tail <= (1 - CERTAINTY) * 2**count:
        rank += 1
        tail += math.comb(count, rank)
    if not rank:
        raise ValueError(f"{count} numbers are too few for an interval")
    return rank
