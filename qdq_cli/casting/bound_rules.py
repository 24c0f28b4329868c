"""The rule of each operator that says how far its results reach, from how far its operands do: sound for all inputs.

An operator without a rule has results that nothing bounds.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.casting import mapped_bounds as mapped
from qdq_cli.casting import summed_bounds as summed
from qdq_cli.casting.intervals import SIGNED_UNIT, UNIT, Rule
from qdq_cli.model.dynamic import CODES, MXFP8_DEQUANTIZE, is_about_blocks
from qdq_cli.model.nodes import ONNX_DOMAIN


def rule_of(node: ir.Node) -> Rule | None:
    """Return the rule of a node's operator; None where there is none."""
    return RULES.get(node.op_type) if node.domain == ONNX_DOMAIN or is_about_blocks(node) else None


MOVING = (
    *("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "GatherND"),
    *("GatherElements", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Dropout", "MaxPool", "GlobalMaxPool"),
    *("ReduceMax", "ReduceMin", "ReverseSequence", "Compress", "TopK"),
)
"""Operators whose results are values of their first operand."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVING, mapped.same),
    **dict.fromkeys(("Concat", "Max", "Min"), mapped.choice),
    "Mean": mapped.mean_of,
    "Where": mapped.where,
    "ScatterElements": mapped.scatter,
    "ScatterND": mapped.scatter,
    "Pad": mapped.pad,
    "Resize": mapped.resize,
    "Upsample": mapped.resize,
    "GridSample": mapped.grid,
    **dict.fromkeys(("Sigmoid", "Softmax", "HardSigmoid"), mapped.fixed(UNIT)),
    **dict.fromkeys(("Tanh", "Erf", "Softsign", "Sin", "Cos", "Sign", "LpNormalization"), mapped.fixed(SIGNED_UNIT)),
    "Relu": mapped.monotone(lambda number: max(number, 0.0)),
    "Exp": mapped.monotone(mapped.exp),
    "Softplus": mapped.monotone(mapped.softplus),
    "HardSwish": mapped.gate(-0.376),
    "Gelu": mapped.gate(-0.1701),
    "Mish": mapped.gate(-0.309),
    "Elu": mapped.elu(1.0, 1.0),
    "Celu": mapped.elu(1.0, 1.0),
    "Selu": mapped.elu(1.0507009873554805, 1.6732632423543772),
    "LeakyRelu": mapped.leaky,
    "PRelu": mapped.prelu,
    "Clip": mapped.clip,
    "Add": mapped.add,
    "Sub": mapped.sub,
    "Mul": mapped.mul,
    "Div": mapped.div,
    "Sum": mapped.sum_of,
    "Reciprocal": mapped.reciprocal,
    "Pow": mapped.power,
    "Sqrt": mapped.sqrt,
    "Log": mapped.log,
    "Abs": mapped.magnitude,
    "Neg": mapped.neg,
    **dict.fromkeys(("Floor", "Ceil", "Round"), mapped.rounded),
    "MatMul": summed.matmul,
    "Conv": summed.convolution,
    "ConvTranspose": summed.convolution,
    "Gemm": summed.gemm,
    "BatchNormalization": summed.batch_norm,
    "LayerNormalization": summed.normalized(summed.layer_axes),
    "InstanceNormalization": summed.normalized(summed.spatial_axes),
    "GroupNormalization": summed.normalized(summed.group_axes),
    "ReduceMean": summed.mean,
    "AveragePool": summed.average,
    "GlobalAveragePool": summed.mean,
    "ReduceSum": summed.reduce_sum,
    "ReduceL1": summed.reduce_abs,
    "ReduceL2": summed.reduce_l2,
    "ReduceSumSquare": summed.reduce_squares,
    "ReduceLogSumExp": summed.log_sum_exp,
    "LogSoftmax": summed.log_softmax,
    "CumSum": summed.cum_sum,
    "Cast": mapped.cast,
    "DequantizeLinear": mapped.dequantize,
    **dict.fromkeys(CODES, mapped.in_blocks),
    MXFP8_DEQUANTIZE: mapped.from_blocks,
    "ConstantOfShape": mapped.filled,
    "OneHot": mapped.one_hot,
    "LSTM": summed.lstm,
    "GRU": summed.recurrent,
    "RNN": summed.recurrent,
    "LRN": summed.lrn,
}
"""Operator of the default domain, or of TensorRT's on blocks -> its rule."""
