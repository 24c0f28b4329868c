"""Distances between FP32 and QDQ outputs, and between their classes, summed up pair by pair."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrators.errors import NoDataError, ParameterError

SQNR_CEILING_DB = 200.0
"""Stands for equal outputs (and, negative, for noise without signal), so that every SQNR is a finite number."""

_PORTION = 1 << 18  # elements converted to float64 at a time


@dataclass(frozen=True)
class Distances:
    """How far the QDQ outputs are from the FP32 outputs; every number is finite, so the record is valid JSON.

    Args:
        count: Elements compared.
        sqnr_db: 10 log10(sum reference**2 / sum (reference - other)**2) in dB, within +-200; 200 if there is no error,
            -200 if there is an error and the reference is all zero, or if `non_finite` is not 0.
        mse: Mean of (reference - other)**2.
        cosine: sum reference * other / sqrt(sum reference**2 * sum other**2) in [-1, 1]; 1 if both are all zero, 0 if
            one is.
        max_error: Largest abs(reference - other).
        non_finite: Elements that are NaN or Inf in one output and not the same in the other. They are in no sum; nor
            are elements where both are the same Inf or both NaN, which agree.
    """

    count: int
    sqnr_db: float
    mse: float
    cosine: float
    max_error: float
    non_finite: int


class Comparison:
    """Running sums over pairs of outputs in float64; memory does not grow with the number of pairs."""

    def __init__(self) -> None:
        self._count = 0
        self._non_finite = 0
        self._signal = self._other = self._product = self._noise = self._max_error = 0.0

    def observe(self, reference: ArrayLike, other: ArrayLike) -> None:
        """Add a pair of outputs.

        Args:
            reference: FP32 output, any shape; integers and booleans are compared as numbers.
            other: QDQ output of the same shape.

        Raises:
            ParameterError: The shapes differ.
        """
        one, two = np.asarray(reference), np.asarray(other)
        if one.shape != two.shape:
            raise ParameterError(f"Outputs of shapes {one.shape} and {two.shape} cannot be compared.")
        one, two = one.reshape(-1), two.reshape(-1)
        for start in range(0, one.size, _PORTION):
            self._add(
                one[start : start + _PORTION].astype(np.float64), two[start : start + _PORTION].astype(np.float64)
            )
        self._count += one.size

    def distances(self) -> Distances:
        """The distances so far.

        Raises:
            NoDataError: Nothing was compared.
        """
        if self._count == 0:
            raise NoDataError("No outputs were compared, so there is no distance to report.")
        return Distances(
            count=self._count,
            sqnr_db=-SQNR_CEILING_DB if self._non_finite else sqnr_of_sums(self._signal, self._noise),
            mse=_finite(self._noise / self._count),
            cosine=_cosine(self._product, self._signal, self._other),
            max_error=_finite(self._max_error),
            non_finite=self._non_finite,
        )

    def _add(self, one: NDArray[np.float64], two: NDArray[np.float64]) -> None:
        finite = np.isfinite(one) & np.isfinite(two)
        if not finite.all():
            agree = (one == two) | (np.isnan(one) & np.isnan(two))
            self._non_finite += int(np.count_nonzero(~finite & ~agree))
            one, two = one[finite], two[finite]
        with np.errstate(over="ignore"):
            error = one - two
            self._signal += float(np.sum(one * one))
            self._other += float(np.sum(two * two))
            self._product += float(np.sum(one * two))
            self._noise += float(np.sum(error * error))
            self._max_error = max(self._max_error, float(np.max(np.abs(error), initial=0.0)))


class TopAgreement:
    """How often the class that FP32 scores highest is among the highest of QDQ.

    Args:
        best: How many of the QDQ classes count: 1 for top-1 agreement, 5 for top-5.
    """

    def __init__(self, best: int = 1) -> None:
        self.count = 0
        self.agreed = 0
        self._best = best

    def observe(self, reference: ArrayLike, other: ArrayLike, axis: int = -1) -> None:
        """Add a pair of class scores.

        Args:
            reference: FP32 scores, any shape; the largest along `axis` is the class, the first of equal ones.
            other: QDQ scores of the same shape; of equal ones the first is the higher.
            axis: The class axis.

        Raises:
            ParameterError: The shapes differ, or there are no classes along the axis.
        """
        one, two = _scores(reference, other, axis)
        best = one.argmax(axis=-1)
        same = best == two.argmax(axis=-1) if self._best == 1 else _rank(two, best) < self._best
        self.count += same.size
        self.agreed += int(np.count_nonzero(same))

    @property
    def percent(self) -> float:
        """Share of equal classes, 0 to 100.

        Raises:
            NoDataError: Nothing was compared.
        """
        if self.count == 0:
            raise NoDataError("No scores were compared, so there is no agreement to report.")
        return 100.0 * self.agreed / self.count


class ClassDivergence:
    """Mean Kullback-Leibler divergence of the QDQ class probabilities from the FP32 ones, in nats.

    Probabilities are the softmax of the scores; a row of FP32 scores that already is a distribution (no element below
    0, sum 1 to a thousandth) is taken as it is, and so is the QDQ row, scaled to the sum 1.
    """

    def __init__(self) -> None:
        self.count = 0
        self._total = 0.0

    def observe(self, reference: ArrayLike, other: ArrayLike, axis: int = -1) -> None:
        """Add a pair of class scores; a row with NaN or Inf in one of them has no divergence and is left out.

        Args:
            reference: FP32 scores, any shape.
            other: QDQ scores of the same shape.
            axis: The class axis.

        Raises:
            ParameterError: The shapes differ, or there are no classes along the axis.
        """
        one, two = _scores(reference, other, axis)
        one, two = (array.reshape(-1, array.shape[-1]).astype(np.float64) for array in (one, two))
        finite = np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1)
        one, two = one[finite], two[finite]
        given = (one >= 0).all(axis=1) & (np.abs(one.sum(axis=1) - 1) < 1e-3)
        p = np.where(given[:, None], _log_shares(one), _log_softmax(one))
        q = np.where(given[:, None], _log_shares(two), _log_softmax(two))
        self._total += float(np.sum(np.exp(p) * (p - q)))
        self.count += len(one)

    @property
    def nats(self) -> float:
        """Mean over the rows, 0 or more.

        Raises:
            NoDataError: Nothing was compared.
        """
        if self.count == 0:
            raise NoDataError("No scores were compared, so there is no divergence to report.")
        return max(0.0, self._total / self.count)


def are_class_scores(array: NDArray[np.generic]) -> bool:
    """Say whether an output is rows of float scores, at least two a row: what a classifier gives."""
    return array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] >= 2


def sqnr_db(reference: ArrayLike, other: ArrayLike) -> float:
    """SQNR of one pair of arrays in dB, as `Distances` defines it."""
    comparison = Comparison()
    comparison.observe(reference, other)
    return comparison.distances().sqnr_db


_LEAST_SHARE = 1e-12
"""Stands for the probability 0, whose logarithm is not finite."""


def _scores(reference: ArrayLike, other: ArrayLike, axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two arrays of scores with the class axis last."""
    one, two = np.asarray(reference), np.asarray(other)
    if one.shape != two.shape or one.ndim == 0 or one.shape[axis] == 0:
        raise ParameterError(f"Scores of shapes {one.shape} and {two.shape} have no classes to compare.")
    return np.moveaxis(one, axis, -1), np.moveaxis(two, axis, -1)


