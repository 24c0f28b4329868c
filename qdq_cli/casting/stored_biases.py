"""Biases stored as INT32 behind DQ, which are written as floats beside a 16-bit rest.

Their scale is that of the data times that of the weight, and far below what FP16 counts by, so that the operator would
have to stay FP32 for it. The number itself is as large as any other bias.

Source: rule A27 (TensorRT reads no INT32 behind DQ, a bias is a float).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.casting.weights import dequantized, spread_scale
from qdq_cli.model.nodes import consumers, input_at, is_constant, name_of
from qdq_cli.model.scales import is_dequantize

_BIAS_SLOT = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}


def with_float_biases(model: ir.Model) -> ir.Model:
    """Return a model whose constant INT32 biases are the floats that their DQs give; itself where it has none.

    Args:
        model: Left as it is; its weights are shared.
    """
    if not any(map(_is_stored_bias, model.graph)):
        return model
    result = model.clone()
    write_float_biases(result.graph)
    return result


def write_float_biases(graph: ir.Graph) -> None:
    """Do so in a graph that nobody but the caller holds."""
    for node in [node for node in graph if _is_stored_bias(node)]:
        _write_float(graph, node)


def _is_stored_bias(node: ir.Node) -> bool:
    """Say whether a DQ gives constant INT32 to biases alone."""
    codes = input_at(node, 0) if is_dequantize(node) else None
    if codes is None or codes.dtype is not ir.DataType.INT32 or not is_constant(codes) or spread_scale(node) is None:
        return False
    readers = list(consumers(node.outputs[0]))
    alone = bool(readers) and not node.outputs[0].is_graph_output()
    return alone and all(_BIAS_SLOT.get(reader.op_type) == slot for reader, slot in readers)


def _write_float(graph: ir.Graph, node: ir.Node) -> None:
    """Put a constant under the name of what a DQ gives in the DQ's place."""
    codes, scale = input_at(node, 0), spread_scale(node)
    assert codes is not None and codes.const_value is not None and scale is not None
    floats = np.asarray(dequantized(node, np.asarray(codes.const_value.numpy()), scale), np.float32)
    old, fed = node.outputs[0], tuple(filter(None, node.inputs))
    name = name_of(old)
    bias = ir.Value(name=name, type=old.type, shape=old.shape, const_value=ir.Tensor(floats, name=name))
    ir.convenience.replace_all_uses_with(old, bias)
    graph.remove(node, safe=True)
    graph.register_initializer(bias)
    for value in fed:
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            graph.initializers.pop(name_of(value), None)
