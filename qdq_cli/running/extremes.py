"""The smallest and the largest value of tensors, found where they are computed: two numbers leave a run, no tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx
from onnx import helper

_PAIR = ("ReduceMin", "ReduceMax")


def hand_out_extremes(graph: onnx.GraphProto, extremes: Sequence[str], tensors: Iterable[str]) -> None:
    """Put two outputs for each of some tensors, its smallest and its largest value, behind the outputs of a graph.

    Of an empty tensor these are Inf and -Inf. NaN is passed over.

    Args:
        graph: Changed in place.
        extremes: Names of values of the graph; outputs among them that are in `tensors` no more are dropped.
        tensors: Names of the outputs that stay.
    """
    kept = set(tensors)
    outputs = [value for value in graph.output if value.name in kept]
    prefix = free_prefix(graph, "extremes_")
    for number, name in enumerate(extremes):
        for op_type in _PAIR:
            result = f"{prefix}{op_type}_{number}"
            graph.node.append(helper.make_node(op_type, [name], [result], name=result, keepdims=0))
            outputs.append(onnx.ValueInfoProto(name=result))
    del graph.output[:]
    graph.output.extend(outputs)


def free_prefix(graph: onnx.GraphProto, wanted: str) -> str:
    """Return letters that no name of a graph begins with: those that are wanted, with underscores behind."""
    text, prefix = graph.SerializeToString(), wanted
    while prefix.encode() in text:
        prefix += "_"
    return prefix


def read_blocks(graph: onnx.GraphProto, blocks: Mapping[str, onnx.NodeProto]) -> bool:
    """Let the extremes of tensors be taken from what holds the same values in another order; say whether any are.

    Args:
        graph: As ONNX Runtime optimized it; changed in place.
        blocks: Tensor -> the operator that put its values in this order.
    """
    handed_out = {value.name for value in graph.output}
    ends = [node for node in graph.node if node.op_type in _PAIR and node.output[0] in handed_out]
    inside = [node for node in ends if node.input[0] in blocks]
    for node in inside:
        node.input[0] = blocks[node.input[0]].input[0]
    return bool(inside)
