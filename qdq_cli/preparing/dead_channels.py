"""Make nearly dead channels in front of depthwise convolutions as large as the others, exactly, and fold dead ones.

A depthwise convolution reads each channel alone, so one that holds 0.1 beside others that reach 6 has two or three
codes of its own, and large weights behind it make noise of their rounding. Where its range is proven to be that small,
the convolution that makes it can give it 2^n times as large, and the depthwise one divide its weights by 2^n: products,
sums and clippings keep every bit, for any input. A channel that is proven to be constant, in front of a convolution
without padding, goes into the bias of that, and its weights become zero.

Bounds are proven by interval arithmetic from clippings and squashing functions: nothing is known of graph inputs, so
what reads them is left as it is, and so is what reads an activation that is not bounded. What calibration sees of these
is used later (`calibrating.quiet_channels`).

Source: power-of-two scaling of channels over homogeneous activations, Nagel et al. 2019, arXiv 1906.04721, section 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.fingerprint import RECIPE
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    clip_bounds,
    constant_at,
    every_body,
    input_at,
    int_attribute,
    is_constant,
    is_op,
    is_unpadded,
    only_consumer,
)
from qdq_cli.preparing.batch_norm import put_constant

LEAST_FACTOR = 4.0
"""Channels that could be no larger than this many times are left alone: two bits more are not worth another weight."""

MOST_FACTOR = 2.0**20

_SLACK = 1.0 + 2.0**-10
"""Relative widening of a bound: far more than a sum in FP32 rounds, of as many products as a convolution has."""

_DEPTH = 32  # operators that a bound is followed back over

_UNIT = frozenset({"Sigmoid", "HardSigmoid", "Softmax"})
_INSIDE = frozenset({"MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Flatten"})
"""Operators whose results lie between the values of their first operand; paddings of an average are zero."""


@dataclass(frozen=True)
class Spreading:
    """What was done to the channels in front of one depthwise convolution.

    Args:
        operator: Its name.
        factors: How many times as large each channel is; 1.0 for those that stay.
        constants: The value of each channel that went into its bias; NaN for all others.
        weight: Its weight before.
    """

    operator: str
    factors: NDArray[np.float64]
    constants: NDArray[np.float64]
    weight: NDArray[np.generic]


@dataclass(frozen=True)
class Place:
    """A convolution, and the depthwise one that alone reads it.

    Args:
        maker: The convolution; its constants may be read elsewhere too.
        reader: The depthwise one.
        low: Where the activation between them clips from below: 0, or -Inf where there is none.
        high: Where it clips from above.
    """

    maker: ir.Node
    reader: ir.Node
    low: float
    high: float


def spread_dead_channels(model: ir.Model) -> tuple[Spreading, ...]:
    """Spread the channels in front of every depthwise convolution, in place, in bodies too; returns what was done.

    Args:
        model: Its constants are initializers, its batch norms folded.
    """
    places = places_in(model)
    if not places:
        return ()
    names, reach, done = Names(model.graph), _Reach(), []
    for graph, place in places:
        dead, weight = _constants(place), np.asarray(constant_at(place.reader, 1))
        factors = np.where(np.isnan(dead), _factors(place, reach), 1.0)
        if not np.isnan(dead).all():
            _fold(graph, place, dead, names)
        if (factors != 1.0).any():
            enlarge(graph, place, factors, names)
        if (factors != 1.0).any() or not np.isnan(dead).all():
            done.append(Spreading(place.reader.name or "", factors, dead, weight))
    return tuple(done)


def places_in(model: ir.Model) -> list[tuple[ir.Graph, Place]]:
    """Return where channels can be spread in a model, each with the graph or body that it stands in."""
    graphs = (model.graph, *every_body(model.graph))
    return [(graph, place) for graph in graphs for place in map(_place, graph) if place is not None]


def _place(maker: ir.Node) -> Place | None:
    """Return where channels can be spread behind a convolution; None where they cannot."""
    made = _weight(maker)
    use = None if made is None else only_consumer(maker.outputs[0])
    low, high = -math.inf, math.inf
    if use is not None and use[1] == 0 and is_op(use[0], "Relu", "Clip"):
        low, high = clip_bounds(use[0])
        use = only_consumer(use[0].outputs[0]) if low == 0.0 < high else None
    read = None if use is None or use[1] != 0 else _weight(use[0])
    if made is None or use is None or read is None or read.shape[1] != 1 or read.shape[0] != made.shape[0]:
        return None
    depthwise = int_attribute(use[0], "group", 1) == read.shape[0] > 1
    return Place(maker, use[0], low, high) if depthwise and read.dtype == made.dtype else None


def _weight(node: ir.Node) -> NDArray[np.generic] | None:
    """Return the constant weight of a convolution whose bias is constant too, if it has one."""
    fixed = is_op(node, "Conv") and (input_at(node, 2) is None or is_constant(input_at(node, 2)))
    weight = constant_at(node, 1) if fixed else None
    return weight if weight is not None and weight.ndim > 2 and weight.dtype.kind == "f" else None


def _constants(place: Place) -> NDArray[np.float64]:
    """Return the value of each channel that can go into the bias behind it; NaN for all others."""
    weight = np.asarray(constant_at(place.maker, 1))
    held = np.clip(_bias(place.maker), place.low, place.high)
    goes = ~weight.reshape(len(weight), -1).any(axis=1) & (held != 0) & is_unpadded(place.reader)
    return np.where(goes, held, np.nan)


def _bias(node: ir.Node) -> NDArray[np.float64]:
    bias = constant_at(node, 2)
    channels = np.asarray(constant_at(node, 1)).shape[0]
    return np.zeros(channels) if bias is None else np.asarray(bias, np.float64).reshape(channels)


def _median(values: NDArray[np.float64]) -> float:
    """The median, NaN where a value is; `np.median` would load masked arrays, a fiftieth of a small inspection."""
    middle = np.sort(values)[(values.size - 1) // 2 : values.size // 2 + 1]
    return math.nan if np.isnan(values).any() else float(middle.mean())


def _factors(place: Place, reach: _Reach) -> NDArray[np.float64]:
    """Return the power of two for each channel; 1.0 for those that stay."""
    ends = reach.of_channels(place.maker)
    channels = np.asarray(constant_at(place.maker, 1)).shape[0]
    largest = np.maximum(ends[1], 0.0 if place.low == 0.0 else -ends[0]) * _SLACK
    limit = min(place.high, _median(largest))
    if not 0 < limit < math.inf:
        return np.ones(channels)
    known = (largest > 0) & np.isfinite(largest)
    powers = np.exp2(np.floor(np.log2(limit / np.where(known, largest, limit))))
    powers = np.where(powers >= LEAST_FACTOR, np.minimum(powers, MOST_FACTOR), 1.0)
    return np.where(is_exact(place, powers), powers, 1.0)


def is_exact(place: Place, powers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of each channel whether its weights and its bias keep every bit."""
    exact = np.ones(len(powers), bool)
    for node, slot, factors in _scaled(place, powers):
        array = constant_at(node, slot)
        if array is not None:
            wide = _by_channel(factors, array)
            before = array.astype(np.float64)
            with np.errstate(over="ignore", under="ignore"):
                after = (before * wide).astype(array.dtype).astype(np.float64) / wide
            exact &= (after == before).reshape(len(powers), -1).all(axis=1)
    return exact


