"""NVFP4 and MXFP8 in operators that every runtime has: a twin that computes what the blocks are defined to.

ONNX Runtime knows neither TensorRT's operators nor FP4. Here codes are the FP32 numbers that they stand for, and a DQ
is a product. Weights behind DQs become the floats that these give. Each FP32 operation is one of those of
`calibrators.block_scales`, so that the twin gives the numbers of that reference.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.block_scales import BlockScales, from_blocks
from calibrators.qtypes import FP4_E2M1, FP8_E4M3
from qdq_cli.model.dynamic import (
    BLOCKS,
    CODES,
    FP4_QUANTIZE,
    MXFP8_DEQUANTIZE,
    is_block_dequantize,
    is_dynamic_quantize,
)
from qdq_cli.model.insertion import Insertion, take_over_output
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, every_node, input_at, int_attribute, is_op, rank
from qdq_cli.model.opset import opset_of

BLOCK_OPERATORS = (*CODES, MXFP8_DEQUANTIZE)
"""What a file mentions that holds such blocks of activations, or of MXFP8."""

_AXES_OPERAND = 18
"""Since this opset ReduceMax has its axes as an operand."""

_SINGLE, _FP8 = ir.DataType.FLOAT, ir.DataType.FLOAT8E4M3FN


def ordinary_blocks(model: ir.Model) -> ir.Model:
    """Return a model without operators on blocks of small scales: this one where it has none, else a copy.

    What is written in another way than exporters write it (blocks along another axis, a rank that is not known) stays.

    Args:
        model: Ranks inferred; left as it is, weights that stay are shared with the copy.
    """
    if not any(node.op_type in BLOCK_OPERATORS or _reads_fp4(node) for node in every_node(model.graph)):
        return model
    copy = model.clone()
    _Twin(copy).spell()
    return copy


def _reads_fp4(node: ir.Node) -> bool:
    codes = input_at(node, 0)
    return is_op(node, "DequantizeLinear") and codes is not None and codes.dtype == ir.DataType.FLOAT4E2M1


class _Twin:
    """Holds a model while its blocks are written otherwise."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._names = Names(model.graph)
        self._reads_axes = opset_of(model) >= _AXES_OPERAND
        self._floats: set[ir.Value] = set()

    def spell(self) -> None:
        """Write all blocks in ordinary operators, in topological order."""
        for node in list(every_node(self._graph)):
            if is_dynamic_quantize(node) and self._is_plain(node):
                self._quantize(node)
            elif is_op(node, "DequantizeLinear") or is_block_dequantize(node):
                self._dequantize(node)
        for node in reversed(list(every_node(self._graph))):
            unread = not any(value.uses() or value.is_graph_output() for value in node.outputs)
            if unread and is_op(node, "DequantizeLinear") and isinstance(node.graph, ir.Graph):
                node.graph.remove(node, safe=True)
        for graph in (self._graph, *self._graph.subgraphs()):
            for name, value in list(graph.initializers.items()):
                if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                    graph.initializers.pop(name)

    def _is_plain(self, node: ir.Node) -> bool:
        """Say whether a node quantizes blocks along the last axis."""
        dims, size = rank(input_at(node, 0)), BLOCKS[CODES[node.op_type]]
        axis = int_attribute(node, "axis", -1 if node.op_type != FP4_QUANTIZE else 1)
        along_last = axis == -1 or (dims is not None and axis == dims - 1)
        scaled = node.op_type != FP4_QUANTIZE or input_at(node, 1) is not None
        return along_last and scaled and self._reads_axes and int_attribute(node, "block_size", size) == size

    def _quantize(self, node: ir.Node) -> None:
        """Let codes be the floats that they stand for, and the scales of blocks too."""
        before, source = Insertion.before(node, self._names, "/blocks"), input_at(node, 0)
        assert source is not None
        floats = source if source.dtype == _SINGLE else before.cast(source, _SINGLE)
        blocks = _cut(before, floats, BLOCKS[CODES[node.op_type]])
        amax = before.add("ReduceMax", [before.op("Abs", blocks), _ints(before, [-1])], [ir.AttrInt64("keepdims", 1)])[
            0
        ]
        if node.op_type == FP4_QUANTIZE:
            tensor = node.inputs[1]
            assert tensor is not None
            scales = _through_fp8(before, before.op("Div", before.op("Div", amax, _number(before, 6.0)), tensor))
            values = _nearest_fp4(before, _divided(before, blocks, before.op("Mul", scales, tensor)))
        else:
            scales = _power_above(before, amax)
            values = _through_fp8(before, before.op("Div", blocks, scales))
        made = (_joined(before, values), before.op("Squeeze", scales, _ints(before, [-1])))
        for old, new in zip(node.outputs, made, strict=False):
            old.replace_all_uses_with(new)
            self._floats.add(new)
        if isinstance(node.graph, ir.Graph):
            node.graph.remove(node, safe=True)

    def _dequantize(self, node: ir.Node) -> None:
        """Multiply what stands for codes by its scales; a weight becomes floats."""
        codes, scales = input_at(node, 0), input_at(node, 1)
        size = int_attribute(node, "block_size", 0)
        if codes is None or scales is None:
            return
        before = Insertion.before(node, self._names, "/blocks")
        if codes in self._floats:
            found = before.op("Mul", codes, scales) if not size else self._product(before, node, codes, scales)
        elif (array := stored_floats(node)) is not None:
            found = before.constant(array)
        else:
            return
        said = ir.DataType(int_attribute(node, "output_dtype", 0) or int(_SINGLE))
        if size and said != _SINGLE:
            found = before.cast(found, said)
        if not size:
            self._floats.add(found)
        take_over_output(node.outputs[0], found)
        if isinstance(node.graph, ir.Graph):
            node.graph.remove(node, safe=True)

    def _product(self, before: Insertion, node: ir.Node, codes: ir.Value, scales: ir.Value) -> ir.Value:
        blocks = _cut(before, codes, int_attribute(node, "block_size", 0))
        return _joined(before, before.op("Mul", blocks, before.op("Unsqueeze", scales, _ints(before, [-1]))))


