"""Samples that a program hands over: an array, a sequence, an iterable that is read once, a function called again.

Whatever it is, an item of it is to the inputs what a file of arrays is: one array, arrays by the names of the inputs,
or arrays in their order. An item can hold one sample or a whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from qdq_cli.config.data import Given
from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.array_samples import Stored, match_names
from qdq_cli.data.arrays import StoredArray
from qdq_cli.data.cutting import Opened, joined, open_stored
from qdq_cli.data.held import HeldArray, as_array
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.replay import Arrays, Replay, ReplayedArray
from qdq_cli.data.selection import MOST_SAMPLES, spread_evenly
from qdq_cli.data.spool import Spool
from qdq_cli.process.errors import DataError

_AHEAD = 2 * (os.cpu_count() or 1)
"""Items kept of a function's iterable, for each sample of a run: threads take runs in turn, and end out of turn."""

_ANSWERS = "Give an array, a dict of arrays, a list or an iterable of them, or a function that returns an iterable."


@dataclass(frozen=True, eq=False)
class Taken:
    """What is taken of the samples that a program hands over.

    Args:
        given: The samples; None for none.
        most: How many at most, where they come one by one; None for all.
        batch_size: How many run together.
    """

    given: Given | None
    most: int | None
    batch_size: int = 1


