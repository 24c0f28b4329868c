"""Repairs that carry out what is constant: operands of Q and DQ, stored numbers behind DQ that no product reads.

What is computed is computed by ONNX Runtime, so that every number stays (A8, A27, S3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.fixing.record import Left, Outcome, Repair, repair_of
from qdq_cli.model.dynamic import is_of_two_steps
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, is_constant, is_op, name_of
from qdq_cli.model.opset import opset_of
from qdq_cli.model.scales import (
    forget_indirect,
    holds_constant,
    indirect_slots,
    is_dequantize,
    is_pair_half,
    is_quantize,
    stored_type,
)
from qdq_cli.placement.operators import operator_of
from qdq_cli.preparing.fold import computed, foldable_nodes
from qdq_cli.targets.tensorrt.findings import Severity
from qdq_cli.targets.tensorrt.kernels import is_weight_read
from qdq_cli.targets.tensorrt.lint_scales import lint_node

MAX_SPREAD = 1 << 20
"""Largest INT8 constant that is written in float only because TensorRT 8 does not read it; newer ones do."""

_OPERANDS = ("data", "scale", "zero point")

_MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Identity")
"""Operators over which a stored constant is followed to whatever reads it."""


def inline_operands(model: ir.Model) -> Outcome:
    """Let Q and DQ read their scale, zero point and stored constant as initializers (A8)."""
    graph, names = model.graph, Names(model.graph)
    done = []
    for node in graph:
        slots = indirect_slots(node)
        if slots:
            forget_indirect(node)
            what = " and ".join(_OPERANDS[slot] for slot in sorted(slots))
            done.append(repair_of("A8", node, f"it reads its {what} itself, not through an Identity", True))
    foldable = foldable_nodes(graph)
    reads = [(node, slot) for node in graph if is_pair_half(node) for slot in _computed_slots(node, foldable)]
    arrays = computed(
        model, dict.fromkeys(value for node, slot in reads if (value := input_at(node, slot)) is not None)
    )
    made: dict[ir.Value, ir.Value] = {}
    for node, slot in reads:
        value = node.inputs[slot]
        if value is None or value not in arrays:
            continue
        made[value] = made.get(value) or add_initializer(
            graph, names.value(f"{name_of(value)}_constant"), arrays[value]
        )
        node.replace_input_with(slot, made[value])
        done.append(repair_of("A8", node, f"its {_OPERANDS[slot]}, computed from constants, is an initializer", True))
    remove_unread(graph, made)
    return done, []


def _computed_slots(node: ir.Node, foldable: dict[ir.Node, None]) -> Iterator[int]:
    """Yield the slots of a Q or DQ that read what is computed from constants; the floats before a Q may stay so."""
    for slot in range(1 if is_quantize(node) else 0, len(node.inputs)):
        value = input_at(node, slot)
        producer = None if value is None else value.producer()
        if producer is not None and producer in foldable:
            yield slot


@dataclass(frozen=True)
class _Stored:
    """A constant behind DQ that is to be written in float, up to its readers.

    Args:
        dequantize: The DQ.
        ends: What is read by anything else than a shuffle of constants, with those readers: (node, slot).
    """

    dequantize: ir.Node
    ends: dict[ir.Value, list[tuple[ir.Node, int]]]

    @property
    def biases(self) -> list[ir.Node]:
        """The operators that add it as their bias."""
        return [node for reads in self.ends.values() for node, slot in reads if operator_of(node).bias == slot]


def restore_constants(model: ir.Model) -> Outcome:
    """Write quantized biases (A27), and other constants behind DQ that TensorRT does not read as they are, in float."""
    graph, names = model.graph, Names(model.graph)
    opset = opset_of(model)
    stored = (node for node in graph if is_dequantize(node) and not is_of_two_steps(node))
    found = [_stored(node) for node in stored if holds_constant(node.outputs[0])]
    wanted = [entry for entry in found if entry.ends and (entry.biases or _is_refused(entry.dequantize, opset))]
    spread = [entry for entry in wanted if not _is_too_large(entry)]
    arrays = computed(model, dict.fromkeys(value for entry in spread for value in entry.ends))
    left = [_left(entry) for entry in wanted if _is_too_large(entry) or not arrays.keys() >= entry.ends.keys()]
    left += [
        Left("A27", node.name or "", "its bias is quantized and not constant")
        for node in graph
        if _has_computed_bias(node)
    ]
    done = []
    for entry in spread:
        if arrays.keys() >= entry.ends.keys():
            done += _write_float(graph, names, entry, arrays)
    remove_unread(graph, [value for entry in spread for value in entry.ends])
    return done, left


def _stored(dequantize: ir.Node) -> _Stored:
    """Follow what a DQ makes over operators that only move it, to its readers that want no stored weight."""
    ends: dict[ir.Value, list[tuple[ir.Node, int]]] = {}
    work = [dequantize.outputs[0]]
    while work:
        value = work.pop()
        reads = [(use.node, use.idx) for use in value.uses() if not is_weight_read(use.node, use.idx)]
        outside = [read for read in reads if not _moves_a_constant(*read)]
        work += [node.outputs[0] for node, slot in reads if (node, slot) not in outside]
        if outside:
            ends[value] = outside
    return _Stored(dequantize, ends)


def _moves_a_constant(node: ir.Node, slot: int) -> bool:
    others = all(value is None or is_constant(value) for index, value in enumerate(node.inputs) if index != slot)
    small = node.op_type != "Expand" or _count(node.outputs[0]) <= MAX_SPREAD
    return slot == 0 and is_op(node, *_MOVES) and others and small and not node.outputs[0].is_graph_output()


def _is_refused(dequantize: ir.Node, opset: int) -> bool:
    """Say whether some release does not read a constant behind its Q and DQ: an error, or integers without a Q."""
    codes = input_at(dequantize, 0)
    quantize = None if codes is None else codes.producer()
    halves = [node for node in (quantize, dequantize) if node is not None]
    return is_constant(codes) or any(
        entry.severity is Severity.ERROR for node in halves for entry in lint_node(node, opset)
    )


def _is_too_large(entry: _Stored) -> bool:
    codes = input_at(entry.dequantize, 0)
    plain = is_constant(codes) and stored_type(entry.dequantize) is ir.DataType.INT8 and not entry.biases
    return plain and max(map(_count, entry.ends)) > MAX_SPREAD


def _count(value: ir.Value) -> int:
    shape = None if value.shape is None else value.shape
    if shape is None or not shape.is_static():
        return MAX_SPREAD + 1
    return int(np.prod(shape.numpy(), dtype=np.int64))


def _left(entry: _Stored) -> Left:
    name = entry.dequantize.name or ""
    if _is_too_large(entry):
        return Left("A30", name, "it stays INT8, a quarter of its size in float; TensorRT 10 and above read it")
    return Left("S3", name, "ONNX Runtime cannot compute the constant behind it")


def _has_computed_bias(node: ir.Node) -> bool:
    slot = operator_of(node).bias
    bias = None if slot is None else input_at(node, slot)
    return bias is not None and is_dequantize(bias.producer()) and not holds_constant(bias)


def _write_float(
    graph: ir.Graph, names: Names, entry: _Stored, arrays: dict[ir.Value, NDArray[np.generic]]
) -> list[Repair]:
    done = []
    stored = stored_type(entry.dequantize).name
    for value, reads in entry.ends.items():
        restored = add_initializer(graph, names.value(f"{name_of(value)}_float"), arrays[value])
        for node, slot in reads:
            node.replace_input_with(slot, restored)
            if operator_of(node).bias == slot:
                done.append(repair_of("A27", node, f"its bias, stored as {stored}, is float again", True))
            else:
                text = f"the constant that {node.op_type} '{node.name}' reads, stored as {stored}, is float again"
                done.append(repair_of("S3", entry.dequantize, text, True))
    return done


def remove_unread(graph: ir.Graph, values: Iterable[ir.Value]) -> None:
    """Remove the nodes that made values nothing reads any more, and what fed them alone."""
    work = [node for value in values if (node := value.producer()) is not None]
    while work:
        node = work.pop()
        if node.graph is None or any(value.uses() or value.is_graph_output() for value in node.outputs):
            continue
        before: Sequence[ir.Value] = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        work += [maker for value in before if (maker := value.producer()) is not None]
