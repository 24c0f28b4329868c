"""Products as ONNX Runtime computes them on x86 processors with AVX2 and without VNNI, computed on any processor.

Its kernels there multiply UINT8 by INT8 two neighbours at a time and add both products in 16 bits, where the sum
saturates; all sums beyond that have 32 bits. So the exact sum is computed, and what saturation takes from each pair is
taken from it. Only pairs of weights that together reach 129 can lose anything, and they are few: with 255 * 128 the
sum of a pair still fits.

Neighbours lie next to each other along the summed axis of a matrix; for a convolution all channels at one place of the
kernel come first, then the next place. A depthwise convolution multiplies in another way, which is exact.
Source: MLAS of ONNX Runtime (VPMADDUBSW). The order of neighbours, and depthwise convolutions, were seen by comparing
every sum with what ONNX Runtime 1.24 and 1.32 give on such a processor, with AVX-512 and without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.insertion import Insertion
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, every_node, float_attribute, input_at, int_attribute, is_constant
from qdq_cli.model.products import is_wide, saturating

_LARGEST_SAFE = 128
"""Weights of a pair that have one sign and sum up to this never saturate: 255 * 128 = 32,640."""

_INT16 = (-32768.0, 32767.0)
_FLOAT, _INT32 = ir.DataType.FLOAT, ir.DataType.INT32


@dataclass(frozen=True)
class _Slots:
    """Where an operator has what it multiplies, and what it makes of the sums; None for what it has not.

    Args:
        codes, codes_scale, codes_zero: The UINT8 operand; floats that the operator quantizes where there is no zero.
        weights, weights_scale, weights_zero: The INT8 operand.
        bias: Added to the sums where there is a scale of the result, else to the floats made of them.
        scale, zero: How the result is quantized.
    """

    codes: int
    codes_scale: int | None
    codes_zero: int | None
    weights: int
    weights_scale: int | None
    weights_zero: int
    bias: int | None = None
    scale: int | None = None
    zero: int | None = None


_SLOTS = {
    "MatMulInteger": _Slots(0, None, 2, 1, None, 3),
    "MatMulIntegerToFloat": _Slots(0, 2, 4, 1, 3, 5, bias=6),
    "DynamicQuantizeMatMul": _Slots(0, None, None, 1, 2, 3, bias=4),
    "QLinearMatMul": _Slots(0, 1, 2, 3, 4, 5, scale=6, zero=7),
    "QGemm": _Slots(0, 1, 2, 3, 4, 5, bias=6, scale=7, zero=8),
    "QLinearConv": _Slots(0, 1, 2, 3, 4, 5, bias=8, scale=6, zero=7),
}
"""Operator -> its slots. Source: ONNX operators, and ContribOperators.md of ONNX Runtime."""


@dataclass(frozen=True)
class Saturated:
    """What became of the operators whose products may saturate.

    Args:
        written: How many compute their sums as they saturate now.
        left: Names of those that do not: both operands are computed, or products lie inside the operator.
    """

    written: int
    left: tuple[str, ...]


def saturate_products(model: ir.Model) -> Saturated:
    """Let a model compute the products of UINT8 by INT8 as they saturate, in place.

    Args:
        model: What ONNX Runtime made of a model, Q/DQ pairs fused into operators on codes; every name in it is set.
    """
    names, written, left = Names(model.graph), 0, []
    for node in list(every_node(model.graph)):
        if not any(is_wide(input_at(node, product.signed)) for product in saturating(node)):
            continue
        weights = _weights(node)
        if weights is None:
            left.append(node.name or "")
        elif not _is_depthwise(node, weights) and (pairs := wide_pairs(_summed_first(node, weights))).rounds:
            _Saturating(node, Insertion.before(node, names, "/saturated"), weights, pairs).replace()
            written += 1
    return Saturated(written, tuple(left))


@dataclass(frozen=True)
class Pairs:
    """The pairs of codes that may saturate: for each result as many as it has, filled up with pairs of weight 0.

    Args:
        first: Which element of the summed axis comes first, of shape (rounds, results).
        second: Its neighbour.
        weights: What both are multiplied by, of shape (2, rounds, results).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def rounds(self) -> int:
        """The most pairs a result has."""
        return len(self.first)


