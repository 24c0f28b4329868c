"""Intervals of real numbers, and the arithmetic with which bounds are proven."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.casting.slots import is_single
from qdq_cli.model.nodes import static_dims

ROUNDING = 2.0**-20
"""Relative widening of every step: 16 units in the last place of FP32, more than runtimes differ by in one operator."""

TINY = 2.0**-126
"""Absolute widening of every step that is not exact: what underflow may leave."""


@dataclass(frozen=True)
class Interval:
    """A closed interval, which may reach to infinity.

    Args:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float

    @property
    def amax(self) -> float:
        """The largest magnitude in it."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_bounded(self) -> bool:
        """Whether both ends are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def holds(self, other: Interval) -> bool:
        """Say whether another interval lies in it."""
        return self.low <= other.low and other.high <= self.high

    def with_zero(self) -> Interval:
        """The smallest interval around it that holds 0."""
        return Interval(min(self.low, 0.0), max(self.high, 0.0))

    def widened(self, share: float = ROUNDING) -> Interval:
        """The interval with room for rounding: a share of its magnitude on both sides."""
        room = share * self.amax + TINY
        return Interval(self.low - room, self.high + room)

    def clipped(self, low: float, high: float) -> Interval:
        """What is left when its values are clipped."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))


Operands = Sequence[Interval | None]
Results = Sequence[Interval | None]
Rule = Callable[[ir.Node, Operands], Results]
"""Gets a node and the bounds of its operands, None where there are none; gives the bounds of its results."""

UNIT = Interval(0.0, 1.0)
SIGNED_UNIT = Interval(-1.0, 1.0)


def at(operands: Operands, slot: int) -> Interval | None:
    """Return the bounds of an operand; None where it has none, or is not there."""
    return operands[slot] if slot < len(operands) else None


def hull(parts: Iterable[Interval | None]) -> Interval | None:
    """Return the smallest interval around several; None where one of them is not known, or there is none."""
    known = list(parts)
    if not known or any(part is None for part in known):
        return None
    there = [part for part in known if part is not None]
    return Interval(min(part.low for part in there), max(part.high for part in there))


def around(*numbers: float) -> Interval | None:
    """Return the smallest interval around some numbers, widened; None where one of them is no number."""
    if any(math.isnan(number) for number in numbers):
        return None
    return Interval(min(numbers), max(numbers)).widened()


def above_zero(found: Interval | None) -> Interval | None:
    """Return the part of an interval that is not negative: what is a square, or an exponential, rounds to none."""
    return None if found is None else Interval(max(found.low, 0.0), max(found.high, 0.0))


def product(one: Interval, other: Interval) -> Interval | None:
    """Return what products of values of two intervals stay in; it is none where 0 meets infinity."""
    ends = [(a, b) for a in (one.low, one.high) for b in (other.low, other.high)]
    return around(*(a * b for a, b in ends))


def constant_interval(value: ir.Value) -> Interval | None:
    """Return the extremes of an FP32 constant; None for an empty one, and for one that holds NaN."""
    tensor = value.const_value
    if not is_single(value) or tensor is None or not tensor.size:
        return None
    low, high = extremes_of(tensor.numpy())
    return None if math.isnan(low) else Interval(low, high)


def extremes_of(array: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value of an array that is not empty."""
    return float(array.min()), float(array.max())


def length(value: ir.Value | None, axes: Iterable[int]) -> int | None:
    """Return how many elements lie along some axes; None where a dimension is not known or there is no such axis."""
    dims = static_dims(value)
    if dims is None:
        return None
    chosen = [dims[axis] for axis in axes if -len(dims) <= axis < len(dims)]
    sizes = [size for size in chosen if size is not None]
    return math.prod(sizes) if len(sizes) == len(chosen) else None
