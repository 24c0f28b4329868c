"""Weights alone that no product reads as codes: a kernel of its own makes them float first.

Source: asked of the compiler of TensorRT for RTX 1.7, one network of each form (decision 18).
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import input_at, int_attribute, is_op, static_dims
from qdq_cli.model.scales import stored_type
from qdq_cli.placement.weights import input_axis


def is_made_float(node: ir.Node, dequantize: ir.Node) -> bool:
    """Say whether the weight of an operator that computes in float is made float by a kernel of its own.

    Convolutions read no codes. Products of one row read all of them; those of several rows read INT8 with a scale for
    each output channel or one for all, and INT4 in blocks, where the inputs are more than one.

    Args:
        node: The operator.
        dequantize: The DQ of its constant weight.
    """
    if not is_op(node, "MatMul", "Gemm"):
        return True
    if _is_one_row(node):
        return False
    blocks = bool(int_attribute(dequantize, "block_size", 0))
    if stored_type(dequantize) is not ir.DataType.INT4:
        return blocks
    return not blocks or _along_inputs(node, dequantize) == 1


def _along_inputs(node: ir.Node, dequantize: ir.Node) -> int | None:
    """Return how many blocks the inputs are; None where it is not known."""
    dims = static_dims(input_at(dequantize, 1)) or ()
    return dims[input_axis(node)] if len(dims) == 2 else None


def _is_one_row(node: ir.Node) -> bool:
    dims = static_dims(input_at(node, 0)) or ()
    if not dims:
        return False
    rows = [*dims[:-2], dims[-1] if int_attribute(node, "transA", 0) else dims[-2]] if len(dims) > 1 else []
    return all(size == 1 for size in rows)