@runtime_checkable
class _Indexed(Protocol):
    """A sequence, whatever its class: the data set of another library too."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> object: ...


def open_given(given: Given, taken: Taken, specs: Sequence[InputSpec], preprocessing: Preprocessing | None) -> Opened:
    """Open samples in memory.

    An iterable and a long sequence are read up to `taken.most` samples and kept in a temporary file; a function is
    called for a first pass that looks at the shapes, and again whenever samples are needed.

    Args:
        given: The samples.
        taken: How many of them.
        specs: The model's inputs.
        preprocessing: What the user chose; it takes 8-bit arrays for pixels.

    Raises:
        DataError: There are none, or they do not fit the inputs.
    """
    opener = _Opener(given.name, taken, tuple(specs), preprocessing)
    samples = given.samples
    opened = Opened(()) if isinstance(samples, Mapping) and not samples else opener.open(samples)
    if not opened.parts:
        raise DataError(
            f"{opener.name} gave no samples.",
            "A generator can be run through once: is it used up already? Give a function that makes it anew.",
        )
    return opened


@dataclass(frozen=True, eq=False)
class _Opener:
    """How the samples of one call are opened."""

    name: str
    taken: Taken
    specs: tuple[InputSpec, ...]
    preprocessing: Preprocessing | None

    def open(self, samples: object) -> Opened:
        """Open whatever was given."""
        if isinstance(samples, Mapping) or is_array(samples):
            return self._cut(self.name, self._held(samples, self.name))
        if isinstance(samples, list | tuple):
            return self._in_place(samples)
        if isinstance(samples, _Indexed) and not isinstance(samples, str | bytes):
            return self._spooled(_items_of(samples, self.taken.most))
        if isinstance(samples, Iterable) and not isinstance(samples, str | bytes):
            return self._spooled(iter(samples))
        if callable(samples):
            return self._called(samples)
        raise DataError(f"{self.name} is {type(samples).__name__}, which holds no samples.", _ANSWERS)

    def _called(self, make: Callable[[], object]) -> Opened:
        """Open what a function gives: again and again where it is an iterable, else at once."""
        first = make()
        if isinstance(first, Mapping | list | tuple) or is_array(first) or not isinstance(first, Iterable):
            if callable(first):
                raise DataError(f"{self.name}() returned a function ({type(first).__name__}).", _ANSWERS)
            return self.open(first)
        begun = [first]  # the first pass is through what was made already

        def anew() -> Iterable[object]:
            made = begun.pop() if begun else make()
            if not isinstance(made, Iterable):
                raise DataError(f"{self.name}() returned {type(made).__name__}, which is no iterable.", _ANSWERS)
            return made

        del first
        return self._replayed(anew)

    def _in_place(self, items: Sequence[object]) -> Opened:
        opened = [self._cut(name, self._held(item, name)) for item, name in self._named(items)]
        return joined(self.name, opened, "items")

    def _spooled(self, items: Iterator[object]) -> Opened:
        """Read items one by one, and keep their arrays in a temporary file."""
        spool, opened, count = Spool(), list[Opened](), 0
        while not self._enough(count) and (item := next(items, _END)) is not _END:
            name = f"{self.name}[{len(opened)}]"
            arrays, note = self._arrays(item, name)
            del item  # nothing is held while the next one is made
            kept = {key: _kept(spool, Path(name), key, array) for key, array in arrays.items()}
            del arrays
            opened.append(self._cut(name, (kept, note)))
            count += sum(map(len, opened[-1].parts))
        return joined(self.name, opened, "items")

    def _replayed(self, make: Callable[[], Iterable[object]]) -> Opened:
        """Look at the shapes of all items, and read them again when they are needed."""

        def read(item: object, number: int) -> Arrays:
            arrays, note = self._arrays(item, f"{self.name}[{number}]")
            notes.append(note)
            return arrays

        notes: list[str] = []
        replay = Replay(make, read, self.name, _AHEAD * self.taken.batch_size)
        opened, count = list[Opened](), 0
        for number, arrays in enumerate(replay.survey()):
            name = f"{self.name}[{number}]"
            stored = {
                key: ReplayedArray(_label(name, key), array.shape, array.dtype, replay, number, key)
                for key, array in arrays.items()
            }
            del arrays
            opened.append(self._cut(name, (stored, notes.pop())))
            count += sum(map(len, opened[-1].parts))
            if self._enough(count):
                break
        return joined(self.name, opened, "items")

    def _enough(self, count: int) -> bool:
        if count > MOST_SAMPLES:
            raise DataError(
                f"{self.name} gave more than {MOST_SAMPLES:,} samples, which is the most that one calibration counts.",
                "Say how many to take: samples=1000.",
            )
        return self.taken.most is not None and count >= self.taken.most

    def _named(self, items: Sequence[object]) -> Iterator[tuple[object, str]]:
        for number, item in enumerate(items):
            yield item, f"{self.name}[{number}]"

    def _cut(self, name: str, stored: tuple[Mapping[str, Stored], str]) -> Opened:
        arrays, note = stored
        opened = open_stored(Path(name), arrays, self.specs, self.preprocessing)
        return replace(opened, notes=(*opened.notes, *([note] if note else [])))

    def _held(self, item: object, name: str) -> tuple[Mapping[str, Stored], str]:
        arrays, note = self._arrays(item, name)
        return {key: HeldArray(_label(name, key), array) for key, array in arrays.items()}, note

    def _arrays(self, item: object, name: str) -> tuple[Arrays, str]:
        """The array of each input in an item, and a note on what of it is not used."""
        if isinstance(item, Mapping):
            by_name = {str(key): value for key, value in item.items()}
            values, note = match_names(Path(name), by_name, self.specs)
        elif isinstance(item, list | tuple) and not _is_nested_numbers(item):
            values, note = self._in_order(item, name)
        elif len(self.specs) == 1:
            values, note = {self.specs[0].name: item}, ""
        else:
            inputs = ", ".join(f"'{spec.name}'" for spec in self.specs)
            raise DataError(
                f"{name} is one {type(item).__name__}, but the model has {len(self.specs)} inputs: {inputs}.",
                "Give a dict with an array for each input, or a tuple in their order.",
            )
        return {key: as_array(value, _label(name, key)) for key, value in values.items()}, note

    def _in_order(self, item: Sequence[object], name: str) -> tuple[dict[str, object], str]:
        """Give the inputs the elements of an item in order; further ones, such as labels, are left alone."""
        names = [spec.name for spec in self.specs]
        if len(item) < len(names):
            raise DataError(
                f"{name} holds {len(item)} arrays, but the model has {len(names)} inputs: {', '.join(names)}.",
                "Give one array for each input, in this order, or a dict with their names.",
            )
        further = len(item) - len(names)
        note = f"{name}: the last {further} of {len(item)} elements are for no input and are not used."
        return dict(zip(names, item, strict=False)), note if further else ""


_END = object()


def is_array(value: object) -> bool:
    """Whether a value says of itself that it is an array, or a tensor of whatever library."""
    return isinstance(value, np.ndarray) or (
        any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__"))
        and not isinstance(value, type)
    )


def _is_nested_numbers(item: Sequence[object]) -> bool:
    """Whether a list is an array that nobody made one yet: numbers, or lists of them."""
    return bool(item) and all(
        isinstance(each, int | float) or (isinstance(each, list) and _is_nested_numbers(each)) for each in item
    )


def _items_of(samples: _Indexed, most: int | None) -> Iterator[object]:
    """Items of a sequence that may be slow to read, evenly spread where only some of them are wanted."""
    count = len(samples)
    return (samples[index] for index in spread_evenly(count, count if most is None else most))


def _label(name: str, key: str) -> str:
    return f"{name}: array '{key}'"


def _kept(spool: Spool, source: Path, key: str, array: np.ndarray) -> StoredArray:
    start = spool.add(array, _label(str(source), key))
    return StoredArray(source, key, array.shape, array.dtype, spool, start)
