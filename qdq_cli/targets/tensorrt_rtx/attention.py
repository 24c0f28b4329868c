"""The one product that makes queries, keys and values of an attention, and how its weight is stored."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import consumers, input_at, is_activation, is_constant, is_op, rank, static_dims
from qdq_cli.model.scales import element_count, is_dequantize

STORED_HEADS = (
    "It makes queries, keys and values at once, and its weight is stored as integers with a scale for each channel: "
    "TensorRT for RTX 1.7 dequantizes such a weight before the product. Behind Q and DQ (--weights fp32 or "
    "int8-compat) it computes in INT8 (decision 15)."
)

_MOVING = ("Reshape", "Transpose", "Split", "Slice", "Gather", "Squeeze", "Unsqueeze", "Identity")
_SCALING = ("Add", "Sub", "Mul", "Div")


def dequantizes_weight_first(node: ir.Node) -> str:
    """Say why a product of an attention computes in float although its operands are quantized, or "".

    It is so where all of this holds: the weight is [K, 3 K], stored as integers behind a DQ with several scales; and
    of the result, cut into heads, every part is an operand of a product of activations, without a Q between.

    Source: decision 15.
    """
    weight = input_at(node, 1)
    stored = _stored_per_channel(weight) and _is_three_squares(weight) and not _is_fp4_beside_single(node)
    return STORED_HEADS if stored and _is_read_as_heads(node.outputs[0]) else ""


def _is_fp4_beside_single(node: ir.Node) -> bool:
    """Say whether a product reads FP4 codes and gives FP32: it is computed on codes all the same (decision 20)."""
    weight = input_at(node, 1)
    maker = None if weight is None else weight.producer()
    codes = None if maker is None or not is_dequantize(maker) else input_at(maker, 0)
    fp4 = codes is not None and codes.dtype == ir.DataType.FLOAT4E2M1
    return fp4 and node.outputs[0].dtype == ir.DataType.FLOAT


def _stored_per_channel(weight: ir.Value | None) -> bool:
    producer = None if weight is None else weight.producer()
    if producer is not None and is_op(producer, "Transpose"):
        weight = input_at(producer, 0)
        producer = None if weight is None else weight.producer()
    if producer is None or not is_dequantize(producer) or not is_constant(input_at(producer, 0)):
        return False
    scale = input_at(producer, 1)
    return scale is not None and (element_count(scale) or 1) > 1


def _is_three_squares(weight: ir.Value | None) -> bool:
    dims = static_dims(weight)
    return dims is not None and len(dims) == 2 and None not in dims and dims[1] == 3 * (dims[0] or 0)


def _is_read_as_heads(result: ir.Value) -> bool:
    """Follow a result over what moves and scales it; whatever reads it in the end has to be a product."""
    waiting, cut = [result], False
    while waiting:
        value = waiting.pop()
        readers = list(consumers(value))
        if value.is_graph_output() or not readers:
            return False
        for reader, slot in readers:
            if _is_product(reader):
                continue
            if not _passes(reader, slot):
                return False
            cut = cut or (is_op(reader, "Reshape") and (rank(reader.outputs[0]) or 0) > 3)
            waiting += [output for output in reader.outputs if output.uses() or output.is_graph_output()]
    return cut


def _is_product(node: ir.Node) -> bool:
    return is_op(node, "MatMul") and all(is_activation(value) for value in node.inputs[:2])


def _passes(node: ir.Node, slot: int) -> bool:
    if is_op(node, *_MOVING):
        return slot == 0
    return is_op(node, *_SCALING) and is_constant(input_at(node, 1 - slot))
