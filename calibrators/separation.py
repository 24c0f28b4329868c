"""How large the error of class scores is beside the distance of the two best classes, added up pair by pair."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrators.errors import NoDataError, ParameterError

_LEAST_SHARE = 1e-7
"""Probabilities below this are as good as 0: FP32 adds up to 1 no more exactly."""

_STEPS = 16
"""Bins of the distances in each power of two, so that their median is known within 2 %."""

_LOWEST, _HIGHEST = -40, 40
"""Powers of two between which distances are told apart."""


class ScoreNoise:
    """Running sums over rows of class scores; memory does not grow with the rows.

    A class is lost where the error of the difference of two scores is as large as that difference. So the error counts
    beside the distance of the best class from the second best one: few rows say much of it, other than of the share of
    rows whose best class changes. What all scores of a row have in common decides nothing and is left out.
    """

    def __init__(self) -> None:
        self._margins: NDArray[np.int64] = np.zeros((_HIGHEST - _LOWEST) * _STEPS, np.int64)
        self._squares = 0.0
        self.count = 0

    def observe(self, reference: ArrayLike, other: ArrayLike) -> None:
        """Add a pair of class scores; rows with NaN or Inf are left out.

        Args:
            reference: FP32 scores, shape [N, C], at least two classes; rows of probabilities count by their logarithms.
            other: Scores of the quantized model, same shape.

        Raises:
            ParameterError: The shapes differ, or are no rows of at least two scores.
        """
        one, two = np.asarray(reference, np.float64), np.asarray(other, np.float64)
        if one.shape != two.shape or one.ndim != 2 or one.shape[1] < 2:
            raise ParameterError(f"Scores of shapes {one.shape} and {two.shape} are no rows of classes to compare.")
        finite = np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1)
        one, two = one[finite], two[finite]
        shares = (one >= 0).all(axis=1) & (np.abs(one.sum(axis=1) - 1) < 1e-3)
        one, two = (np.where(shares[:, None], np.log(np.maximum(rows, _LEAST_SHARE)), rows) for rows in (one, two))
        error = two - one
        error -= error.mean(axis=1, keepdims=True)
        self._squares += float(np.mean(error * error, axis=1).sum())
        best = np.partition(one, -2, axis=1)
        self._count_margins(best[:, -1] - best[:, -2])
        self.count += len(one)

    def _count_margins(self, margins: NDArray[np.float64]) -> None:
        with np.errstate(divide="ignore"):
            places = np.floor((np.log2(margins) - _LOWEST) * _STEPS)
        np.add.at(self._margins, np.clip(places, 0, self._margins.size - 1).astype(np.intp), 1)

    @property
    def ratio(self) -> float:
        """Standard deviation of the error of a difference of two scores, over the median distance of the best two.

        Raises:
            NoDataError: No rows were compared.
        """
        if self.count == 0:
            raise NoDataError("No scores were compared, so there is no error to report.")
        middle = int(np.searchsorted(np.cumsum(self._margins), (self.count + 1) / 2))
        margin = math.exp2(_LOWEST + (middle + 0.5) / _STEPS)
        return math.sqrt(2 * self._squares / self.count) / margin
