"""Portrait: what an observed model computes on made-up samples, and digests of its weights.

A calibration table carries the portrait of its model. Another export of the same network has other names, operators and
node order, and the last bit of a folded weight may differ; but it takes the same values on the same samples, and has
the same weights. So two exports are told to be one network by holding their portraits side by side.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import ParameterError

GROUPS = 32
"""Parts of a weight that are compared one by one where its last bits depend on who computed it."""

VALUE_TOLERANCE = 1e-4
"""How far two exports may differ in a value, as a share of the tensor's amax: rounding adds up from layer to layer."""

WEIGHT_TOLERANCE = 2e-6
"""How far a folded weight may differ, as a share of its root mean square: a few roundings of float32 (2**-24 each)."""

BIAS_TOLERANCE = 2e-5
"""The same for a folded bias, which is the difference of numbers that may be larger than it."""

_PATTERN_SIZE = 1 << 20  # elements handled at a time; a multiple of GROUPS
_PATTERN_GROUP = 4  # elements of a group from which on rounding hardly leaves half of the groups as they were

Span = tuple[float, float, float, float]
"""Minimum, maximum, mean and root mean square of the values a tensor takes on one sample."""


@dataclass(frozen=True)
class InputShape:
    """What an input is fed to draw the portrait.

    Args:
        name: Name of the graph input.
        dtype: Its element type, as NumPy calls it.
        shape: Shape of one made-up sample; axis 0 is 1 where samples lie one after another on it.
        stacked: Whether they do.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stacked: bool


@dataclass(frozen=True)
class Reading:
    """One float tensor on the made-up samples.

    Args:
        name: Name of the tensor.
        operator: Type of the operator that computes its values; "" for a graph input.
        source: Name of the tensor these values were computed in, before they were only moved (reshaped, transposed).
        spans: One for each sample; None where a value is not finite or the model does not run.
    """

    name: str
    operator: str
    source: str
    spans: tuple[Span | None, ...]


@dataclass(frozen=True)
class WeightMark:
    """What tells one weight from another.

    Args:
        size: Number of elements.
        exact: Digest of the values, whatever their order; 16 hexadecimal digits.
        rms: Root mean square of the values.
        sums: Of the elements i, i + GROUPS, ... with signs that depend on the place; empty for a weight whose bits do
            not depend on who computed it.
        parts: Digest of each of these groups.
        is_bias: Whether it is a vector.
    """

    size: int
    exact: str
    rms: float = 0.0
    sums: tuple[float, ...] = ()
    parts: tuple[int, ...] = ()
    is_bias: bool = False

    def is_like(self, other: WeightMark) -> bool:
        """Say whether two weights are the same, but for the rounding of a batch normalization folded into them.

        Rounding touches elements everywhere. Where most groups are equal to the bit and others are not, somebody
        changed single elements.
        """
        if self.size != other.size or self.exact == other.exact:
            return self.size == other.size
        if not self.sums or len(self.sums) != len(other.sums):
            return False
        tolerance = BIAS_TOLERANCE if self.is_bias else WEIGHT_TOLERANCE
        allowed = tolerance * max(self.rms, other.rms) * max(1.0, self.size / GROUPS) ** 0.5
        if any(abs(one - two) > allowed for one, two in zip(self.sums, other.sums, strict=True)):
            return False
        parts = [(one, two) for one, two in zip(self.parts, other.parts, strict=True) if one or two]
        equal = sum(one == two for one, two in parts)
        return self.size < GROUPS * _PATTERN_GROUP or 2 * equal < len(parts)


@dataclass(frozen=True)
class Portrait:
    """What a model computes on made-up samples, and its weights.

    Args:
        inputs: What was fed, in the order of the graph's inputs.
        readings: Its float tensors in topological order.
        weights: Its float weights, ordered by digest. Constants whose elements are all equal are none.

    Raises:
        ParameterError: The readings are of different numbers of samples.
    """

    inputs: tuple[InputShape, ...]
    readings: tuple[Reading, ...]
    weights: tuple[WeightMark, ...]

    def __post_init__(self) -> None:
        if len({len(reading.spans) for reading in self.readings}) > 1:
            raise ParameterError("The tensors of a portrait were seen on different numbers of samples.")

    def like(self, reading: Reading) -> tuple[Reading, ...]:
        """The tensors that hold the same values as another model's on every sample, up to rounding and order."""
        if not any(reading.spans) or not self.readings or len(reading.spans) != self._spans.shape[1]:
            return ()
        wanted = _as_array([reading])
        allowed = VALUE_TOLERANCE * np.maximum(_amax_of(self._spans), _amax_of(wanted))
        both_none = np.isnan(self._spans) & np.isnan(wanted)
        near = (np.abs(self._spans - wanted) <= allowed) | both_none
        return tuple(self.readings[place] for place in np.flatnonzero(near.all(axis=(1, 2))))

    @functools.cached_property
    def _spans(self) -> NDArray[np.float64]:
        return _as_array(self.readings)

    def renamed(self, names: Mapping[str, str]) -> Portrait:
        """The same portrait with tensors called names[old] where that is given."""
        readings = tuple(
            replace(
                reading, name=names.get(reading.name, reading.name), source=names.get(reading.source, reading.source)
            )
            for reading in self.readings
        )
        return replace(self, readings=readings)


