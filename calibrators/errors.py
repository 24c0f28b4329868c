"""What the calibrators refuse, as finished sentences: the thing, what was found, what was expected, and a hint."""

from __future__ import annotations


class CalibratorError(Exception):
    """Parent of everything `calibrators` raises on purpose.

    Args:
        message: One finished sentence: the name of the thing, what was found, what was expected.
        hint: What to do about it, one sentence, or empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class NonFiniteError(CalibratorError):
    """NaN or Inf where only finite values make sense (rule A7)."""


class NoDataError(CalibratorError):
    """A range was asked of a histogram that has seen no value."""


class ParameterError(CalibratorError, ValueError):
    """A parameter or an array is outside what the function is defined for."""


class CacheFileError(CalibratorError):
    """A calibration cache or table cannot be read or written as what it claims to be."""


class MismatchError(CalibratorError):
    """Two calibration tables, or a table and a model, do not belong together."""
