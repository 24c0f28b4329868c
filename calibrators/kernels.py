"""The counting loop: compiled where Numba is there, NumPy otherwise, equal bit for bit.

A counter takes float32 values and adds them to signed cells: cell `CENTER + trunc(x / width)`. It also returns the two
extremes as sortable keys: `key(x)` is the int32 that orders like the float (bits for x >= 0, -1 - bits(|x|) below), so
that minimum, maximum and NaN detection are one integer pass that vectorizes. A value whose magnitude is above `limit`
(and so every Inf and NaN) stops the counter before it has counted anything: the caller then widens the cells.

Importing Numba takes about 0.4 s, so it happens at the first call of `warm_up()` or when a histogram has seen enough
values to make that worth it, never on import. `QDQ_NO_NUMBA=1` in the environment keeps it away altogether.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELLS = 8191
"""Signed cells -4095..4095; cell 0 is the open interval (-width, width)."""

CENTER = 4095
"""Position of cell 0 in an array of CELLS counts."""

Counter = Callable[[NDArray[np.float32], np.float32, int, NDArray[np.int64]], tuple[int, int]]
"""(values [n >= 1] contiguous, 1 / width, limit, cells [CELLS]) -> keys of (smallest, largest) value."""

WORTH_COMPILING = 1 << 20
"""Values a histogram has seen before it asks for the compiled counter: a few milliseconds of NumPy."""

LARGEST_CALL = 1 << 31
"""Values a counter takes in one call: a lane counts a quarter of them in 32 bits."""

_BLOCK = 1 << 16  # values the NumPy counter holds at a time: 0.75 MB of temporaries
_SPARSE = 1 << 10  # below this many values, adding them one by one beats a bincount over the cells
_DIRECT = 1 << 13  # below this many values, emptying the four lanes costs more than they save
_INDEX = 512  # indices computed ahead of the increments: stays in the first-level cache
_SPARE = 128  # cells that bin 0 takes turns with
_SIGN_CLEARED = np.int32(0x7FFFFFFF)
_ONE = np.uint32(1)


def float_to_key(value: float) -> int:
    """Sortable int32 key of a float32 value; -0.0 has key -1, 0.0 has key 0."""
    (bits,) = struct.unpack("<i", struct.pack("<f", value))
    return int(bits) if bits >= 0 else -1 - (bits & 0x7FFFFFFF)


def key_to_float(key: int) -> float:
    """The float32 value that has this key, as a Python float (exact)."""
    bits = key if key >= 0 else (-1 - key) | 0x80000000
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    return float(value)


def within(low: int, high: int, limit: int) -> bool:
    """Whether every value between two keys has a magnitude of at most `limit` (float32 bits)."""
    return high <= limit and low >= -1 - limit


def count_with_numpy(
    values: NDArray[np.float32], inverse_width: np.float32, limit: int, cells: NDArray[np.int64]
) -> tuple[int, int]:
    """Count `values` into `cells` (see `Counter`) with NumPy, block by block."""
    with np.errstate(invalid="ignore", under="ignore"):
        smallest, largest = values.min(), values.max()
        low, high = float_to_key(float(smallest)), float_to_key(float(largest))
        if not within(low, high, limit):
            return low, high
        first = CENTER + int(smallest * inverse_width)
        last = CENTER + int(largest * inverse_width)
        for start in range(0, values.size, _BLOCK):
            _count_block(values[start : start + _BLOCK] * inverse_width, first, cells[first : last + 1])
    return low, high


def _count_block(scaled: NDArray[np.float32], first: int, cells: NDArray[np.int64]) -> None:
    """Add the truncated `scaled` values to `cells`, whose element 0 is cell number `first`."""
    index = scaled.astype(np.intp)  # truncates towards zero
    index += CENTER - first
    if scaled.size < _SPARSE:
        np.add.at(cells, index, 1)
    else:
        cells += np.bincount(index, minlength=cells.size)


# Repeated values would wait for the same counter, so four lanes of uint32 counters take turns, and bin 0, where the
# zeros behind a Relu go, has 128 spare cells that take turns as well (otherwise the processor bets on one more zero,
# and every lost bet costs as much as a dozen values). Lanes are zero on entry and on return. Indices are computed a
# block ahead because that loop vectorizes; the second half of `index` holds the spare cell for each place of a block.
# Unsigned index types keep Numba from emitting code for negative indices.
def _count_interleaved(
    values: Any, inverse_width: Any, limit: Any, cells: Any, lanes: Any, index: Any
) -> Any:  # pragma: no cover  (compiled by Numba; equal to count_with_numpy by test)
    """Body of the compiled counter; returns (high << 32) | unsigned low, cheaper to hand over than a tuple."""
    keys = values.view(np.int32)
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    for i in range(keys.size):
        key = keys[i] ^ ((keys[i] >> np.int32(31)) & _SIGN_CLEARED)
        low, high = min(low, key), max(high, key)
    packed = (np.int64(high) << np.int64(32)) | (np.int64(low) & np.int64(0xFFFFFFFF))
    if high > limit or low < -1 - limit:
        return packed
    size = np.uint64(values.size)
    blocks = size // np.uint64(_INDEX) if size >= np.uint64(_DIRECT) else np.uint64(0)
    for block in range(blocks):
        start = np.uint64(block) * np.uint64(_INDEX)
        for i in range(np.uint64(_INDEX)):
            number = np.int32(values[start + i] * inverse_width)
            at = np.uint32((number + np.int32(CENTER)) * np.int32(4))
            index[i] = index[i + _INDEX] if number == np.int32(0) else at
        for quad in range(np.uint64(_INDEX // 4)):
            place = np.uint64(quad) * np.uint64(4)
            lanes[np.uint64(index[place])] += _ONE
            lanes[np.uint64(index[place + np.uint64(1)]) + np.uint64(1)] += _ONE
            lanes[np.uint64(index[place + np.uint64(2)]) + np.uint64(2)] += _ONE
            lanes[np.uint64(index[place + np.uint64(3)]) + np.uint64(3)] += _ONE
    for i in range(blocks * np.uint64(_INDEX), size):
        cells[np.uint64(np.int64(values[i] * inverse_width) + CENTER)] += np.int64(1)
    if blocks:
        for cell in range(np.uint64(CELLS + _SPARE)):
            place = np.uint64(cell) * np.uint64(4)
            total = lanes[place] + lanes[place + np.uint64(1)] + lanes[place + np.uint64(2)]
            total += lanes[place + np.uint64(3)]
            cells[np.uint64(cell) if np.uint64(cell) < np.uint64(CELLS) else np.uint64(CENTER)] += np.int64(total)
        lanes[:] = np.uint32(0)
    return packed


class _Lanes(threading.local):
    """The four interleaved counters and the index block of one thread: 132 KB, made once a thread."""

    def __init__(self) -> None:
        self.counters = np.zeros(4 * (CELLS + _SPARE), np.uint32)
        self.index = np.zeros(2 * _INDEX, np.uint32)
        self.index[_INDEX:] = 4 * (CELLS + np.arange(_INDEX) % _SPARE)


class _Compiled:
    """The compiled counter of this process: loaded at most once, by one thread, while others go on with NumPy."""

    def __init__(self) -> None:
        self.counter: Counter | None = None
        self.wanted = os.environ.get("QDQ_NO_NUMBA", "0") in ("", "0")
        self.loading = threading.Lock()

    def load(self, wait: bool) -> Counter | None:
        """Load if nobody has; with `wait` False, None while another thread is at it."""
        if self.counter is None and self.wanted and self.loading.acquire(blocking=wait):
            try:
                if self.counter is None and self.wanted:
                    self.counter = _make_compiled()
                    self.wanted = self.counter is not None
            finally:
                self.loading.release()
        return self.counter


_COMPILED = _Compiled()


def warm_up() -> bool:
    """Load the compiled counter now (0.3 s, about 1 s the first time on a machine), for example in a side thread.

    Returns:
        Whether there is one; False without Numba or with QDQ_NO_NUMBA=1, where NumPy counts.
    """
    return _COMPILED.load(wait=True) is not None


def counter(observed: int) -> Counter:
    """The fastest counter at hand for a histogram that has seen `observed` values.

    The compiled one as soon as it is loaded; loading it is worth its time from `WORTH_COMPILING` values on.
    """
    compiled = _COMPILED.counter
    if compiled is None and observed >= WORTH_COMPILING:
        compiled = _COMPILED.load(wait=False)
    return compiled or count_with_numpy


def _make_compiled() -> Counter | None:
    """Compile or read from Numba's cache; None where Numba is missing or does not fit this NumPy."""
    try:
        import numba
    except (ImportError, OSError):
        return None
    numbers = numba.types
    signature = numbers.int64(
        # A read-only, unaligned parameter takes every contiguous buffer without a second specialisation.
        numbers.Array(numbers.float32, 1, "C", readonly=True, aligned=False),
        numbers.float32,
        numbers.int64,
        numbers.Array(numbers.int64, 1, "C"),
        numbers.Array(numbers.uint32, 1, "C"),
        numbers.Array(numbers.uint32, 1, "C"),
    )
    try:
        compiled = numba.njit([signature], nogil=True, cache=True)(_count_interleaved)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        # No folder for the cache can be written, or what lies there is damaged: compile for this process alone.
        compiled = numba.njit([signature], nogil=True)(_count_interleaved)
    return _bound_to_thread_scratch(compiled)


def _bound_to_thread_scratch(compiled: Callable[..., int]) -> Counter:
    scratch = _Lanes()

    def count_with_numba(
        values: NDArray[np.float32], inverse_width: np.float32, limit: int, cells: NDArray[np.int64]
    ) -> tuple[int, int]:
        packed = compiled(values, inverse_width, limit, cells, scratch.counters, scratch.index)
        return ((packed & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000, packed >> 32

    return count_with_numba
