"""Excerpts: pieces of a tensor from a few samples, to try ranges on; the same ones in any order and any share.

A piece belongs to a sample, and a sample has a key: a hash of what it holds. The `MOST` smallest keys are kept. As
hashes are spread evenly, that is a random choice; as the smallest of all are among the smallest of every part, it does
not depend on the order of samples, and joining the excerpts of shares gives those of one run.

Values are kept in 16 bits, as fractions of a power of two: a piece is rounded when it is added, so that what was just
observed and what was read from a file are equal.

As part of a calibration cache: n pieces, each (ascending by key):
    key (8 bytes) · n rank, each dimension n · n exponent + 256 · float16 values

Source: bottom-k sampling, Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calibrators.packing import Reader, packed_number

MOST = 16
"""Samples of which a tensor keeps a piece."""

_LARGEST_KEY = (1 << 64) - 1
_KEY_BYTES = 8
_MOST_DIMENSIONS = 64
_MOST_VALUES = 1 << 20  # of a piece
_BIAS = 256  # of a stored exponent: float32 has -149 to 128


class Excerpts:
    """Pieces of one tensor by the keys of their samples."""

    __hash__ = None  # type: ignore[assignment]  # state changes

    def __init__(self) -> None:
        self._pieces: dict[int, NDArray[np.float32]] = {}
        self._largest = -1  # key that is kept, once there are `MOST`

    @property
    def pieces(self) -> tuple[NDArray[np.float32], ...]:
        """The pieces in ascending order of their keys."""
        return tuple(self._pieces[key] for key in sorted(self._pieces))

    def takes(self, key: int) -> bool:
        """Say whether a piece of the sample with this key would be kept."""
        return key not in self._pieces and (len(self._pieces) < MOST or key < self._largest)

    def add(self, key: int, piece: NDArray[np.floating]) -> None:
        """Keep a piece of a sample, unless those that are there have smaller keys.

        Args:
            key: Of the sample, 0 to 2**64 - 1.
            piece: Finite values, any shape.
        """
        if self.takes(key):
            self._keep(key, _rounded(np.asarray(piece, np.float32)))

    def merge(self, other: Excerpts) -> None:
        """Add the pieces of another part; exact, associative and commutative."""
        for key, piece in other._pieces.items():
            if self.takes(key):
                self._keep(key, piece)

    def scaled(self, factors: NDArray[np.floating]) -> Excerpts:
        """Return the pieces with each channel, on axis 1, multiplied by a power of two.

        Args:
            factors: One a channel; pieces of another number of channels stay as they are.
        """
        found = Excerpts()
        for key, piece in self._pieces.items():
            fits = piece.ndim > 1 and piece.shape[1] == factors.size
            wide = factors.astype(np.float32).reshape(-1, *(1,) * (piece.ndim - 2)) if fits else np.float32(1)
            found._keep(key, piece * wide)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Excerpts):
            return NotImplemented
        same = self._pieces.keys() == other._pieces.keys()
        return same and all(np.array_equal(piece, other._pieces[key]) for key, piece in self._pieces.items())

    def _keep(self, key: int, piece: NDArray[np.float32]) -> None:
        self._pieces[key] = piece
        if len(self._pieces) > MOST:
            del self._pieces[max(self._pieces)]
        self._largest = max(self._pieces)

    def encoded(self) -> bytes:
        """Return the bytes of the pieces; equal ones give equal bytes."""
        out = bytearray(packed_number(len(self._pieces)))
        for key in sorted(self._pieces):
            piece = self._pieces[key]
            exponent = _exponent_of(piece)
            out += key.to_bytes(_KEY_BYTES, "little") + packed_number(piece.ndim)
            out += b"".join(map(packed_number, piece.shape)) + packed_number(exponent + _BIAS)
            out += np.ldexp(piece, -exponent).astype("<f2").tobytes()
        return bytes(out)


def decode_excerpts(reader: Reader) -> Excerpts:
    """Read excerpts.

    Raises:
        CacheFileError: They are cut off or broken.
    """
    found = Excerpts()
    before = -1
    for _ in range(reader.number(MOST, "number of pieces")):
        key = int.from_bytes(reader.take(_KEY_BYTES, "key of a piece"), "little")
        rank = reader.number(_MOST_DIMENSIONS, "rank of a piece")
        shape = tuple(reader.number(_MOST_VALUES, "dimension of a piece") for _ in range(rank))
        size = math.prod(shape)
        if size > _MOST_VALUES or key <= before:
            raise reader.broken("holds a piece that is too large, or pieces that are not in order")
        exponent = reader.number(2 * _BIAS, "exponent of a piece") - _BIAS
        values = np.frombuffer(reader.take(2 * size, "piece"), "<f2").astype(np.float32).reshape(shape)
        if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > 1.0:
            raise reader.broken("holds a piece with values that none can have")
        with np.errstate(over="ignore"):
            found._keep(key, np.ldexp(values, exponent))
        before = key
    return found


def _rounded(piece: NDArray[np.float32]) -> NDArray[np.float32]:
    exponent = _exponent_of(piece)
    fractions = np.ldexp(piece, -exponent).astype(np.float16)
    kept: NDArray[np.float32] = np.ldexp(fractions.astype(np.float32), exponent)
    return kept


def _exponent_of(piece: NDArray[np.float32]) -> int:
    """The power of two that no magnitude is above: rounding to 16 bits does not change it."""
    largest = float(np.abs(piece).max(initial=0.0))
    fraction, exponent = math.frexp(largest)
    rounds_up = float(np.float16(fraction)) >= 1.0
    return exponent + rounds_up
