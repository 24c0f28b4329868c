"""The cells that a histogram counts in: fixed in number, numbered from below zero to above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELLS = 8191
"""Signed cells -4095..4095; cell 0 is the open interval (-width, width)."""

CENTER = 4095
"""Position of cell 0 in an array of CELLS counts."""

_LARGEST_COUNTER = (1 << 32) - 1


class Cells:
    """Counts of the cells -CENTER..CENTER, for any counter to add to.

    A network of thousands of tensors has as many of these, so counts and counters, 65 KB each, are made when asked for.

    Args:
        counts: int64 [CELLS], added to in place; None for zeros.
    """

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        self._counts = counts
        self._counters: NDArray[np.uint32] | None = None
        self._room = 0  # values until one of the counters could overflow

    @property
    def counts(self) -> NDArray[np.int64]:
        """All that was counted so far, int64 [CELLS], to be added to in place."""
        if self._counters is not None:
            self._empty(self._counters)
        return self._made()

    def counters(self, size: int, values: int) -> NDArray[np.uint32]:
        """Two counters a cell that take turns, and behind those of all cells some that cell 0 takes turns with.

        Args:
            size: How many.
            values: How many values are going to be added.
        """
        if self._counters is not None and self._room < values:
            self._empty(self._counters)
        if self._counters is None:
            self._counters, self._room = np.zeros(size, np.uint32), _LARGEST_COUNTER
        self._room -= values
        return self._counters

    def _empty(self, counters: NDArray[np.uint32]) -> None:
        """Add what the counters hold to the counts, and let them go."""
        found = counters.reshape(-1, 2).sum(axis=1, dtype=np.int64)
        counts = self._made()
        counts += found[:CELLS]
        counts[CENTER] += found[CELLS:].sum()
        self._counters = None

    def _made(self) -> NDArray[np.int64]:
        """The counts without those of the counters."""
        if self._counts is None:
            self._counts = np.zeros(CELLS, np.int64)
        return self._counts