def _scaled(place: Place, powers: NDArray[np.float64]) -> tuple[tuple[ir.Node, int, NDArray[np.float64]], ...]:
    """Return what is multiplied by what: weight and bias of the one, the weight of the other."""
    return (place.maker, 1, powers), (place.maker, 2, powers), (place.reader, 1, 1.0 / powers)


def _by_channel(factors: NDArray[np.float64], array: NDArray[np.generic]) -> NDArray[np.float64]:
    return factors.reshape(-1, *(1,) * (array.ndim - 1))


def enlarge(graph: ir.Graph, place: Place, powers: NDArray[np.float64], names: Names) -> None:
    """Multiply the channels between two convolutions by powers of two, and divide the weights behind by them."""
    for node, slot, factors in _scaled(place, powers):
        array = constant_at(node, slot)
        if array is not None:
            scaled = (array.astype(np.float64) * _by_channel(factors, array)).astype(array.dtype)
            _put(graph, node, slot, scaled, names)


def _fold(graph: ir.Graph, place: Place, dead: NDArray[np.float64], names: Names) -> None:
    """Move what constant channels add into the bias of the reader; nothing is left of them."""
    goes = ~np.isnan(dead)
    weight = np.asarray(constant_at(place.reader, 1))
    sums = weight.astype(np.float64).reshape(len(weight), -1).sum(axis=1)
    bias = _bias(place.reader) + np.where(goes, dead, 0.0) * sums
    _put(graph, place.reader, 2, bias.astype(weight.dtype), names)
    _put(graph, place.reader, 1, np.where(_by_channel(goes, weight), 0, weight).astype(weight.dtype), names)
    _put(graph, place.maker, 2, np.where(goes, 0.0, _bias(place.maker)).astype(weight.dtype), names)