def _ints(before: Insertion, numbers: list[int]) -> ir.Value:
    return before.constant(np.asarray(numbers, np.int64))


def _number(before: Insertion, number: float) -> ir.Value:
    return before.constant(np.asarray(number, np.float32))


def _cut(before: Insertion, value: ir.Value, size: int) -> ir.Value:
    """Reshape [..., n * size] to [..., n, size]."""
    outer = before.add("Shape", [value], [ir.AttrInt64("end", -1)])[0]
    return before.op("Reshape", value, before.add("Concat", [outer, _ints(before, [-1, size])], [_FIRST])[0])


def _joined(before: Insertion, blocks: ir.Value) -> ir.Value:
    """Reshape [..., n, size] to [..., n * size]."""
    outer = before.add("Shape", [blocks], [ir.AttrInt64("end", -2)])[0]
    return before.op("Reshape", blocks, before.add("Concat", [outer, _ints(before, [-1])], [_FIRST])[0])


_FIRST = ir.AttrInt64("axis", 0)


def _through_fp8(before: Insertion, value: ir.Value) -> ir.Value:
    """Round to E4M3, saturating; floats again."""
    return before.cast(before.cast(value, _FP8), _SINGLE)


def _divided(before: Insertion, blocks: ir.Value, scale: ir.Value) -> ir.Value:
    """Divide by scales; where one is 0, all is 0."""
    dead = before.op("Equal", scale, _number(before, 0.0))
    divided = before.op("Div", blocks, before.op("Where", dead, _number(before, 1.0), scale))
    return before.op("Where", dead, _number(before, 0.0), divided)


def _nearest_fp4(before: Insertion, value: ir.Value) -> ir.Value:
    """Round half to even to E2M1, saturating: its values are 0.5 apart below 2, 1 below 4 and 2 up to 6."""
    half, one, two, four, six = (_number(before, number) for number in (0.5, 1.0, 2.0, 4.0, 6.0))
    size = before.op("Abs", value)
    step = before.op("Where", before.op("Less", size, four), one, two)
    step = before.op("Where", before.op("Less", size, two), half, step)
    rounded = before.op("Mul", before.op("Round", before.op("Div", value, step)), step)
    return before.op("Clip", rounded, _number(before, -6.0), six)


def _power_above(before: Insertion, amax: ir.Value) -> ir.Value:
    """The smallest powers of two that amax / 448 is not above, from 2**-127 on; a logarithm may be one off."""
    most, least, two, half = (_number(before, number) for number in (448.0, 2.0**-127, 2.0, 0.5))
    ratio = before.op("Max", before.op("Div", amax, most), least)
    exponent = before.op("Ceil", before.op("Div", before.op("Log", ratio), _number(before, math.log(2.0))))
    near = before.op("Pow", two, exponent)
    low = before.op("Less", before.op("Mul", near, most), amax)
    near = before.op("Where", low, before.op("Mul", near, two), near)
    below = before.op("Mul", near, half)
    high = before.op("GreaterOrEqual", before.op("Mul", below, most), amax)
    return before.op("Max", before.op("Where", high, below, near), least)


def stored_floats(dequantize: ir.Node) -> NDArray[np.float32] | None:
    """The floats that a DQ gives of stored FP4 codes, or of FP8 codes with stored exponents; None for all others."""
    codes, size = constant_at(dequantize, 0), int_attribute(dequantize, "block_size", 0)
    mx, fp4 = is_block_dequantize(dequantize), _reads_fp4(dequantize)
    if codes is None or not size or not (mx or fp4):
        return None
    scales = _stored_scales(dequantize, powers=mx)
    axis = int_attribute(dequantize, "axis", -1 if mx else 1)
    if scales is None or not -codes.ndim <= axis < codes.ndim or codes.shape[axis] % size:
        return None
    last = BlockScales(np.moveaxis(scales.codes, axis, -1), scales.tensor)
    patterns = np.ascontiguousarray(np.moveaxis(codes, axis, -1)).view(np.uint8)
    floats = from_blocks(patterns, last, FP8_E4M3 if mx else FP4_E2M1, size)
    return np.ascontiguousarray(np.moveaxis(floats, -1, axis))


def _stored_scales(dequantize: ir.Node, *, powers: bool) -> BlockScales | None:
    """The scales of a stored weight's blocks; None where they are computed, or stored in another way."""
    if powers:
        codes = constant_at(dequantize, 1)
        return None if codes is None else BlockScales(np.asarray(codes).view(np.uint8))
    scales = input_at(dequantize, 1)
    maker = None if scales is None else scales.producer()
    if maker is None or not is_op(maker, "DequantizeLinear"):
        return None
    codes, tensor = constant_at(maker, 0), constant_at(maker, 1)
    if codes is None or tensor is None or tensor.size != 1 or codes.dtype.itemsize != 1:
        return None
    return BlockScales(np.ascontiguousarray(codes).view(np.uint8), np.float32(tensor.reshape(-1)[0]))
