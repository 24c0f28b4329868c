"""One figure, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """A measured figure.

    Args:
        what: The figure with its unit.
        work: On what it was measured.
        value: The median.
        goal: What it should not exceed; None where there is no such promise.
    """

    what: str
    work: str
    value: float
    goal: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met; empty where there is none."""
        return "" if self.goal is None else "met" if self.value <= self.goal else "MISSED"


def table(results: Iterable[Result]) -> list[str]:
    """Return one line a figure: what, value, goal, verdict, on which work."""
    head = f"{'figure':48} {'value':>9} {'at most':>8} {'':6}  work"
    return [head, *(_line(result) for result in results)]


def _line(result: Result) -> str:
    goal = "" if result.goal is None else f"{result.goal:g}"
    return f"{result.what:48} {result.value:9.2f} {goal:>8} {result.verdict:6}  {result.work}"
