"""Operands that are quantized in a way that TensorRT for RTX computes in float."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import input_at
from qdq_cli.model.scales import is_dequantize
from qdq_cli.targets.tensorrt.lint_operators import lint_weighted
from qdq_cli.targets.tensorrt.lint_scales import is_vector_of_one
from qdq_cli.targets.tensorrt.onnx_types import coded_precision
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt_rtx.attention import dequantizes_weight_first

VECTOR = "The scale of its input has the shape [1]: TensorRT for RTX 1.7 computes it in float (decision 15)."
SUMMED = "Its weight has scales along an axis that the sum runs over, which no integer kernel has (A26)."
BLOCKS = "TensorRT for RTX 1.7 makes MXFP8 blocks float before the product (decision 15)."


def why_float(node: ir.Node) -> str:
    """Say why a weighted operator with quantized operands computes in float, or "" where it does not.

    Source: decision 15.
    """
    producers = [None if value is None else value.producer() for value in (input_at(node, 0), input_at(node, 1))]
    dequantized = [producer for producer in producers if producer is not None and is_dequantize(producer)]
    if any(coded_precision(producer) is Precision.MXFP8 for producer in dequantized):
        return BLOCKS
    if any(is_vector_of_one(producer) for producer in dequantized):
        return VECTOR
    if any(entry.code == "E_AXIS_REDUCTION" for entry in lint_weighted(node)):
        return SUMMED
    return dequantizes_weight_first(node) if node.op_type == "MatMul" else ""