def _put(graph: ir.Graph, node: ir.Node, slot: int, array: NDArray[np.generic], names: Names) -> None:
    put_constant(graph, node, slot, array, names)
    value = input_at(node, slot)
    if value is not None:
        value.meta.pop(RECIPE, None)  # what it is now was not computed that way


class _Reach:
    """How far tensors reach, for any input: each is asked once."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, tuple[float, float] | None] = {}

    def of_channels(self, conv: ir.Node, depth: int = _DEPTH) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest value of each channel of a convolution's results."""
        weight, read = np.asarray(constant_at(conv, 1)), self.of(input_at(conv, 0), depth - 1)
        rows, bias = weight.astype(np.float64).reshape(len(weight), -1), _bias(conv)
        if read is None:
            open_ends = np.where(rows.any(axis=1), math.inf, 0.0)
            return bias - open_ends, bias + open_ends
        low, high = min(read[0], 0.0), max(read[1], 0.0)  # paddings are zero
        above, below = np.maximum(rows, 0.0).sum(axis=1), np.minimum(rows, 0.0).sum(axis=1)
        return bias + above * low + below * high, bias + above * high + below * low

    def of(self, value: ir.Value | None, depth: int) -> tuple[float, float] | None:
        """Return how far a tensor reaches; None where nothing bounds it, or what does is too far away."""
        if value is None or depth < 0:
            return None
        if value not in self._known:
            self._known[value] = None  # a loop in a broken graph ends here
            found = self._compute(value, depth)
            self._known[value] = found if found is not None and all(map(math.isfinite, found)) else None
        return self._known[value]

    def _compute(self, value: ir.Value, depth: int) -> tuple[float, float] | None:
        node = value.producer()
        if node is None or node.domain:
            return None
        if node.op_type in _UNIT:
            return 0.0, 1.0
        if is_op(node, "Conv"):
            ends = self.of_channels(node, depth) if _weight(node) is not None else None
            return None if ends is None else (float(ends[0].min()), float(ends[1].max()))
        read = self.of(input_at(node, 0), depth - 1)
        if is_op(node, "Relu", "Clip"):
            low, high = clip_bounds(node)
            return (low, high) if read is None else (max(read[0], low), max(min(read[1], high), low))
        if node.op_type in _INSIDE and read is not None:
            return min(read[0], 0.0), max(read[1], 0.0)
        other = self.of(input_at(node, 1), depth - 1) if is_op(node, "Add") else None
        return None if read is None or other is None else (read[0] + other[0], read[1] + other[1])
