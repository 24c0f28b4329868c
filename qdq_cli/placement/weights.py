"""Which axis of a weight holds the output channels, and which one the inputs (rules, sections 1.5 and 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from calibrators.qparams import QParams
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
        return _deconv_axis(node, config)
    # MatMul: documented for 2-D weights alone; a stack of matrices gets one scale.
    return 1 if rank(input_at(node, 1)) == 2 else None


def input_axis(node: ir.Node) -> int:
    """Return the axis of a matrix that a product sums over: the one that is cut into blocks."""
    return 1 if node.op_type == "Gemm" and int_attribute(node, "transB", 0) else 0


def _deconv_axis(node: ir.Node, config: PlanConfig) -> int | None:
    """Weights are [C, M/g, k...]: 0 where a group has one channel on both sides, else 1, where that is asked for.

    There axis 0 is that of the input and of the output channels, so every reading of the sources means it (section 9,
    item 1); in all others they disagree.
    """
    weight = input_at(node, 1)
    groups = int_attribute(node, "group", 1)
    dims = None if weight is None else weight.shape
    if groups > 1 and dims is not None and dims[0] == groups and dims[1] == 1:
        return 0
    return 1 if config.deconv_per_channel else None


def transposed(weight: ir.Value) -> ir.Value:
    """Return the weight of a Gemm the other way round: [inputs, outputs] is what runtimes read codes of alone."""
    tensor = ir.Tensor(np.asarray(None if weight.const_value is None else weight.const_value.numpy()).T)
    return ir.Value(name=weight.name, type=weight.type, shape=tensor.shape, const_value=tensor)


def transposed_qparams(qparams: QParams) -> QParams:
    """Return the scales of a weight that was turned the other way round."""
    axis = None if qparams.axis is None else 1 - qparams.axis
    return replace(qparams, scale=qparams.scale.T, zero_point=qparams.zero_point.T, axis=axis)
