"""What keeps weighted operators float in TensorRT (rules, sections 1.5, 1.8, 3.3 and 3.4)."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, int_attribute, is_activation, is_constant, rank, static_dims
from qdq_cli.placement.obstacles import (
    ALREADY_QUANTIZED,
    ATTENTION,
    CONSTANT_INPUT,
    NEVER_RUN,
    NOT_FLOAT,
    RUINED,
    UNOBSERVED,
    WEIGHT_COMPUTED,
    WIDE_RANGE,
)
from qdq_cli.placement.target import Obstacle
from qdq_cli.placement.topology import softmax_beside
from qdq_cli.targets.tensorrt.grouping import groups_without_kernel
from qdq_cli.targets.tensorrt.skips import REASONS


def _einsum(node: ir.Node, config: PlanConfig) -> bool:
    return node.op_type == "Einsum"


def _constant_left(node: ir.Node, config: PlanConfig) -> bool:
    return node.op_type == "MatMul" and is_constant(input_at(node, 0))


def _group_align(node: ir.Node, config: PlanConfig) -> bool:
    """Whether its groups have no INT8 kernel (A33, A34)."""
    weight = input_at(node, 1)
    if not config.group_rules or weight is None or weight.shape is None or not weight.shape.is_static():
        return False
    return groups_without_kernel(node, weight.shape.numpy()) is not None


def _few_channels(node: ir.Node, config: PlanConfig) -> bool:
    """Fewer than 16 channels on a side, unless a kernel for it is known to pay (rules, section 3.4).

    One output channel is a matrix-vector product in all but name (case T52).
    """
    weight = input_at(node, 1)
    if not config.channel_rules or node.op_type != "Conv" or weight is None or weight.shape is None:
        return False
    if not weight.shape.is_static() or weight.shape.rank() < 3:
        return False
    out_channels, in_channels, *kernel = weight.shape.numpy()
    if in_channels >= 16 and out_channels >= 16:
        return False
    if out_channels == 1:
        return True
    if int_attribute(node, "group", 1) > 1:
        return bool(out_channels % 8 or min(kernel) < 3)
    aligned = out_channels % 8 == 0 or in_channels % 8 == 0
    square = len(set(kernel)) == 1
    return not (aligned and (out_channels >= 16 or in_channels >= 16 or _is_first(node)) and square)


def _is_first(node: ir.Node) -> bool:
    """Say whether a node reads a graph input directly."""
    value = input_at(node, 0)
    return value is not None and value.producer() is None


MOST_TOKENS = 512
"""Length of the longest attention that is worth quantizing beside a float rest of 16 bits.

Source: NVIDIA ModelOpt's INT8 placement, section 3.3; and decision 13, where it was measured.
"""


def _long_attention(node: ir.Node, config: PlanConfig) -> bool:
    """The products around a Softmax over many tokens: in 16 bits one kernel computes all three, and stores no weights.

    Where the rest runs in FP32 there is no such kernel to lose.
    """
    if not config.attention_rules or config.single_rest or node.op_type != "MatMul":
        return False
    softmax = softmax_beside(node) if is_activation(input_at(node, 1)) else None
    dims = None if softmax is None else static_dims(softmax.outputs[0])
    if not softmax or not dims:
        return False
    tokens = dims[int_attribute(softmax, "axis", -1)]
    return tokens is not None and tokens > MOST_TOKENS


def _gemv(node: ir.Node, config: PlanConfig) -> bool:
    """A constant weight with a dimension of one. The batch side does not count: a plan is the same for every batch."""
    weight = input_at(node, 1)
    if not config.gemv_rules or node.op_type not in ("Gemm", "MatMul") or not is_constant(weight):
        return False
    dims = rank(weight)
    if dims is None or weight is None or weight.shape is None:
        return False
    return dims < 2 or 1 in weight.shape.numpy()[-2:]


OBSTACLES = (
    Obstacle("EINSUM", _einsum, REASONS["EINSUM"]),
    replace(NOT_FLOAT, reason=REASONS["NOT_FLOAT"]),
    ALREADY_QUANTIZED,
    Obstacle("CONSTANT_LEFT", _constant_left, REASONS["CONSTANT_LEFT"]),
    CONSTANT_INPUT,
    ATTENTION,
    Obstacle("LONG_ATTENTION", _long_attention, REASONS["LONG_ATTENTION"], slow=True),
    replace(WEIGHT_COMPUTED, reason=REASONS["WEIGHT_COMPUTED"]),
    UNOBSERVED,
    NEVER_RUN,
    Obstacle("GROUP_ALIGN", _group_align, REASONS["GROUP_ALIGN"]),
    Obstacle("FEW_CHANNELS", _few_channels, REASONS["FEW_CHANNELS"], slow=True),
    WIDE_RANGE,
    RUINED,
    Obstacle("GEMV", _gemv, REASONS["GEMV"], slow=True),
)
"""In the order in which they are asked."""
