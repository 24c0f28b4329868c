"""Samples that cannot be read: the error that names one, and the policy for how many are too many."""

from __future__ import annotations

import threading
from pathlib import Path

from qdq_cli.process.errors import DataError


class UnreadableSampleError(DataError):
    """One sample cannot be decoded; the others may be fine.

    Args:
        source: The file.
        reason: Why, in words that end the sentence.
    """

    def __init__(self, source: Path | str, reason: str) -> None:
        self.source = str(source)
        super().__init__(
            f"{self.source} cannot be decoded as an image: {reason}.",
            "Repair or remove the file, or convert it to PNG.",
        )


class UnreadableSamples:
    """Counts samples that had to be left out, and stops when they are 1 % of all or more. Safe for threads.

    Args:
        total: How many samples are to be read in all.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._lock = threading.Lock()
        self._errors: list[UnreadableSampleError] = []

    @property
    def errors(self) -> tuple[UnreadableSampleError, ...]:
        """What was left out, sorted by file."""
        with self._lock:
            return tuple(sorted(self._errors, key=lambda error: error.source))

    def add(self, error: UnreadableSampleError) -> None:
        """Leave one sample out.

        Raises:
            DataError: That makes 1 % of all samples, or more.
        """
        with self._lock:
            self._errors.append(error)
            count = len(self._errors)
        if count * 100 >= self._total:
            raise DataError(
                f"{error.message} {count} of {self._total} samples cannot be decoded; fewer than 1 % may be.",
                error.hint,
            ) from error

    def note(self) -> str:
        """One sentence for the user, or "" when nothing was left out."""
        if not (errors := self.errors):
            return ""
        names = ", ".join(error.source for error in errors[:3]) + (", ..." if len(errors) > 3 else "")
        return f"{len(errors)} of {self._total} samples cannot be decoded and were left out: {names}."
