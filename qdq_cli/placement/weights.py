"""Which axis of a weight holds the output channels (rules, section 1.5)."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, int_attribute, rank


def weight_axis(node: ir.Node, config: PlanConfig) -> int | None:
    """Return the per-channel axis of a weighted node's constant operand, or None for one scale a tensor.

    Never the reduction axis: its scale does not factor out of the accumulation (A26).
    """
    if config.per_tensor_weights:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if int_attribute(node, "transB", 0) else 1
    if node.op_type == "ConvTranspose":
        return _deconv_axis(node) if config.deconv_per_channel else None
    # MatMul: documented for 2-D weights alone; a stack of matrices gets one scale.
    return 1 if rank(input_at(node, 1)) == 2 else None


def _deconv_axis(node: ir.Node) -> int:
    """Weights are [C, M/g, k...]; with one input and one output channel a group, axis 0 is the output channel."""
    weight = input_at(node, 1)
    groups = int_attribute(node, "group", 1)
    if weight is None or weight.shape is None:
        return 1
    depthwise = groups > 1 and weight.shape[0] == groups and weight.shape[1] == 1
    return 0 if depthwise else 1
