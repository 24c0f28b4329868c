"""Clips of stored integers between Q and DQ: how training tools write narrow ranges, and 4 bits kept in INT8.

Brevitas exports Q -> Clip -> DQ ("QCDQ"), on weights and on activations; others write the same as Max and Min. Such a
clip takes part in what the pair means, so inspection looks through it, and `qdq fix` carries it out elsewhere.

Source: Brevitas, "ONNX export: QCDQ style" (a Clip carries bit widths below 8 and narrow ranges).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from calibrators import INT8, UINT8
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, is_op, only_consumer
from qdq_cli.model.scales import element_count, holds_constant, is_dequantize, is_quantize, tensor_scale

_CLIPPED = "qdq.clipped_codes"

FULL = {ir.DataType.INT8: (INT8.qmin, INT8.qmax), ir.DataType.UINT8: (UINT8.qmin, UINT8.qmax)}
"""Stored type -> the interval a Q saturates to."""

_INTEGERS = (np.dtype(np.int8), np.dtype(np.uint8))


class CodeRange(NamedTuple):
    """The stored integers that a clip lets through.

    Args:
        low: Smallest of them.
        high: Largest of them.
        qtype: The stored type.
        nodes: Names of the nodes that clipped, Max and Min as two.
    """

    low: int
    high: int
    qtype: ir.DataType
    nodes: tuple[str, ...]

    @property
    def is_full(self) -> bool:
        """Whether it lets every integer of the type through."""
        return (self.low, self.high) == FULL[self.qtype]


def code_range(node: ir.Node) -> CodeRange | None:
    """Return what was clipped off the integers a DQ reads, or None where nothing stood between."""
    found: CodeRange | None = node.meta.data.get(_CLIPPED)
    return found


def set_code_range(node: ir.Node, found: CodeRange | None) -> None:
    """Let a DQ remember what was clipped off the integers it reads; None where it reads them as they are."""
    if found is None:
        node.meta.pop(_CLIPPED, None)
    else:
        node.meta[_CLIPPED] = found


def take_out_code_clips(graph: ir.Graph) -> None:
    """Take clips out from between Q, or a stored constant, and DQ; each DQ remembers the range (`code_range`).

    Only where that range can be brought back: the scale of an activation is one constant number.
    """
    for node in list(graph):
        if node.graph is None or _bounds(node) is None or _bounds(_maker(node)) is not None:
            continue  # no clip, or not the first of several
        chain = _chain(node)
        source = _clipped(node)
        readers = [use.node for use in chain[-1].outputs[0].uses()]
        if source is None or chain[-1].outputs[0].is_graph_output() or not readers:
            continue
        if all(is_dequantize(reader) for reader in readers) and _can_be_brought_back(source):
            _take_out(graph, source, chain, readers)


def _take_out(graph: ir.Graph, source: ir.Value, chain: list[ir.Node], readers: list[ir.Node]) -> None:
    low, high = FULL[source.dtype or ir.DataType.INT8]
    for node in chain:
        least, most = _bounds(node) or (low, high)
        low, high = (min(max(code, least), most) for code in (low, high))
    names = tuple(node.name or "" for node in chain)
    for reader in readers:
        set_code_range(reader, CodeRange(low, high, source.dtype or ir.DataType.INT8, names))
    chain[-1].outputs[0].replace_all_uses_with(source)
    for node in reversed(chain):
        graph.remove(node, safe=True)


def _maker(node: ir.Node) -> ir.Node | None:
    source = _clipped(node)
    return None if source is None else source.producer()


def _chain(node: ir.Node) -> list[ir.Node]:
    """Return a clip and the clips that alone read what it makes."""
    chain = [node]
    while (use := only_consumer(chain[-1].outputs[0])) is not None and _bounds(use[0]) is not None:
        chain.append(use[0])
    return chain


def _can_be_brought_back(source: ir.Value) -> bool:
    producer = source.producer()
    if producer is None or source.dtype not in FULL:
        return is_constant(source) and source.dtype in FULL
    if not is_quantize(producer):
        return False
    if not holds_constant(source):
        return tensor_scale(producer) is not None
    return is_constant(input_at(producer, 0)) and _scales_fit(producer)


def _scales_fit(quantize: ir.Node) -> bool:
    """Say whether the constant scales of a Q of a constant are one, or as many as it has slices along some axis."""
    floats, scale = input_at(quantize, 0), input_at(quantize, 1)
    if floats is None or floats.const_value is None or scale is None or not is_constant(scale):
        return False
    count, dims = element_count(scale), floats.const_value.shape.numpy()
    if int_attribute(quantize, "block_size", 0):
        return False
    if count == 1 or "axis" not in quantize.attributes:
        return count == 1 or count in dims
    axis = int_attribute(quantize, "axis", 1)
    return -len(dims) <= axis < len(dims) and dims[axis] == count


def _clipped(node: ir.Node) -> ir.Value | None:
    """Return the operand a clip works on: of Max and Min, the one that is no bound."""
    if is_op(node, "Clip"):
        return input_at(node, 0)
    bound = _bound_slot(node)
    return None if bound is None else input_at(node, 1 - bound)


def _bounds(node: ir.Node | None) -> tuple[int, int] | None:
    """Return the range of integers that a Clip, Max or Min with constant bounds lets through; None for other nodes."""
    if node is None or not is_op(node, "Clip", "Max", "Min") or not node.inputs:
        return None
    slots = (1, 2) if node.op_type == "Clip" else _slots_of(node)
    if slots is None:
        return None
    found = []
    for slot, missing in zip(slots, (-(1 << 15), 1 << 15), strict=True):
        bound = constant_at(node, slot)
        if input_at(node, slot) is not None and (bound is None or bound.size != 1 or bound.dtype not in _INTEGERS):
            return None
        found.append(missing if bound is None else int(bound.item()))
    return found[0], found[1]


def _slots_of(node: ir.Node) -> tuple[int, int] | None:
    """Return the slots of the lower and the upper bound of a Max or Min of two operands; -1 for the one it has not."""
    slot = _bound_slot(node)
    if slot is None:
        return None
    return (slot, -1) if node.op_type == "Max" else (-1, slot)


def _bound_slot(node: ir.Node) -> int | None:
    if len(node.inputs) != 2:
        return None
    single = [slot for slot in (1, 0) if (bound := constant_at(node, slot)) is not None and bound.size == 1]
    return single[0] if single else None
