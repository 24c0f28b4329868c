"""Whether two measures put things in the same order."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrators.errors import ParameterError


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float | None:
    """Spearman's rank correlation: 1 for the same order, -1 for the opposite one; ties share the mean of their ranks.

    Args:
        one: Numbers of some things, shape (n,); finite.
        other: Other numbers of the same things, shape (n,).

    Returns:
        The correlation; None for fewer than two things, or where all of one side are equal.

    Raises:
        ParameterError: The shapes differ, or a number is not finite.

    Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ParameterError(f"Ranks of shapes {first.shape} and {second.shape} cannot be compared.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ParameterError("NaN and Inf have no rank.")
    if first.size < 2:
        return None
    ranks = np.stack([_ranks(first), _ranks(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((ranks**2).sum(axis=1).prod())
    return float((ranks[0] * ranks[1]).sum() / spread) if spread else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Position of each value in sorted order, from 0 on."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: NDArray[np.float64] = ends - (counts + 1) / 2
    return mean[inverse]
