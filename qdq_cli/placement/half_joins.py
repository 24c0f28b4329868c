"""Concats between DQ and Q of one FP16 scale, which are written on INT8 tensors whatever form the rest has."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import consumers, input_at, is_op
from qdq_cli.model.opset import opset_of
from qdq_cli.model.scales import is_dequantize, is_quantize, tensor_scale
from qdq_cli.placement.operators import commutes, data_slots, operator_of
from qdq_cli.placement.propagate import propagate


def join_on_codes(model: ir.Model) -> None:
    """Let every Concat between DQ and Q of one FP16 scale join INT8 tensors, in place.

    What moves data between a DQ and the Concat runs on INT8 tensors too.
    """
    joined = _half_joins(model.graph, opset_of(model))
    if joined:
        propagate(model, may_move=joined.__contains__)


def _half_joins(graph: ir.Graph, opset: int) -> frozenset[ir.Node]:
    """Return every Concat between DQ and Q of one FP16 scale, and what moves data in front of it.

    They are written on INT8 tensors, in either form. ONNX Runtime moves the DQs up to the Concat and makes a
    QLinearConcat of it otherwise, which takes no FP16 scales, and then refuses the model (1.23). TensorRT moves the Q
    and DQ over it either way.
    """
    return frozenset(moved for node in graph if is_op(node, "Concat") for moved in _half_join(node, opset))


def _half_join(node: ir.Node, opset: int) -> tuple[ir.Node, ...]:
    """Return a Concat and the operators between its DQs and itself; nothing where it is no such join."""
    readers = [reader for reader, _ in consumers(node.outputs[0])]
    if node.outputs[0].dtype is not ir.DataType.FLOAT16 or not readers or not all(map(is_quantize, readers)):
        return ()
    scales, moved = {tensor_scale(reader) for reader in readers}, [node]
    for value in node.inputs:
        maker = None if value is None else value.producer()
        while maker is not None and _moves_codes(maker, opset):
            moved.append(maker)
            maker = source.producer() if (source := input_at(maker, 0)) is not None else None
        if maker is None or not is_dequantize(maker):
            return ()
        scales.add(tensor_scale(maker))
    return tuple(moved) if len(scales) == 1 and None not in scales else ()


def _moves_codes(node: ir.Node, opset: int) -> bool:
    """Say whether a node moves the values of its first input alone, and takes INT8."""
    return commutes(node) and data_slots(node) == (0,) and runs_on_int8(node, opset)


def runs_on_int8(node: ir.Node, opset: int) -> bool:
    """Say whether ONNX and ONNX Runtime have the operator on INT8 tensors in an opset."""
    since = operator_of(node).int8_opset
    return since is not None and since <= opset
