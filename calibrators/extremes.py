"""Extremes: the smallest and the largest value a tensor took, where no more has to be known of it.

As part of a calibration cache: n tensors, each (ascending by the bytes of the name):
    s name · s digest · n 0 where no value was seen, or n 1, float32 minimum and float32 maximum
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from calibrators.histogram import Histogram
from calibrators.packing import Reader, packed_number, packed_text

_MOST_TENSORS = 100_000
_ENDS = struct.Struct("<ff")


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest value a tensor took, in its own units; each may be infinite.

    Args:
        minimum: Smallest value; Inf before the first.
        maximum: Largest value; -Inf before the first.
    """

    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, histogram: Histogram) -> Extremes:
        """Return the extremes of what a histogram has counted."""
        return cls(histogram.minimum, histogram.maximum) if histogram.count else cls()

    @property
    def is_empty(self) -> bool:
        """Whether no value was seen."""
        return self.minimum > self.maximum

    @property
    def amax(self) -> float:
        """Largest absolute value; 0.0 before the first."""
        return 0.0 if self.is_empty else max(abs(self.minimum), abs(self.maximum))

    def joined(self, other: Extremes) -> Extremes:
        """Return the extremes of the values of both."""
        return Extremes(min(self.minimum, other.minimum), max(self.maximum, other.maximum))


@dataclass(frozen=True)
class ExtremesEntry:
    """What is known about a tensor that has no histogram.

    Args:
        extremes: The smallest and the largest of its values over all samples.
        digest: Digest of the computation that makes the tensor, as in `Entry`.
    """

    extremes: Extremes
    digest: str = ""


def encode_extremes(entries: Mapping[str, ExtremesEntry]) -> bytes:
    """The bytes of extremes; equal ones give equal bytes.

    Raises:
        CacheFileError: A name is too long.
    """
    out = bytearray(packed_number(len(entries)))
    for name in sorted(entries, key=str.encode):
        seen = entries[name].extremes
        out += packed_text(name) + packed_text(entries[name].digest) + packed_number(not seen.is_empty)
        out += b"" if seen.is_empty else _ENDS.pack(seen.minimum, seen.maximum)
    return bytes(out)


def decode_extremes(reader: Reader) -> dict[str, ExtremesEntry]:
    """Read extremes.

    Raises:
        CacheFileError: They are cut off or broken.
    """
    entries: dict[str, ExtremesEntry] = {}
    for _ in range(reader.number(_MOST_TENSORS, "number of extremes")):
        name, digest = reader.text("tensor name"), reader.text("digest")
        if name in entries:
            raise reader.broken(f"holds the extremes of tensor {name!r} twice")
        seen = Extremes()
        if reader.number(1, "mark of extremes"):
            seen = Extremes(*_ENDS.unpack(reader.take(_ENDS.size, "extremes")))
            if not seen.minimum <= seen.maximum:
                raise reader.broken(f"gives tensor {name!r} the values from {seen.minimum} to {seen.maximum}")
        entries[name] = ExtremesEntry(seen, digest)
    return entries
