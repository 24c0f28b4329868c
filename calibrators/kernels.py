"""The counting loop: compiled where Numba is there, NumPy otherwise, equal bit for bit.

A counter takes float32 values and adds them to signed cells: cell `CENTER + trunc(x / width)`. It also returns the two
extremes as sortable keys: `key(x)` is the int32 that orders like the float (bits for x >= 0, -1 - bits(|x|) below), so
that minimum, maximum and NaN detection are one integer pass that vectorizes. In front of a value whose magnitude is
above `limit` (and so of every Inf and NaN) a counter stops: the caller then widens the cells and goes on.

Importing Numba takes about 0.4 s, so it happens at the first call of `warm_up()` or when a histogram has seen enough
values to make that worth it, never on import. `QDQ_NO_NUMBA=1` in the environment keeps it away altogether.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import struct
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calibrators.cells import CENTER, Cells

Counter = Callable[[NDArray[np.float32], np.float32, int, Cells], tuple[int, int, int]]
"""(values [n >= 1] contiguous, 1 / width, limit, cells) -> how many of the first values were counted, and the keys of
the smallest and the largest of those that were looked at. All were, unless a key is beyond the limit."""

WORTH_COMPILING = 1 << 20
"""Values a histogram has seen before it asks for the compiled counter: a few milliseconds of NumPy."""

LARGEST_CALL = 1 << 31
"""Values a counter takes in one call: its counters have 32 bits."""

_BLOCK = 1 << 15  # values the NumPy counter holds at a time: 0.4 MB of temporaries, in the second-level cache


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


def extremes(values: NDArray[np.float32]) -> tuple[int, int]:
    """Keys of the smallest and the largest of some values; NaN among them is beyond every limit."""
    with np.errstate(invalid="ignore"):
        return float_to_key(float(values.min())), float_to_key(float(values.max()))


def count_with_numpy(
    values: NDArray[np.float32], inverse_width: np.float32, limit: int, cells: Cells
) -> tuple[int, int, int]:
    """Count values (see `Counter`) with NumPy, block by block."""
    low, high = extremes(values)
    if not within(low, high, limit):
        return 0, low, high
    ends = (np.float32(key_to_float(key)) for key in (low, high))
    first, last = (CENTER + int(end * inverse_width) for end in ends)
    counts = cells.counts[first : last + 1]
    with np.errstate(under="ignore"):
        for start in range(0, values.size, _BLOCK):
            _count_block(values[start : start + _BLOCK], inverse_width, CENTER - first, counts)
    return values.size, low, high


class _Scratch(threading.local):
    """The temporaries of one thread: memory that is asked for anew costs more than what is done with it."""

    def __init__(self) -> None:
        self.scaled = np.empty(_BLOCK, np.float32)
        self.places = np.empty(_BLOCK, np.intp)


_SCRATCH = _Scratch()


def _count_block(
    values: NDArray[np.float32], inverse_width: np.float32, offset: int, counts: NDArray[np.int64]
) -> None:
    """Add values to `counts`, whose element `offset` is cell number 0."""
    scaled, places = _SCRATCH.scaled[: values.size], _SCRATCH.places[: values.size]
    np.multiply(values, inverse_width, out=scaled)
    np.copyto(places, scaled, casting="unsafe")  # truncates towards zero
    if offset:
        places += offset
    np.add.at(counts, places, 1)  # a fifth less than adding a bincount, which looks for the extremes of its own


class _Compiled:
    """The compiled counter of this process: loaded at most once, by one thread, while others go on with NumPy."""

    def __init__(self) -> None:
        self.counter: Counter | None = None
        self.asked = self.wanted = os.environ.get("QDQ_NO_NUMBA", "0") in ("", "0")
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


def counting() -> str:
    """What counts large tensors in this process so far, and why, in words."""
    if _COMPILED.counter is not None:
        return "code that Numba compiled"
    return f"NumPy, since {_why_numpy()}"


def _why_numpy() -> str:
    if _COMPILED.wanted and importlib.util.find_spec("numba") is not None:
        return "so few values are counted sooner than code is compiled"
    return "Numba is not installed" if _COMPILED.asked else "QDQ_NO_NUMBA is set"


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
        from calibrators import vector_counter
    except (ImportError, OSError):
        return None
    try:
        compiled = vector_counter.compiled(cache=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError):
        # No folder for the cache can be written, or what lies there is damaged: compile for this process alone.
        compiled = vector_counter.compiled(cache=False)
    return _with_scratch(compiled, vector_counter.COUNTERS, vector_counter.NUMBERS)


class _Numbers(threading.local):
    """The cells of the values of one block, for one thread."""

    def __init__(self, size: int) -> None:
        self.numbers = np.zeros(size, np.int32)


def _with_scratch(compiled: Callable[..., tuple[int, int, int]], counters: int, numbers: int) -> Counter:
    scratch = _Numbers(numbers)

    def count_with_numba(
        values: NDArray[np.float32], inverse_width: np.float32, limit: int, cells: Cells
    ) -> tuple[int, int, int]:
        return compiled(values, inverse_width, limit, cells.counters(counters, values.size), scratch.numbers)

    return count_with_numba
