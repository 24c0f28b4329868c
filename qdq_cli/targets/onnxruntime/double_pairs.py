"""Two Q/DQ pairs in a row become one: what ONNX Runtime makes of Q, DQ, Q, DQ before it looks at operators.

Where both pairs have one scale each that is constant, the two nodes in the middle go. Those of one scale go wherever
they are; of others the outer ones keep the smaller one of both ranges, where nothing else reads what is between them.
Source: ONNX Runtime, core/optimizer/double_qdq_pairs_remover.cc.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, only_consumer
from qdq_cli.model.scales import TensorScale, is_dequantize, is_quantize, tensor_scale

_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


def join_double_pairs(model: ir.Model) -> None:
    """Join such pairs in the main graph of a model, in place."""
    graph = model.graph
    names = None
    for node in list(graph):
        quantize = _quantize_before(node)
        for between in [] if quantize is None else [use.node for use in node.outputs[0].uses() if use.idx == 0]:
            dequantize = _dequantize_behind(between)
            joined = None if dequantize is None else _smaller(tensor_scale(node), tensor_scale(between))
            if quantize is None or dequantize is None or joined is None:
                continue
            if joined != tensor_scale(node) or joined != tensor_scale(between):
                if _only_reader(quantize) is not node or _only_reader(node) is not between:
                    continue
                names = names or Names(graph)
                _set_scale(graph, (quantize, dequantize), joined, names)
            dequantize.replace_input_with(0, quantize.outputs[0])
            graph.remove(between, safe=True)
        if quantize is not None and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            graph.remove(node, safe=True)


def _quantize_before(node: ir.Node) -> ir.Node | None:
    """Return the Q of the same scale in front of a DQ that something reads."""
    value = input_at(node, 0)
    maker = None if value is None or not is_dequantize(node) or not node.outputs[0].uses() else value.producer()
    return maker if maker is not None and is_quantize(maker) and _are_one_pair(maker, node) else None


def _dequantize_behind(node: ir.Node) -> ir.Node | None:
    """Return the DQ of the same scale that alone reads what a Q makes."""
    reader = _only_reader(node) if is_quantize(node) else None
    return reader if reader is not None and is_dequantize(reader) and _are_one_pair(node, reader) else None


def _are_one_pair(quantize: ir.Node, dequantize: ir.Node) -> bool:
    scale = tensor_scale(quantize)
    whole = input_at(quantize, 2) is not None and input_at(dequantize, 2) is not None
    return whole and scale is not None and scale == tensor_scale(dequantize)


def _only_reader(node: ir.Node) -> ir.Node | None:
    use = only_consumer(node.outputs[0])
    return use[0] if use is not None and use[1] == 0 else None


def _smaller(first: TensorScale | None, second: TensorScale | None) -> TensorScale | None:
    """Return the scale of what both ranges hold; None where it joins none."""
    if first is None or second is None or first.qtype is not second.qtype or first.qtype not in _BYTES:
        return None
    if first == second:
        return first
    codes = np.iinfo(first.qtype.numpy())
    low = max(np.float32(codes.min - each.zero_point) * np.float32(each.scale) for each in (first, second))
    high = min(np.float32(codes.max - each.zero_point) * np.float32(each.scale) for each in (first, second))
    scale = np.float32((high - low) / np.float32(codes.max - codes.min))
    return TensorScale(float(scale), int(np.floor(codes.min - low / scale + 0.5)), first.qtype) if scale > 0 else None


def _set_scale(graph: ir.Graph, nodes: tuple[ir.Node, ...], scale: TensorScale, names: Names) -> None:
    """Give Q and DQ another scale and zero point."""
    arrays = (np.float32(scale.scale), np.asarray(scale.zero_point, scale.qtype.numpy()))
    for slot, array in enumerate(arrays, 1):
        value = add_initializer(graph, names.value(f"{nodes[0].name}_joined_{slot}"), np.asarray(array))
        for node in nodes:
            node.replace_input_with(slot, value)
