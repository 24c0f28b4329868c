"""One figure, and how it is shown."""

from __future__ import annotations

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

    def __str__(self) -> str:
        goal = "" if self.goal is None else f"  (goal: at most {self.goal:g})"
        return f"{self.what:46} {self.value:8.2f}{goal:22}  {self.work}"
