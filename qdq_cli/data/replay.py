"""Samples that a function makes anew for every pass: nothing of them is stored, and each pass has to be the same."""

from __future__ import annotations

import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qdq_cli.process.errors import DataError

Arrays = Mapping[str, np.ndarray]
Read = Callable[[object, int], Arrays]
"""Makes the arrays of an item, by input; told its number for what errors call it."""


class Replay:
    """The items of a function's iterable, in any order that is not far from theirs. Safe for threads.

    Args:
        make: Gives an iterable that begins anew.
        read: Makes arrays of an item.
        name: How errors call the function.
        ahead: How many of the last items are kept, for threads that ask out of order.
    """

    def __init__(self, make: Callable[[], Iterable[object]], read: Read, name: str, ahead: int) -> None:
        self._make = make
        self._read = read
        self._name = name
        self._ahead = ahead
        self._lock = threading.Lock()
        self._marks: list[int] = []
        self._items: Iterator[object] = iter(())
        self._next = sys.maxsize  # behind them all, so that the first one asked for begins a pass
        self._kept: dict[int, Arrays] = {}

    def survey(self) -> Iterator[Arrays]:
        """Go through the items once; the arrays are those of the item at hand. What is met then is what there is."""
        items = iter(self._make())
        while (item := next(items, _END)) is not _END:
            arrays = self._read(item, len(self._marks))
            del item
            self._marks.append(_mark(arrays))
            yield arrays
            del arrays

    def item(self, number: int) -> Arrays:
        """Return the arrays of an item.

        Raises:
            DataError: The function gives fewer items than before, or others.
        """
        with self._lock:
            if number not in self._kept:
                if number < self._next:
                    self._items, self._next = iter(self._make()), 0
                    self._kept.clear()
                while self._next <= number:
                    self._advance()
            return self._kept[number]

    def _advance(self) -> None:
        number = self._next
        item = next(self._items, _END)
        if item is _END:
            raise DataError(
                f"{self._name}() gave {len(self._marks)} items at first and only {number} when it was called again.",
                "It has to make a new iterable each time; a generator made outside of it is used up after one pass. "
                "Or hand over the generator itself: it is read once, and kept.",
            )
        arrays = {name: np.array(array) for name, array in self._read(item, number).items()}
        if _mark(arrays) != self._marks[number]:
            raise DataError(
                f"{self._name}() gave another item {number} when it was called again than at first.",
                "Every pass has to be the same: seed what is random in it, or hand over the iterable itself, which is "
                "read once, and kept.",
            )
        self._kept[number] = arrays
        self._kept.pop(number - self._ahead, None)
        self._next = number + 1


_END = object()


def _mark(arrays: Arrays) -> int:
    """A number that tells two items apart."""
    mark = 0
    for name in sorted(arrays):
        array = arrays[name]
        mark = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), mark)
        mark = zlib.crc32(array.tobytes(), mark)
    return mark


@dataclass(frozen=True, eq=False)
class ReplayedArray:
    """One array of one item.

    Args:
        label: How errors call it.
        shape, dtype: As they were at first.
        source: Where items come from.
        number: Which item.
        name: Which of its arrays.
    """

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    source: Replay
    number: int
    name: str

    def item(self, index: int) -> np.ndarray:
        """See `Stored`."""
        return np.asarray(self.whole()[index])

    def whole(self) -> np.ndarray:
        """See `Stored`."""
        return self.source.item(self.number)[self.name]
