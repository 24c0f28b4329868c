"""Which channels of which tensors can be scaled together without changing what the model computes.

A channel of a tensor may be multiplied by any positive number if whatever makes it can be scaled (an output channel of
a convolution, an element of a LayerNorm's gain), whatever reads it can be divided by the same (an input channel of a
convolution), and everything between passes the factor on: Relu and other positively homogeneous functions, pooling,
Concat and Split, Adds whose operands are scaled alike. Channels that must get the same factor form one class.

Source: Nagel et al. 2019, arXiv 1906.04721, section 4.1 (positive scaling equivariance of pairs of layers), for any
number of layers that share a tensor; SmoothQuant, arXiv 2211.10438, section 4 (LayerNorm as what is scaled).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.nodes import array_of, every_initializer

Ids = NDArray[np.intp]
"""Shape [channels]: a variable for each channel of a tensor; equal variables are scaled alike."""


@dataclass(frozen=True)
class Scaled:
    """A constant that takes part in scaling.

    Args:
        name: Of the initializer; it has one reader.
        classes: Class of each element, -1 where it keeps its value; broadcasts against the constant.
        divides: Whether the constant reads the scaled tensor and is divided by the factor, instead of multiplied.
    """

    name: str
    classes: Ids
    divides: bool


@dataclass(frozen=True)
class Channels:
    """The classes of a graph.

    Args:
        count: Number of classes.
        tensors: Tensor -> (channel axis, class of each channel, -1 where it cannot be scaled).
        constants: What to multiply or divide.
        norms: Classes that a LayerNorm makes; all others are made by weighted operators alone.
    """

    count: int
    tensors: Mapping[str, tuple[int, Ids]]
    constants: tuple[Scaled, ...]
    norms: frozenset[int]


def scaled_constants(
    graph: ir.Graph, channels: Channels, factors: NDArray[np.floating]
) -> dict[str, NDArray[np.floating]]:
    """Return new values for the constants, so that every tensor's channels are multiplied by their factors.

    Args:
        graph: The graph the classes are of, with its bodies.
        channels: Its classes.
        factors: Positive, one a class. Powers of two keep every bit of the model's outputs.
    """
    padded = np.append(np.asarray(factors, np.float64), 1.0)  # class -1 is the last
    found: dict[str, NDArray[np.floating]] = {}
    stored = every_initializer(graph)
    for scaled in channels.constants:
        value = found.get(scaled.name)
        if value is None:
            value = array_of(stored[scaled.name])
        factor = padded[scaled.classes]
        found[scaled.name] = (value / factor if scaled.divides else value * factor).astype(value.dtype)
    return {name: array for name, array in found.items() if name}


FIXED = 0
"""The variable of all channels that keep their values."""


class ChannelWalk:
    """Variables of the tensors seen so far, and which of them are equal."""

    def __init__(self) -> None:
        self._parent = [FIXED]
        self._known: dict[ir.Value, tuple[int, Ids]] = {}
        self._constants: list[Scaled] = []
        self._norms: list[int] = []

    def fresh(self, count: int) -> Ids:
        """Make variables for the channels of a tensor that can be scaled where it is made."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def fixed(self, count: int) -> Ids:
        """Variables of channels that cannot be scaled."""
        return np.full(count, FIXED)

    def get(self, value: ir.Value | None, axis: int) -> Ids | None:
        """The variables of a tensor along this axis; None where it cannot be scaled along it, and is fixed then."""
        known = self._known.get(value) if value is not None else None
        if known is not None and known[0] == axis:
            return known[1]
        self.pin(value)
        return None

    def find(self, value: ir.Value | None) -> tuple[int, Ids] | None:
        """Channel axis and variables of a tensor; None where it cannot be scaled."""
        return self._known.get(value) if value is not None else None

    def put(self, value: ir.Value, axis: int, ids: Ids) -> None:
        """Set the variables of a tensor."""
        self._known[value] = (axis, ids)

    def tie(self, first: Ids, second: Ids) -> None:
        """Let channels be scaled alike."""
        for pair in zip(first.tolist(), second.tolist(), strict=True):
            one, two = sorted(map(self._root, pair))
            self._parent[two] = one  # the smaller one, so that FIXED stays a root

    def pin(self, value: ir.Value | None) -> None:
        """Let a tensor keep its values."""
        known = self.find(value)
        if known is not None:
            self.tie(known[1], self.fixed(known[1].size))

    def scale(self, value: ir.Value, ids: Ids, *, divides: bool) -> None:
        """Let a constant take part; `ids` broadcasts against it."""
        self._constants.append(Scaled(value.name or "", ids, divides))

    def is_norm(self, ids: Ids) -> None:
        """Note that a LayerNorm makes these channels."""
        self._norms += ids.tolist()

    def channels(self) -> Channels:
        """Number the classes that are left."""
        roots = np.array([self._root(number) for number in range(len(self._parent))])
        free = np.unique(roots[roots != FIXED])
        numbers = np.full(len(self._parent), -1)
        numbers[free] = np.arange(free.size)
        classes = numbers[roots]
        tensors = {
            value.name or "": (axis, classes[ids])
            for value, (axis, ids) in self._known.items()
            if (classes[ids] >= 0).any()
        }
        constants = tuple(
            Scaled(scaled.name, classes[scaled.classes], scaled.divides)
            for scaled in self._constants
            if (classes[scaled.classes] >= 0).any()
        )
        return Channels(free.size, tensors, constants, frozenset(classes[self._norms].tolist()) - {-1})

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number
