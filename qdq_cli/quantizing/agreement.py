"""How sure a share of rows is, and what that says of a limit: met, missed, or not to be told from so few."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from qdq_cli.quantizing.beta import beta_quantile

CERTAINTY = 0.95
"""How often an interval holds the share that all rows there could be would have."""

Interval = tuple[float, float]
"""Both ends of a share, in percent."""


class Standing(Enum):
    """How a result stands to a limit."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"
    """What was measured is too little to tell: the interval of the share or the ratio holds the limit."""


@dataclass(frozen=True)
class HeldLimit:
    """One limit, and one output that was held against it.

    Args:
        output: Name of the output; "" for the speed of the whole model.
        limit: `min_sqnr`, `min_agreement` or `min_speedup`.
        asked: The limit, in dB, percent or times.
        found: What is reached.
        standing: Met, missed or undecided.
        interval: For an agreement and a speed: the ends of its 95 % interval.
        rows: For an agreement: how many rows it is of; for a speed: of how many rounds.
    """

    output: str
    limit: str
    asked: float
    found: float
    standing: Standing
    interval: Interval | None = None
    rows: int | None = None

    @property
    def fails(self) -> bool:
        """Whether a run ends without success for it: missed, or undecided with what was found below what was asked."""
        return self.standing is Standing.MISSED or (self.standing is Standing.UNDECIDED and self.found < self.asked)


def interval_of(agreeing: int, rows: int) -> Interval:
    """The exact 95 % interval of a share, in percent: 11 of 12 are 61.5 to 99.8.

    Args:
        agreeing: Rows that agree.
        rows: All of them, at least one.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26(4); by quantiles of the beta distribution.
    """
    tail = (1 - CERTAINTY) / 2
    low = 0.0 if agreeing == 0 else beta_quantile(agreeing, rows - agreeing + 1, tail)
    high = 1.0 if agreeing == rows else beta_quantile(agreeing + 1, rows - agreeing, 1 - tail)
    return round(100 * low, 6), round(100 * high, 6)


def standing_of(interval: Interval, least: float) -> Standing:
    """Say how a share or a ratio with this interval stands to a limit from below."""
    if interval[1] < least:
        return Standing.MISSED
    return Standing.MET if interval[0] >= least else Standing.UNDECIDED


def rows_to_decide(least: float) -> int | None:
    """How many rows meet a limit in percent for certain where all of them agree; None for 100 %."""
    if least >= 100:
        return None
    tail = (1 - CERTAINTY) / 2
    return 1 if least <= 0 else max(1, math.ceil(math.log(tail) / math.log(least / 100)))


def interval_text(interval: Interval) -> str:
    """Both ends as they are read: `61.5 to 99.8`."""
    return " to ".join(f"{end:.1f}".removesuffix(".0") for end in interval)