def wide_pairs(weights: NDArray[np.generic]) -> Pairs:
    """Find the pairs of codes that may saturate.

    Args:
        weights: INT8 codes of shape (summed, results).
    """
    depth, results = weights.shape
    even = np.pad(weights.astype(np.int16), ((0, depth % 2), (0, 0)))
    pairs = even.reshape(-1, 2, results)
    wide = (np.maximum(pairs, 0).sum(1) > _LARGEST_SAFE) | (np.minimum(pairs, 0).sum(1) < -_LARGEST_SAFE)
    result, pair = np.nonzero(wide.T)
    counts = np.bincount(result, minlength=results)
    turn = np.arange(result.size) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.zeros((int(counts.max(initial=0)), results), np.int64)
    found = np.zeros((2, *first.shape), np.float32)
    first[turn, result] = 2 * pair
    found[:, turn, result] = pairs[pair, :, result].T
    return Pairs(first, np.minimum(first + 1, max(depth - 1, 0)), found)


def _weights(node: ir.Node) -> NDArray[np.generic] | None:
    """The INT8 operand, its summed axis first where it is a matrix; None where its sums cannot be written."""
    slots = _SLOTS.get(node.op_type)
    stored = None if slots is None else constant_at(node, slots.weights)
    if slots is None or stored is None:
        return None
    if node.op_type == "QLinearConv":
        zero = input_at(node, slots.weights_zero)
        symmetric = zero is None or (is_constant(zero) and not np.any(constant_at(node, slots.weights_zero)))
        return stored if symmetric and not int_attribute(node, "channels_last", 0) else None
    if stored.ndim != 2:
        return None
    return stored.T if int_attribute(node, "transB", 0) else stored


def _is_depthwise(node: ir.Node, weights: NDArray[np.generic]) -> bool:
    return node.op_type == "QLinearConv" and weights.shape[:2] == (int_attribute(node, "group", 1), 1)


def _summed_first(node: ir.Node, weights: NDArray[np.generic]) -> NDArray[np.generic]:
    """Weights as a matrix of shape (summed, results), neighbours in the order in which they are multiplied."""
    if node.op_type != "QLinearConv":
        return weights
    return np.moveaxis(weights, (0, 1), (-1, -2)).reshape(-1, weights.shape[0])


