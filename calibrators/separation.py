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

_MOST_STEPS = 64
"""Decisions of a sample up to which an output of rank 3 is taken for a sequence, a text or a row of labels."""

_MAP_PLACES = 16
"""Places of a map of classes for each class, at least: of fewer it may be features."""

_ALIKE = 0.75
"""So many places of a map of classes, at least, have the class of the place beside them; large features have not."""

_LINES_LOOKED_AT = 64

_PLACES_LOOKED_AT = 4096
"""Places of a sample that count, evenly over the map: hundreds of thousands say no more."""

_DECIDED = 0.95
"""Probability of the best class from which on a decision is plain; so are most of a sequence of classes."""


def class_axis(output: NDArray[np.generic]) -> int | None:
    """The axis of the classes of a sequence of decisions, such as the letters of a text; None where it is none.

    Features have many values alike; scores of classes mostly have one that stands out by far.

    Args:
        output: Any shape; sequences are [N, steps, classes] or [N, classes, steps].
    """
    if output.dtype.kind != "f" or output.ndim != 3 or not output.size:
        return None
    plain = {axis: _plainness(np.asarray(output, np.float64), axis) for axis in (1, 2) if _fits(output, axis)}
    best = max(plain, key=plain.__getitem__, default=None)
    return best if best is not None and plain[best] >= _DECIDED else None


def map_axis(output: NDArray[np.generic]) -> int | None:
    """The axis of the classes of a map, such as a segmentation gives; None where an output is none.

    Args:
        output: Any shape; maps are [N, classes, ...] or [N, ..., classes] of two axes of places or more, with three
            classes at least: of two numbers, softmax does not tell classes from the two of a flow.
    """
    if output.dtype.kind != "f" or output.ndim < 4 or not output.size:
        return None
    places = output.size // len(output)
    for axis in (1, output.ndim - 1):
        fits = 2 < output.shape[axis] <= places / output.shape[axis] / _MAP_PLACES
        if fits and _plainness(some_places(output, axis), 1) >= _DECIDED and _alike(output, axis) >= _ALIKE:
            return axis
    return None


def _alike(output: NDArray[np.generic], axis: int) -> float:
    """The share of places whose largest number is that of the place beside them too, on some lines of a map."""
    rows = np.moveaxis(output, axis, -1)
    lines = np.prod(rows.shape[:-2], dtype=int)
    numbers = np.unique(np.linspace(0, lines - 1, min(lines, _LINES_LOOKED_AT)).astype(int))
    best = np.asarray(rows[np.unravel_index(numbers, rows.shape[:-2])]).argmax(axis=-1)
    return float(np.mean(best[:, 1:] == best[:, :-1])) if best.shape[1] > 1 else 0.0


def some_places(output: NDArray[np.generic], axis: int) -> NDArray[np.float64]:
    """Rows of the numbers of some places of a map, the same ones of every map of this shape: shape [R, classes].

    Args:
        output: Of rank 3 or more, samples first.
        axis: Of the classes.
    """
    rows = np.moveaxis(output, axis, -1)
    count = rows.size // rows.shape[-1]
    kept = min(count, _PLACES_LOOKED_AT * len(rows))
    numbers = (np.arange(kept) * count) // kept
    return np.asarray(rows[np.unravel_index(numbers, rows.shape[:-1])], np.float64)


def _fits(output: NDArray[np.generic], axis: int) -> bool:
    return bool(output.shape[axis] > 1 and 1 < output.shape[3 - axis] <= _MOST_STEPS)


def _plainness(output: NDArray[np.float64], axis: int) -> float:
    """The median probability of the best class along an axis, softmax taken of scores; 0 where not all is finite."""
    rows = np.moveaxis(output, axis, -1).reshape(-1, output.shape[axis])
    if not np.isfinite(rows).all():
        return 0.0
    shares = _are_shares(rows)
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return float(np.median(np.where(shares, rows.max(axis=1), 1 / powers.sum(axis=1))))


def _are_shares(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows, along the last axis, are probabilities."""
    found: NDArray[np.bool_] = (rows >= 0).all(axis=-1) & (np.abs(rows.sum(axis=-1) - 1) < 1e-3)
    return found


class ScoreNoise:
    """Running sums over rows of class scores, or over sequences; memory does not grow with them.

    A class is lost where the error of the difference of two scores is as large as that difference. So the error counts
    beside the distance of the best class from the second best one: few rows say much of it, other than of the share of
    rows whose best class changes. What all scores of a row have in common decides nothing and is left out.
    """

    def __init__(self) -> None:
        self._margins: NDArray[np.int64] = np.zeros((_HIGHEST - _LOWEST) * _STEPS, np.int64)
        self._squares = 0.0
        self.count = 0

    def observe(self, reference: ArrayLike, other: ArrayLike) -> None:
        """Add a pair of class scores; samples with NaN or Inf are left out.

        Args:
            reference: FP32 scores, shape [N, C] or, of sequences, [N, steps, C], at least two classes; probabilities
                count by their logarithms. A sequence counts by the step whose best two classes are closest: where one
                is lost, the whole is wrong.
            other: Scores of the quantized model, same shape.

        Raises:
            ParameterError: The shapes differ, or are no rows of at least two scores.
        """
        one, two = np.asarray(reference, np.float64), np.asarray(other, np.float64)
        if one.shape != two.shape or one.ndim not in (2, 3) or one.shape[-1] < 2 or 0 in one.shape[1:]:
            raise ParameterError(f"Scores of shapes {one.shape} and {two.shape} are no rows of classes to compare.")
        one, two = (rows.reshape(len(rows), -1, rows.shape[-1]) for rows in (one, two))
        finite = np.isfinite(one).all(axis=(1, 2)) & np.isfinite(two).all(axis=(1, 2))
        one, two = one[finite], two[finite]
        shares = _are_shares(one)[..., None]
        one, two = (np.where(shares, np.log(np.maximum(rows, _LEAST_SHARE)), rows) for rows in (one, two))
        error = two - one
        error -= error.mean(axis=-1, keepdims=True)
        self._squares += float(np.mean(error * error, axis=(1, 2)).sum())
        best = np.partition(one, -2, axis=-1)
        self._count_margins((best[..., -1] - best[..., -2]).min(axis=1))
        self.count += len(one)

    def _count_margins(self, margins: NDArray[np.float64]) -> None:
        with np.errstate(divide="ignore"):
            places = np.floor((np.log2(margins) - _LOWEST) * _STEPS)
        np.add.at(self._margins, np.clip(places, 0, self._margins.size - 1).astype(np.intp), 1)

    @property
    def ratio(self) -> float:
        """Standard deviation of the error of a difference of two scores, over the median distance of the best two.

        Of a sequence it is the smallest such distance of its steps.

        Raises:
            NoDataError: No rows were compared.
        """
        if self.count == 0:
            raise NoDataError("No scores were compared, so there is no error to report.")
        middle = int(np.searchsorted(np.cumsum(self._margins), (self.count + 1) / 2))
        margin = math.exp2(_LOWEST + (middle + 0.5) / _STEPS)
        return math.sqrt(2 * self._squares / self.count) / margin
