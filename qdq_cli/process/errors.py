"""What goes wrong, as finished sentences: every error names the thing, what was found, what was expected, and a hint.

The exit code travels with the class; `main.py` is the only place that turns an error into a process exit.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command, as listed in the README."""

    DONE = 0
    USAGE = 2
    MODEL = 3
    DATA = 4
    LIMIT = 5
    INTERRUPTED = 130


class QdqError(Exception):
    """Base of everything `qdq` raises on purpose.

    Args:
        message: One finished sentence: the name of the thing, what was found, what was expected.
        hint: What to do about it, one sentence, or empty.
        said: Lines that another program said about it, shown between the two.

    Attributes:
        found: The record of what was found all the same, such as the report of a model that misses a limit; or None.
    """

    exit_code = ExitCode.MODEL

    def __init__(self, message: str, hint: str = "", said: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.said = tuple(said)
        self.found: object | None = None

    @property
    def kind(self) -> str:
        """What went wrong in a word, as documents say it: the name of the exit code, where there is no other reason."""
        return self.exit_code.name.lower()

    def __str__(self) -> str:
        said = "\n".join(("", *self.said, "")) if self.said else " "
        return f"{self.message}{said}{self.hint}".rstrip()


class UsageError(QdqError):
    """The options contradict each other, or name something that is not there (exit 2)."""

    exit_code = ExitCode.USAGE


class ModelError(QdqError):
    """The model cannot be read, prepared, run or written (exit 3)."""

    exit_code = ExitCode.MODEL


class DataError(QdqError):
    """The calibration data or the calibration cache cannot be used (exit 4)."""

    exit_code = ExitCode.DATA


class LimitError(QdqError):
    """The result misses a limit the user set (exit 5), or what was measured is too little to tell (`undecided`).

    Args:
        message: As of `QdqError`.
        hint: As of `QdqError`.
        undecided: Whether more samples could show that the limit is met.
        slow: Whether it is the limit of speed, which depends on the machine.
    """

    exit_code = ExitCode.LIMIT

    def __init__(self, message: str, hint: str = "", *, undecided: bool = False, slow: bool = False) -> None:
        super().__init__(message, hint)
        self.undecided = undecided
        self.slow = slow

    @property
    def kind(self) -> str:
        """`limit`, `speed` for the limit of speed, or `undecided`."""
        return "undecided" if self.undecided else "speed" if self.slow else super().kind


class InterruptedRunError(QdqError):
    """The user ended a run early; what was finished by then may have been kept (exit 130)."""

    exit_code = ExitCode.INTERRUPTED
