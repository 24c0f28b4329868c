"""What keeps a weighted operator float for every runtime, and what does for several; each target lists its own."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, is_activation, is_constant, is_float, is_op, is_unobservable, rank
from qdq_cli.placement.skips import REASONS
from qdq_cli.placement.target import Obstacle


def _not_float(node: ir.Node, config: PlanConfig) -> bool:
    return not all(is_float(value) for value in node.inputs[:2])


def _already_quantized(node: ir.Node, config: PlanConfig) -> bool:
    return all(value is not None and is_op(value.producer(), "DequantizeLinear") for value in node.inputs[:2])


def _constant_input(node: ir.Node, config: PlanConfig) -> bool:
    """An operand that is neither weight nor activation, such as a zero state: Q/DQ on the other is in vain (A31)."""
    weight = input_at(node, 1)
    fixed = is_constant(weight) or node.op_type != "MatMul"
    return not all(is_activation(value) for value in (node.inputs[:1] if fixed else node.inputs[:2]))


def _weight_computed(node: ir.Node, config: PlanConfig) -> bool:
    weight = input_at(node, 1)
    return node.op_type != "MatMul" and not is_constant(weight) and not _is_quantized_weight(weight)


def _is_quantized_weight(value: ir.Value | None) -> bool:
    """Say whether a value is DQ of a constant: a weight that is quantized already."""
    dq = value.producer() if value is not None else None
    if dq is None or not is_op(dq, "DequantizeLinear"):
        return False
    source = input_at(dq, 0)
    q = source.producer() if source is not None else None
    return is_constant(source) or (q is not None and is_op(q, "QuantizeLinear") and is_constant(input_at(q, 0)))


def _attention(node: ir.Node, config: PlanConfig) -> bool:
    two = node.op_type == "MatMul" and is_activation(input_at(node, 1))
    return two and not config.attention and not _is_quantized_weight(input_at(node, 1))


def _unobserved(node: ir.Node, config: PlanConfig) -> bool:
    return any(is_unobservable(value) for value in node.inputs)


def _never_run(node: ir.Node, config: PlanConfig) -> bool:
    return node.name in config.unseen


def _wide_range(node: ir.Node, config: PlanConfig) -> bool:
    return config.range_rules and node.name in config.wide


def _ruined(node: ir.Node, config: PlanConfig) -> bool:
    return not config.all_int8 and node.name in config.ruined


def is_convolution(node: ir.Node, config: PlanConfig) -> bool:
    """Say whether it is one, which runtimes of weights alone and of blocks have no kernel for."""
    return node.op_type in ("Conv", "ConvTranspose")


def _no_weight(node: ir.Node, config: PlanConfig) -> bool:
    return not is_constant(input_at(node, 1))


def _no_matrix(node: ir.Node, config: PlanConfig) -> bool:
    return rank(input_at(node, 1)) != 2


NOT_FLOAT = Obstacle("NOT_FLOAT", _not_float, REASONS["NOT_FLOAT"])
ALREADY_QUANTIZED = Obstacle("ALREADY_QUANTIZED", _already_quantized, REASONS["ALREADY_QUANTIZED"])
CONSTANT_INPUT = Obstacle("CONSTANT_INPUT", _constant_input, REASONS["CONSTANT_INPUT"])
WEIGHT_COMPUTED = Obstacle("WEIGHT_COMPUTED", _weight_computed, REASONS["WEIGHT_COMPUTED"])
UNOBSERVED = Obstacle("UNOBSERVED", _unobserved, REASONS["UNOBSERVED"])
NEVER_RUN = Obstacle("NEVER_RUN", _never_run, REASONS["NEVER_RUN"])

ATTENTION = Obstacle("ATTENTION", _attention, REASONS["ATTENTION"], slow=True)
"""Optional: products of two activations, which many runtimes fuse in float."""

WIDE_RANGE = Obstacle("WIDE_RANGE", _wide_range, REASONS["WIDE_RANGE"])
"""Optional: depthwise convolutions whose input calibration found too wide for any range."""

ALONE_PRODUCT = Obstacle("ALONE_PRODUCT", _no_weight, REASONS["ALONE_PRODUCT"])
"""Optional: products of two activations, where only weights have a scale for several values."""

ALONE_STACK = Obstacle("ALONE_STACK", _no_matrix, REASONS["ALONE_STACK"])
"""Optional: weights that are no matrix."""

RUINED = Obstacle("RUINED", _ruined, REASONS["RUINED"])
"""Optional: operators that calibration found to be ruined by INT8, the reason of each in `PlanConfig.ruined`."""

EVERYWHERE = (NOT_FLOAT, ALREADY_QUANTIZED, CONSTANT_INPUT, WEIGHT_COMPUTED, UNOBSERVED, NEVER_RUN)
"""What holds for every runtime: without these a plan would ask for what cannot be written or observed."""