class _Saturating:
    """Writes one operator as its exact sums, what saturation takes from them, and what the operator makes of sums."""

    def __init__(self, node: ir.Node, before: Insertion, weights: NDArray[np.generic], pairs: Pairs) -> None:
        self._node, self._before, self._weights, self._pairs = node, before, weights, pairs
        self._slots = _SLOTS[node.op_type]
        self._is_conv = node.op_type == "QLinearConv"

    def replace(self) -> None:
        """Let every reader of the operator read what is written in its place."""
        codes, scale, zero = self._codes()
        sums = self._saturated(*(self._convolved(codes, zero) if self._is_conv else self._multiplied(codes, zero)))
        result = self._finished(sums, scale)
        if self._is_conv:
            rank = self._weights.ndim
            result = self._before.transpose(result, [0, rank - 1, *range(1, rank - 1)])
        old, graph = self._node.outputs[0], self._node.graph
        assert isinstance(graph, ir.Graph)
        result.type, result.shape = old.type, old.shape
        result.name, old.name = old.name, result.name
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        graph.remove(self._node, safe=True)

    def _at(self, slot: int | None) -> ir.Value | None:
        return None if slot is None else input_at(self._node, slot)

    def _codes(self) -> tuple[ir.Value, ir.Value | None, ir.Value | None]:
        """The UINT8 operand, its scale and its zero point."""
        codes = self._at(self._slots.codes)
        if self._slots.codes_zero is None:
            codes, scale, zero = self._before.add("DynamicQuantizeLinear", [codes], results=3)
            codes.type = ir.TensorType(ir.DataType.UINT8)
            return codes, scale, zero
        assert codes is not None
        if int_attribute(self._node, "transA", 0):
            codes = self._before.transpose(codes, [1, 0])
            codes.type = ir.TensorType(ir.DataType.UINT8)
        return codes, self._at(self._slots.codes_scale), self._at(self._slots.codes_zero)

    def _multiplied(self, codes: ir.Value, zero: ir.Value | None) -> tuple[ir.Value, ir.Value, NDArray[np.int64]]:
        """Exact sums of a product of matrices, its rows of codes as floats, and where each summed element is in one."""
        weights = self._at(self._slots.weights)
        if int_attribute(self._node, "transB", 0):
            weights = self._before.constant(np.ascontiguousarray(self._weights))
        sums = self._before.op("MatMulInteger", codes, weights, zero, self._at(self._slots.weights_zero))
        depth, results = self._weights.shape
        return sums, self._before.cast(codes, _FLOAT), np.broadcast_to(np.arange(depth)[:, None], (depth, results))

    def _convolved(self, codes: ir.Value, zero: ir.Value | None) -> tuple[ir.Value, ir.Value, NDArray[np.int64]]:
        """The same of a convolution, channels last; a row holds what the kernel sees, channel by channel."""
        outputs, channels, *kernel = self._weights.shape
        groups, places = int_attribute(self._node, "group", 1), int(np.prod(kernel))
        inputs = [codes, self._at(self._slots.weights), zero]
        sums = self._before.add("ConvInteger", inputs, self._node.attributes.values())[0]
        place, channel = np.divmod(np.arange(places * channels), channels)
        group = np.arange(outputs) // (outputs // groups)
        where = (group[None] * channels + channel[:, None]) * places + place[:, None]
        last = [0, *range(2, self._weights.ndim), 1]
        rows = self._seen(codes, zero, (groups * channels, *kernel))
        return self._before.transpose(sums, last), self._before.transpose(rows, last), where

    def _seen(self, codes: ir.Value, zero: ir.Value | None, shape: tuple[int, ...]) -> ir.Value:
        """The codes a kernel sees, as floats: a depthwise convolution for each of its places takes them out.

        Args:
            codes: What is convolved.
            zero: Its zero point, which is what padding consists of.
            shape: Channels, then the shape of the kernel.
        """
        channels, *kernel = shape
        places = int(np.prod(kernel))
        taking = np.broadcast_to(np.eye(places, dtype=np.float32), (channels, places, places))
        kernels = self._before.constant(taking.reshape(-1, 1, *kernel))
        own = [attribute for attribute in self._node.attributes.values() if attribute.name != "group"]
        group = ir.AttrInt64("group", channels)
        floats = self._before.cast(codes, _FLOAT)
        if zero is None:
            return self._before.add("Conv", [floats, kernels], [*own, group])[0]
        shift = self._before.cast(zero, _FLOAT)
        centred = self._before.op("Sub", floats, shift)
        return self._before.op("Add", self._before.add("Conv", [centred, kernels], [*own, group])[0], shift)

    def _saturated(self, sums: ir.Value, rows: ir.Value, where: NDArray[np.int64]) -> ir.Value:
        """Take from sums what saturation takes from their pairs, round by round."""
        results = np.arange(where.shape[1])
        scanned = [
            *(where[places, results] for places in (self._pairs.first, self._pairs.second)),
            *self._pairs.weights,
        ]
        body = self._round(rows)
        inputs = [sums, *map(self._before.constant, scanned)]
        return self._before.add("Scan", inputs, [ir.AttrGraph("body", body), ir.AttrInt64("num_scan_inputs", 4)])[0]

    def _round(self, rows: ir.Value) -> ir.Graph:
        """What a round does: sums and one pair for each result in, sums out."""
        low, high = (self._before.constant(np.asarray(end, np.float32)) for end in _INT16)
        kinds = {"sums": _INT32, "first": ir.DataType.INT64, "second": ir.DataType.INT64, "one": _FLOAT, "two": _FLOAT}
        body, (sums, first, second, one, two), graph = self._before.body(kinds)
        last = [ir.AttrInt64("axis", -1)]
        products = (
            body.op("Mul", body.add("Gather", [rows, place], last)[0], weight)
            for place, weight in ((first, one), (second, two))
        )
        pair = body.op("Add", *products)
        kept = body.op("Max", body.op("Min", pair, high), low)
        left = body.op("Sub", sums, body.cast(body.op("Sub", pair, kept), _INT32))
        left.type = ir.TensorType(_INT32)
        graph.outputs.append(left)
        return graph

    def _finished(self, sums: ir.Value, codes_scale: ir.Value | None) -> ir.Value:
        """What the operator makes of its sums, channels last."""
        slots, before = self._slots, self._before
        weights_scale, bias, scale = (self._at(slot) for slot in (slots.weights_scale, slots.bias, slots.scale))
        if codes_scale is None or weights_scale is None:
            return sums
        both = before.op("Mul", codes_scale, weights_scale)
        alpha = float_attribute(self._node, "alpha", 1.0)
        if alpha != 1:
            both = before.op("Mul", both, before.constant(np.asarray(alpha, np.float32)))
        if bias is not None and slots.scale is not None:
            sums = before.op("Add", sums, bias)
        floats = before.cast(sums, _FLOAT)
        if scale is not None:
            ratio, one = before.op("Div", both, scale), before.constant(np.asarray(1, np.float32))
            return before.quantize(before.op("Mul", floats, ratio), one, self._at(slots.zero))
        result = before.op("Mul", floats, both)
        return before.op("Add", result, bias) if bias is not None and slots.scale is None else result
