"""Parts of sentences that notes and errors have in common."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Write the first few of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def count_text(number: int, noun: str) -> str:
    """Write "1 error", "2 errors"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