def _as_array(readings: Sequence[Reading]) -> NDArray[np.float64]:
    """Spans as numbers, shape [readings, samples, 4]; NaN where there are none."""
    return np.array([[span or (np.nan,) * 4 for span in reading.spans] for reading in readings])


def _amax_of(spans: NDArray[np.float64]) -> NDArray[np.float64]:
    largest: NDArray[np.float64] = np.abs(spans[..., :2]).max(axis=2, keepdims=True)
    return largest


def mark_weight(values: NDArray[np.generic], *, rounded: bool) -> WeightMark | None:
    """Make the mark of a weight; None for a constant whose elements are all equal, which exporters write as they like.

    Args:
        values: Floating-point, any shape.
        rounded: Whether its last bits depend on who computed it: a convolution's weight may be a folded one.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.size < 2 or bool((flat == flat[0]).all()):
        return None
    parts = np.zeros(GROUPS, np.uint64)
    sums = np.zeros(GROUPS, np.float64)
    squares = 0.0
    for start in range(0, flat.size, _PATTERN_SIZE):
        rows = _in_rows(flat[start : start + _PATTERN_SIZE])
        parts += _mixed(_bits_of(rows)).sum(axis=0, dtype=np.uint64)
        if rounded:
            numbers = rows.astype(np.float64)
            squares += float((numbers * numbers).sum())
            sums += (numbers * _signs(numbers.size).reshape(-1, GROUPS)).sum(axis=0)
    exact = f"{(flat.size + int(parts.sum(dtype=np.uint64))) % 2**64:016x}"
    if not rounded:
        return WeightMark(flat.size, exact)
    shorts = tuple((parts >> np.uint64(32)).tolist())
    rms = float(np.float32((squares / flat.size) ** 0.5))
    return WeightMark(flat.size, exact, rms, tuple(sums.astype(np.float32).tolist()), shorts, values.ndim == 1)


def _in_rows(flat: NDArray[np.generic]) -> NDArray[np.generic]:
    """Elements in rows of GROUPS, the last one filled up with zeros; -0.0 becomes 0.0."""
    rows = np.zeros((-(-flat.size // GROUPS), GROUPS), flat.dtype)
    rows.reshape(-1)[: flat.size] = flat
    positive: NDArray[np.generic] = np.where(rows == 0, np.zeros_like(rows), rows)
    return positive


def _bits_of(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    return values.view(f"u{values.dtype.itemsize}").astype(np.uint64)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers as evenly spread ones; 0 stays 0, so that zeros that fill up do not count.

    Source: the finalizer of SplitMix64 (Steele et al. 2014, OOPSLA, "Fast splittable pseudorandom number generators").
    """
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def uniform(size: int, seed: int) -> NDArray[np.float64]:
    """`size` numbers evenly spread over [0, 1), the same on every machine and with every release of NumPy."""
    numbers = np.arange(1, size + 1, dtype=np.uint64) + np.uint64((seed + 1) << 40)
    mixed = _mixed(numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
    return mixed.astype(np.float64) * 2.0**-53


@functools.lru_cache(maxsize=2)
def _signs(size: int) -> NDArray[np.float64]:
    return np.where(uniform(size, 0) < 0.5, -1.0, 1.0)