def _rank(scores: NDArray[Any], classes: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many scores of each row are higher than that of a class; equal ones before it count too."""
    own = np.take_along_axis(scores, classes[..., None], axis=-1)
    earlier = np.arange(scores.shape[-1]) < classes[..., None]
    return np.asarray(np.sum((scores > own) | ((scores == own) & earlier), axis=-1))


def _log_softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = rows - rows.max(axis=1, keepdims=True, initial=-np.inf)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _log_shares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.maximum(rows, _LEAST_SHARE)
    return np.asarray(np.log(kept / kept.sum(axis=1, keepdims=True)))


def sqnr_of_sums(signal: float, noise: float) -> float:
    """SQNR in dB of sum reference**2 and sum (reference - other)**2, within +-200 as `Distances` defines it."""
    if noise == 0.0:
        return SQNR_CEILING_DB
    if signal == 0.0 or math.isinf(noise):
        return -SQNR_CEILING_DB
    return float(np.clip(10.0 * (math.log10(_finite(signal)) - math.log10(noise)), -SQNR_CEILING_DB, SQNR_CEILING_DB))


def sqnr_of_ratio(noise: float) -> float:
    """SQNR in dB of a noise-to-signal ratio: sum (reference - other)**2 over sum reference**2; within +-200."""
    return sqnr_of_sums(1.0, max(noise, 0.0))


def _cosine(product: float, signal: float, other: float) -> float:
    if signal == 0.0 or other == 0.0:
        return 1.0 if signal == other else 0.0
    cosine = product / (math.sqrt(signal) * math.sqrt(other))
    return min(max(cosine, -1.0), 1.0) if math.isfinite(cosine) else 0.0


def _finite(value: float) -> float:
    return min(value, sys.float_info.max)
