"""Histogram: the running statistic of one tensor, in constant memory, exact under any order, splitting and merging."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrators import kernels
from calibrators.cells import CELLS, CENTER, Cells
from calibrators.errors import NonFiniteError, ParameterError
from calibrators.excerpts import Excerpts

LARGEST_COUNT = 1 << 53
"""Values a histogram holds at most: what float64 arithmetic on counts keeps exactly."""

_SMALLEST_EXPONENT = -126  # of a bin width: it and its inverse are normal float32 numbers
_LARGEST_FINITE = 0x7F7FFFFF
_CHUNK = 1 << 16  # values converted at a time where an array is not contiguous float32
_ACCEPTED = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


class Histogram:
    """Counts of all values a tensor has taken, in signed bins of power-of-two width.

    Bin i counts the values x with trunc(x / bin_width) = i, so bin 0 is the open interval (-width, width), -x falls
    in the mirrored bin and bins of |x| are exact. The width follows from the largest absolute value alone: with
    amax = m * 2**e, 0.5 <= m < 1, it is 2**(e - 12) (never below 2**-126), which puts amax in |x| bin 2048..4095.
    When a larger value arrives, bins are folded in pairs, i -> trunc(i / 2), which is exactly what counting with the
    wider bins would have given. So the state is a function of the multiset of observed values: order, batch size,
    splitting and the grouping of merges change nothing, and values scaled by 2**k give the same counts (while widths
    stay above 2**-126).

    `excerpts` holds pieces of the tensor from a few samples, where somebody puts them there; they merge as exactly.

    Not to be fed by two threads at once: give each its own and `merge` them.

    Source: rules, section 5.4.
    """

    __hash__ = None  # type: ignore[assignment]  # state changes

    def __init__(self) -> None:
        self.excerpts = Excerpts()
        self._exponent = _SMALLEST_EXPONENT
        self._cells: NDArray[np.integer[Any]] = np.zeros(0, np.int64)  # of a narrow type where read from a file
        self._first = 0  # number of the bin counted in _cells[0]
        self._open: Cells | None = None  # in place of these two, once values are counted here
        self._count = 0
        self._low_key = 0
        self._high_key = 0

    @property
    def count(self) -> int:
        """How many values were observed."""
        return self._count

    @property
    def minimum(self) -> float:
        """Smallest value observed, exactly (a float32 number; -0.0 counts as 0.0); 0.0 before the first."""
        return kernels.key_to_float(self._low_key)

    @property
    def maximum(self) -> float:
        """Largest value observed, exactly (a float32 number; -0.0 counts as 0.0); 0.0 before the first."""
        return kernels.key_to_float(self._high_key)

    @property
    def amax(self) -> float:
        """Largest absolute value observed, exactly; 0.0 before the first."""
        return max(abs(self.minimum), abs(self.maximum))

    @property
    def bin_width(self) -> float:
        """Width of a bin in the tensor's units: a power of two."""
        return float(2.0**self._exponent)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Counts of the signed bins -4095..4095, shape [8191], bin 0 at index 4095; read-only."""
        counts = self._all_counts().view()
        counts.flags.writeable = False
        return counts

    def magnitudes(self) -> NDArray[np.int64]:
        """Counts of the bins of |x|, shape [4096]: bin i is [i, i + 1) * bin_width."""
        cells = self._all_counts()
        magnitudes = cells[CENTER:].copy()
        magnitudes[1:] += cells[CENTER - 1 :: -1]
        return magnitudes

    def observe(self, array: ArrayLike) -> None:
        """Count every value of `array`.

        Args:
            array: Any shape (empty and rank 0 too), float16, float32 or float64. float64 is rounded to float32, the
                type in which tensors are calibrated. A contiguous float32 buffer is read in place.

        Raises:
            NonFiniteError: A value is NaN or Inf; nothing of the array has been counted then.
            ParameterError: The array does not hold floating-point values.
        """
        values = np.asarray(array)
        if values.dtype == np.float32 and values.flags.c_contiguous and values.size <= kernels.LARGEST_CALL:
            self._observe_flat(values.reshape(-1))
            return
        if values.dtype.newbyteorder("=") not in _ACCEPTED:
            raise ParameterError(
                f"A histogram counts float16, float32 or float64 values, found {values.dtype}.",
                "Convert the array first.",
            )
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes Inf, which is refused by name
            for piece in () if _finite_halves(values) else _pieces(values):
                _check_finite(piece)
            for piece in _pieces(values):
                self._observe_flat(piece)

    def with_excerpts(self, excerpts: Excerpts) -> Histogram:
        """Return a histogram of the same values with other pieces beside it; neither of the two is to be added to."""
        found = copy(self)
        found.excerpts = excerpts
        return found

    def merge(self, other: Histogram) -> None:
        """Add everything `other` has observed; exact, associative and commutative.

        Args:
            other: Left as it is; may be `self`.
        """
        self.excerpts.merge(other.excerpts)
        if other._count == 0:
            return
        self._widen(other._exponent)
        first, cells = fold(*other._stored(), self._exponent - other._exponent)
        mine = self._complete_cells().counts
        self._note_extremes(other._low_key, other._high_key)
        mine[CENTER + first : CENTER + first + cells.size] += cells
        self._count += other._count

    def copy(self) -> Histogram:
        """An independent histogram with equal state."""
        twin = Histogram()
        twin.merge(self)
        return twin

    def occupied(self) -> tuple[int, NDArray[np.int64]]:
        """(i, counts) from the first bin i that holds a value to the last that does; (0, empty) before the first.

        With `minimum` and `maximum` this is the whole state; `from_occupied` is the way back.
        """
        if self._count == 0:
            return 0, np.zeros(0, np.int64)
        first, last = _bin_of(self.minimum, self._exponent), _bin_of(self.maximum, self._exponent)
        start, cells = self._stored()
        return first, cells[first - start : last - start + 1].astype(np.int64)

    @classmethod
    def from_occupied(cls, minimum: float, maximum: float, counts: NDArray[np.int64]) -> Histogram:
        """Rebuild a histogram from its extremes and the counts between them.

        Args:
            minimum: Smallest value, a float32 number.
            maximum: Largest value, a float32 number.
            counts: From the bin of `minimum` to the bin of `maximum`, both at least 1; empty for an empty histogram
                (minimum = maximum = 0.0).

        Raises:
            ParameterError: The numbers contradict each other.
        """
        histogram = cls()
        if counts.size == 0 and minimum == maximum == 0.0:
            return histogram
        size = occupied_bins(minimum, maximum)
        if counts.shape != (size,):
            raise ParameterError(
                f"Counts of shape {counts.shape} do not fit the values from {minimum} to {maximum}, "
                f"which span {size} bins."
            )
        total = (
            int(counts.sum(dtype=np.int64)) if counts.sum(dtype=np.float64) <= 2 * LARGEST_COUNT else LARGEST_COUNT + 1
        )
        needed = 1 if minimum == maximum else 2
        if counts.min() < 0 or counts[0] < 1 or counts[-1] < 1 or not needed <= total <= LARGEST_COUNT:
            raise ParameterError(f"Counts of values from {minimum} to {maximum} are negative, missing or too large.")
        histogram._note_extremes(_key_of_number(minimum), _key_of_number(maximum))
        histogram._exponent = _exponent_for(histogram._low_key, histogram._high_key)
        histogram._first = _bin_of(minimum, histogram._exponent)
        narrow = np.min_scalar_type(~int(counts.max()))  # ~128 is -129: int8 goes from -128 to 127
        histogram._cells, histogram._count = counts.astype(narrow), total
        return histogram

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine = (self._count, self._low_key, self._high_key)
        if mine != (other._count, other._low_key, other._high_key):
            return False
        return self.excerpts == other.excerpts and bool(np.array_equal(self.occupied()[1], other.occupied()[1]))

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, minimum={self.minimum}, maximum={self.maximum})"

    def _observe_flat(self, values: NDArray[np.float32]) -> None:
        """Count contiguous values; nothing happens if one is not finite."""
        if values.size == 0:
            return
        count = kernels.counter(self._count)
        done, low, high = count(values, self._inverse_width(), self._limit(), self._complete_cells())
        if done < values.size:
            low, high = self._count_rest(count, values, done, (low, high))
        self._note_extremes(low, high)
        self._count += values.size

    def _count_rest(
        self, count: kernels.Counter, values: NDArray[np.float32], done: int, ends: tuple[int, int]
    ) -> tuple[int, int]:
        """Count what a counter stopped in front of, in wider bins; returns the keys of the extremes of all values.

        Raises:
            NonFiniteError: A value is NaN or Inf; what was counted before it is taken back.
        """
        smallest, largest = kernels.extremes(values[done:])
        low, high = min(ends[0], smallest), max(ends[1], largest)
        if not kernels.within(low, high, _LARGEST_FINITE):
            self._take_back(values[:done])
            _check_finite(values)
        self._widen(_exponent_for(low, high))
        count(values[done:], self._inverse_width(), self._limit(), self._complete_cells())
        return low, high

    def _take_back(self, values: NDArray[np.float32]) -> None:
        """Undo the counting of values, in the bins in which they were counted."""
        if values.size:
            counted = Cells()
            kernels.count_with_numpy(values, self._inverse_width(), self._limit(), counted)
            self._complete_cells().counts[:] -= counted.counts

    def _inverse_width(self) -> np.float32:
        return np.float32(2.0**-self._exponent)

    def _limit(self) -> int:
        """float32 bits of the largest magnitude that the bins reach."""
        return ((self._exponent + 12 + 127) << 23) - 1

    def _widen(self, exponent: int) -> None:
        """Fold the bins until their width is 2**exponent; nothing to do if it is that already, or more."""
        if exponent <= self._exponent:
            return
        self._first, self._cells = fold(*self._stored(), exponent - self._exponent)
        self._open, self._exponent = None, exponent

    def _note_extremes(self, low: int, high: int) -> None:
        """Take the keys of newly counted values into account; -0.0 (key -1) becomes 0.0."""
        low, high = low + (low == -1), high + (high == -1)
        self._low_key = min(self._low_key, low) if self._count else low
        self._high_key = max(self._high_key, high) if self._count else high

    def _stored(self) -> tuple[int, NDArray[np.integer[Any]]]:
        """(number of the first bin, counts from there on), as they are stored."""
        return (self._first, self._cells) if self._open is None else (-CENTER, self._open.counts)

    def _all_counts(self) -> NDArray[np.int64]:
        """All CELLS counts. What is stored stays as it is, so tables read from a file stay as small as the file is."""
        if self._open is not None:
            return self._open.counts
        start, counts = CENTER + self._first, np.zeros(CELLS, np.int64)
        counts[start : start + self._cells.size] = self._cells
        return counts

    def _complete_cells(self) -> Cells:
        """All CELLS counts, to be counted into; allocated when first needed."""
        if self._open is None:
            self._open = Cells(self._all_counts() if self._cells.any() else None)
            self._cells = np.zeros(0, np.int64)
        return self._open


def occupied_bins(minimum: float, maximum: float) -> int:
    """How many bins there are from the bin of `minimum` to the bin of `maximum`, for a histogram of these extremes.

    Raises:
        ParameterError: They are not finite float32 numbers in ascending order.
    """
    exponent = _exponent_for(_key_of_number(minimum), _key_of_number(maximum))
    if minimum > maximum:
        raise ParameterError(f"The smallest value {minimum} is above the largest, {maximum}.")
    return _bin_of(maximum, exponent) - _bin_of(minimum, exponent) + 1


def fold(first: int, cells: NDArray[np.integer[Any]], times: int) -> tuple[int, NDArray[np.integer[Any]]]:
    """Double the bin width `times` times.

    Args:
        first: Number of the first bin.
        cells: Counts of the bins first, first + 1, ..., shape [n].
        times: How often bin i becomes bin trunc(i / 2); 0 hands back what came in.

    Returns:
        The same for the wider bins, as (first, counts); the sum of the counts is unchanged.
    """
    if times == 0 or cells.size == 0:
        return first, cells
    numbers = np.arange(first, first + cells.size)
    folded = np.sign(numbers) * (np.abs(numbers) >> min(times, 12))
    wider = np.zeros(int(folded[-1] - folded[0]) + 1, np.int64)
    np.add.at(wider, folded - folded[0], cells)
    return int(folded[0]), wider


def _pieces(values: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """The values as contiguous float32 arrays, in memory order, converted in small portions where that is needed."""
    contiguous: Any = [["readonly", "contig"]]  # NumPy's type stubs do not know "contig"
    pieces = np.nditer(
        [values],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=contiguous,
        op_dtypes=[np.dtype(np.float32)],
        casting="same_kind",
        order="K",
        buffersize=_CHUNK,
    )
    with pieces:
        for piece in pieces:
            yield np.asarray(piece)


def _finite_halves(values: NDArray[Any]) -> bool:
    """Whether the values are known to be finite float16 numbers, by their bits: converting them costs far more."""
    if values.dtype != np.float16 or not values.flags.c_contiguous or not values.dtype.isnative or not values.size:
        return False
    return bool(values.view(np.int16).max() < 0x7C00 and values.view(np.uint16).max() < 0xFC00)


def _check_finite(values: NDArray[np.float32]) -> None:
    """Raise NonFiniteError if a value is NaN or Inf, saying which and how many."""
    if np.isfinite(values).all():
        return
    nans, infinities = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    found = " and ".join(f"{number} {what}" for number, what in ((nans, "NaN"), (infinities, "Inf")) if number)
    raise NonFiniteError(f"Found {found} among {values.size} values, expected finite values only.")


def _exponent_for(low: int, high: int) -> int:
    """Exponent of the bin width for values between two keys: frexp exponent of the amax, less 12."""
    magnitude = max(high if high >= 0 else -1 - high, low if low >= 0 else -1 - low)
    return max((magnitude >> 23) - 126 - 12, _SMALLEST_EXPONENT)


def _bin_of(value: float, exponent: int) -> int:
    return int(value * 2.0**-exponent)


def _key_of_number(value: float) -> int:
    """Key of a value that must be a finite float32 number."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value))
    if not np.isfinite(rounded) or rounded != value:
        raise ParameterError(f"{value!r} is not a finite float32 number.")
    return kernels.float_to_key(rounded)
