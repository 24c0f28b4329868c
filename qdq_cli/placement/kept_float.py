"""Operators that were left float between quantized ones, kept from a runtime that would quantize them all the same.

ONNX Runtime gives a Conv, ConvTranspose or Gemm with a float weight, whose input comes out of a DQ and whose result
goes into a Q, a weight of INT8 with one scale for all of it: what was left float because 8 bits ruin it is computed on
fewer levels than any quantized one. It does so only where the bias, if there is one, is a constant. So the bias stands
behind a DQ here, as INT32 in steps far below what a float tells apart from its largest value; where there is none,
zeros do.

Source: ONNX Runtime, core/optimizer/qdq_transformer/weight_bias_quantization.cc.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.emit import Emitter, Parameters
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, is_op, name_of, only_consumer
from qdq_cli.model.scales import is_dequantize, is_quantize, tensor_scale

_BITS = 30
"""Steps of a bias between 0.0 and the power of two above its largest value, as a power of two."""


def keep_float(graph: ir.Graph) -> None:
    """Put the biases of operators that would be quantized behind a DQ, in place.

    Args:
        graph: A graph with its Q and DQ; bodies are graphs of their own.
    """
    found = [node for node in graph if is_rounded(node)]
    emitter = Emitter(graph) if found else None
    for node in found:
        assert emitter is not None
        bias = constant_at(node, 2)
        values = np.zeros(_channels(node), np.float32) if bias is None else np.asarray(bias, np.float32)
        old = input_at(node, 2)
        name = f"{node.name}_bias" if old is None else name_of(old)
        codes, step = _in_fine_steps(values)
        stored = emitter.constant(f"{name}_quantized", ir.Tensor(codes))
        parameters = Parameters(emitter.constant(f"{name}_scale", ir.Tensor(step)), None)
        like = ir.Value(type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(values.shape))
        node.resize_inputs(3)
        node.replace_input_with(2, emitter.dequantize(stored, parameters, name, like))
        if old is not None and not old.uses() and not old.is_graph_output():
            graph.initializers.pop(name_of(old))


def is_rounded(node: ir.Node) -> bool:
    """Say whether ONNX Runtime quantizes the float weight of an operator by itself."""
    if not is_op(node, "Conv", "ConvTranspose", "Gemm"):
        return False
    data, weight, bias = (input_at(node, slot) for slot in range(3))
    maker = None if data is None else data.producer()
    if maker is None or not is_dequantize(maker) or tensor_scale(maker) is None:
        return False
    if weight is None or not is_constant(weight) or weight.dtype is not ir.DataType.FLOAT:
        return False
    plain = bias is None or (is_constant(bias) and len(bias.shape or ()) == 1)
    return plain and _ends_in_codes(node)


def _ends_in_codes(node: ir.Node) -> bool:
    """Say whether a Q alone reads a result, over any number of Relu and Clip."""
    use = only_consumer(node.outputs[0])
    while use is not None and is_op(use[0], "Relu", "Clip") and use[1] == 0:
        use = only_consumer(use[0].outputs[0])
    return use is not None and is_quantize(use[0]) and use[1] == 0


def _channels(node: ir.Node) -> int:
    """How many output channels an operator with a constant weight has."""
    weight = input_at(node, 1)
    shape = () if weight is None or weight.const_value is None else weight.const_value.shape.numpy()
    if is_op(node, "ConvTranspose"):
        return int(shape[1]) * int_attribute(node, "group", 1)
    return int(shape[0] if is_op(node, "Conv") or int_attribute(node, "transB", 0) else shape[1])


def _in_fine_steps(values: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return values as INT32, and the power of two that is their step: those near the largest come out unchanged."""
    largest = float(np.abs(values).max(initial=0.0))
    exponent = math.frexp(largest)[1] if 0.0 < largest < math.inf else 0
    step = np.float32(2.0 ** max(exponent - _BITS, -126))
    return np.rint(values.astype(np.float64) / float(step)).astype(np.int32), np.asarray(step)
