"""Outputs whose number of rows depends on the data (NonZero, NonMaxSuppression): rows are counted and matched.

Two models find other rows there, or the same in another order, so elements at one place have nothing to do with each
other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdq_cli.quantizing.report import Rows


class RowMeter:
    """Counts the rows of one output in both models, and those that both have; whole numbers are matched alone."""

    def __init__(self) -> None:
        self.differ = False
        self._reference = self._other = self._matched = 0
        self._whole = True

    def observe(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        """Add what both models gave for a batch: arrays of one rank, of other sizes along one axis at most."""
        axis = _row_axis(reference.shape, other.shape)
        if axis is None:
            return
        self.differ = self.differ or reference.shape != other.shape
        self._reference += reference.shape[axis]
        self._other += other.shape[axis]
        self._whole = self._whole and reference.dtype.kind in "iub"
        if self._whole:
            self._matched += (_rows(reference, axis) & _rows(other, axis)).total()

    def found(self) -> Rows | None:
        """The counts; None where both models gave arrays of the same shape every time."""
        if not self.differ:
            return None
        return Rows(self._reference, self._other, self._matched if self._whole else None)


def _row_axis(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """Return the axis along which two shapes differ; the first one where they do not, None where no axis is alone."""
    if len(one) != len(two) or not one:
        return None
    differing = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    return None if len(differing) > 1 else (differing or [0])[0]


def _rows(array: NDArray[Any], axis: int) -> Counter[bytes]:
    rows = np.ascontiguousarray(np.moveaxis(array, axis, 0).astype(np.int64))
    return Counter(row.tobytes() for row in rows)
