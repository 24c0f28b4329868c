"""Parts of sentences that notes and errors have in common."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Write the first few of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def count_text(number: int, noun: str) -> str:
    """Write "1 error", "2 errors"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def any_of(words: Sequence[str]) -> str:
    """Write "a, b or c"."""
    return " or ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


_TYPES = {"float8e4m3fn": "FP8", "float4e2m1": "FP4"}


def all_of(words: Sequence[str]) -> str:
    """Write "a, b and c"."""
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part])


FLOAT = "float"
"""Stands for the type of what is not quantized: activations beside weights alone, operators left float."""


def type_title(activations: str, weights: str = "") -> str:
    """Write the type of codes as people know it: INT8, FP8; of weights alone INT4 weights.

    Args:
        activations: Stored type of activations, or `FLOAT`.
        weights: That of weights, which speaks where activations are floats.
    """
    if activations == FLOAT and weights:
        return f"{type_title(weights)} weights"
    return _TYPES.get(activations, activations.upper())


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Write a hint that names what comes nearest to a name that is not there, or nothing where nothing is near."""
    import difflib

    spelled = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    return f"Did you mean '{spelled[near[0]]}'?" if near else ""
