"""What calibration samples held: a running statistic of input values and pictures, in constant memory.

A statistic of some samples is merged with that of others, in any order, so that threads and machines share the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qdq_cli.data.batches import Batch
from qdq_cli.data.sample import content_digest

_LOOKED_AT = 4096
"""Values of one array looked at, evenly spread, where all of them would take long."""


@dataclass
class InputValues:
    """What one input was fed.

    Args:
        low, high: Smallest and largest value; infinite the wrong way round before the first one, and for text.
        contents: Digests of the contents, of two different samples at most.
        size: Most values in one sample.
        whole: Whether the values looked at are whole numbers.
    """

    low: float = np.inf
    high: float = -np.inf
    contents: frozenset[str] = frozenset()
    size: int = 0
    whole: bool = True

    @property
    def is_one_value(self) -> bool:
        """Whether every element of every sample is the same number."""
        return self.low == self.high

    def is_constant(self, samples: int) -> bool:
        """Whether this many samples were fed all the same; of one sample, whether it holds one value many times."""
        return len(self.contents) < 2 and (samples > 1 or (self.size > 1 and self.is_one_value))

    def merge(self, other: InputValues) -> None:
        """Add the statistic of other samples."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.contents = frozenset(sorted(self.contents | other.contents)[:2])
        self.size = max(self.size, other.size)
        self.whole = self.whole and other.whole


@dataclass
class Folder:
    """Pictures of one kind of file in one folder.

    Args:
        pictures: How many.
        flat: How many of them have few colours in large areas, as label maps do.
    """

    pictures: int = 0
    flat: int = 0


@dataclass
class SampleValues:
    """What the samples of a run held.

    Args:
        samples: How many.
        inputs: Input name -> its values.
        levels: Pixel value 0..255 -> how often it is among the pixels looked at.
        folders: Folder, with the ending of the files -> its pictures.
    """

    samples: int = 0
    inputs: dict[str, InputValues] = field(default_factory=dict)
    levels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    folders: dict[str, Folder] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch, varied: frozenset[str] = frozenset()) -> SampleValues:
        """Look at the samples of one run; inputs that are known to vary are not compared any more."""
        found = cls(batch.samples)
        for name, array in batch.arrays.items():
            found.inputs[name] = _values(name, array, batch.samples, compared=name not in varied)
        for look in batch.looks:
            found.levels += look.levels
            if not look.folder:
                continue
            folder = found.folders.setdefault(look.folder, Folder())
            folder.pictures += 1
            folder.flat += look.flat
        return found

    @property
    def varied(self) -> frozenset[str]:
        """The inputs that differ between samples."""
        return frozenset(name for name, values in self.inputs.items() if len(values.contents) > 1)

    def merge(self, other: SampleValues) -> None:
        """Add the statistic of other samples."""
        self.samples += other.samples
        for name, values in other.inputs.items():
            self.inputs.setdefault(name, InputValues()).merge(values)
        self.levels = self.levels + other.levels
        for name, folder in other.folders.items():
            known = self.folders.setdefault(name, Folder())
            known.pictures += folder.pictures
            known.flat += folder.flat


def _values(name: str, array: NDArray[np.generic], samples: int, *, compared: bool) -> InputValues:
    found = InputValues(size=array.size // samples)
    if compared:
        found.contents = frozenset(content_digest({name: sample}) for sample in _samples(array, samples))
        found.contents = frozenset(sorted(found.contents)[:2])
    if array.size and not array.dtype.hasobject:
        found.low, found.high = float(array.min()), float(array.max())
        some = array.reshape(-1)[:: max(1, array.size // _LOOKED_AT)].astype(np.float32)
        found.whole = bool((some == np.rint(some)).all())
    return found


def _samples(array: NDArray[np.generic], samples: int) -> Iterator[NDArray[np.generic]]:
    """The array of each sample: a row of those that were put together, else all."""
    if samples == 1:
        yield array
        return
    for number in range(samples):
        yield array[number : number + 1]
