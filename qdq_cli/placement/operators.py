"""THE operator table: what each ONNX operator means for quantization, whatever runs it; all who ask read this table.

A row gives the operator's class (W, N, C, F of the rules, section 2), the input slots that carry activations, weight
and bias, and, for operators that commute with quantization, the condition for it. An operator that is not in the table
is class F: it stays float. What a runtime makes of the operators is its target's table (`placement.target`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx_ir as ir

from qdq_cli.model.foreign import HIDDEN_PRODUCTS, hides_product
from qdq_cli.model.nodes import (
    ONNX_DOMAIN,
    constant_at,
    constant_ints,
    every_node,
    float_attribute,
    input_at,
    int_attribute,
    ints_attribute,
    is_activation,
    is_constant,
    is_float,
    is_op,
    rank,
    string_attribute,
)


class OpClass(Enum):
    """Operator classes of the rules, section 2."""

    WEIGHTED = "W"
    QUANTIZABLE = "N"
    COMMUTING = "C"
    FLOAT = "F"


Obstacle = str
"""Why an operator does not commute although its kind can; the empty string says that it does."""


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Args:
        op_class: Class of the rules, section 2; a class C operator whose `condition` fails counts as F.
        data: Input slots that hold activations, or None for all inputs (Concat, Add).
        weight: Slot of the weight of a weighted operator.
        bias: Slot of its bias, never quantized (A27).
        condition: For class C: the obstacle to commuting, "" where there is none (rules, section 2.3).
        int8_opset: First ONNX opset that defines the operator on INT8 tensors and that ONNX Runtime's CPU provider
            runs so; None where there is none. Bounds the region form, which really moves the operator to INT8.
    """

    op_class: OpClass
    data: tuple[int, ...] | None = (0,)
    weight: int | None = None
    bias: int | None = None
    condition: Callable[[ir.Node], Obstacle] | None = None
    int8_opset: int | None = None


def _first_output_only(node: ir.Node) -> Obstacle:
    extra = [out for out in node.outputs[1:] if out.uses() or out.is_graph_output()]
    return "its second output (Indices) is used" if extra else ""


def _fills_with_zero(node: ir.Node) -> Obstacle:
    """Filling with 0.0 is filling with its code; the modes that fill with values of the tensor move them."""
    if string_attribute(node, "mode", "constant") != "constant":
        return ""
    if input_at(node, 2) is not None:
        value = constant_at(node, 2)
        if value is None or np.any(np.asarray(value, dtype=np.float64) != 0):
            return "its fill value is not the constant 0"
    if float_attribute(node, "value", 0.0) != 0:
        return "its fill value is not the constant 0"
    return ""


def _nearest(node: ir.Node) -> Obstacle:
    mode = string_attribute(node, "mode", "nearest")
    if mode != "nearest":
        return f"its mode is {mode}, which mixes neighbouring values"
    if string_attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return "it extrapolates outside its input"
    return ""


_W, _N, _C, _F = OpClass.WEIGHTED, OpClass.QUANTIZABLE, OpClass.COMMUTING, OpClass.FLOAT
_POINTWISE = Operator(_N)
_BINARY = Operator(_N, data=(0, 1))


def _moves(int8_opset: int | None = None, data: tuple[int, ...] | None = (0,)) -> Operator:
    """Row of an operator that moves or copies elements (reason M of the rules, section 2.3)."""
    return Operator(_C, data=data, int8_opset=int8_opset)


OPERATORS: dict[str, Operator] = {
    # Class W: INT8 arithmetic (rules, section 2.1).
    "Conv": Operator(_W, weight=1, bias=2),
    "ConvTranspose": Operator(_W, weight=1, bias=2),
    "Gemm": Operator(_W, weight=1, bias=2),
    "MatMul": Operator(_W, data=(0, 1), weight=1),
    "Einsum": Operator(_W, data=None),
    # Class N: INT8 only with Q/DQ on both sides (rules, section 2.2).
    "AveragePool": Operator(_N),
    "GlobalAveragePool": Operator(_N),
    "ReduceMean": Operator(_N),
    "Add": _BINARY,
    "Sub": _BINARY,
    "Mul": _BINARY,
    "Div": _BINARY,
    "Max": Operator(_N, data=None),
    "Min": Operator(_N, data=None),
    "Pow": _BINARY,
    "Relu": _POINTWISE,
    "Clip": _POINTWISE,
    "LeakyRelu": _POINTWISE,
    "PRelu": _POINTWISE,
    "Sigmoid": _POINTWISE,
    "Tanh": _POINTWISE,
    "HardSigmoid": _POINTWISE,
    "HardSwish": _POINTWISE,
    "Swish": _POINTWISE,
    "Mish": _POINTWISE,
    "Gelu": _POINTWISE,
    "Elu": _POINTWISE,
    "Selu": _POINTWISE,
    "Celu": _POINTWISE,
    "Softplus": _POINTWISE,
    "Softsign": _POINTWISE,
    "ThresholdedRelu": _POINTWISE,
    "Erf": _POINTWISE,
    "Abs": Operator(_N),
    "Neg": Operator(_N),
    "BatchNormalization": Operator(_N),
    # Class C: commutes with a per-tensor Q and DQ (rules, section 2.3).
    "MaxPool": Operator(_C, condition=_first_output_only, int8_opset=12),
    "GlobalMaxPool": Operator(_C),
    "ReduceMax": Operator(_C, int8_opset=12),
    "ReduceMin": Operator(_C, int8_opset=12),
    "Transpose": _moves(1),
    "Reshape": _moves(5),
    "Flatten": _moves(9),
    "Squeeze": _moves(1),
    "Unsqueeze": _moves(1),
    "Slice": _moves(10),
    "Split": _moves(2),
    "Gather": _moves(1),
    "GatherND": _moves(11),
    "GatherElements": _moves(11),
    "Concat": _moves(4, data=None),
    "Expand": _moves(8),
    "Tile": _moves(6),
    "DepthToSpace": _moves(),
    "SpaceToDepth": _moves(),
    "Pad": Operator(_C, condition=_fills_with_zero, int8_opset=13),
    "Resize": Operator(_C, condition=_nearest, int8_opset=11),
    "Upsample": Operator(_C, condition=_nearest),
    "Identity": _moves(1),
    "Dropout": _moves(),
}
"""Operators of the default ONNX domain by name; every other one is `FLOAT_OPERATOR`."""

FLOAT_OPERATOR = Operator(_F, data=None)


def operator_of(node: ir.Node) -> Operator:
    """Return the row of a node's operator; custom domains, unlisted ones and an Einsum of one tensor are class F."""
    op_type = node.op_type  # read once: this is asked several times of every node
    if node.domain != ONNX_DOMAIN or (op_type == "Einsum" and len(node.inputs) < 2):
        return FLOAT_OPERATOR
    return OPERATORS.get(op_type, FLOAT_OPERATOR)


def obstacle_to_commuting(node: ir.Node) -> Obstacle:
    """Say why a class C operator does not commute here, or "" where it does.

    Raises:
        ValueError: The operator is not of class C at all.
    """
    row = operator_of(node)
    if row.op_class is not OpClass.COMMUTING:
        raise ValueError(f"{node.op_type} is of class {row.op_class.value}, not C")
    return row.condition(node) if row.condition else ""


def commutes(node: ir.Node | None) -> bool:
    """Say whether Op(Q(x)) = Q(Op(x)) holds for this node (class C with its condition met; rules, section 2.3).

    Args:
        node: Any node, or None (a graph input has no producer).
    """
    if node is None or operator_of(node).op_class is not OpClass.COMMUTING:
        return False
    return not obstacle_to_commuting(node)


def data_slots(node: ir.Node) -> tuple[int, ...]:
    """Return the input slots of a node that hold activations (run-time float tensors), in order."""
    listed = operator_of(node).data
    slots = range(len(node.inputs)) if listed is None else listed
    return tuple(slot for slot in slots if is_activation(input_at(node, slot)))


def is_data_slot(node: ir.Node, slot: int) -> bool:
    """Say whether one input slot of a node holds an activation; a Concat may have thousands of others."""
    listed = operator_of(node).data
    return (listed is None or slot in listed) and is_activation(input_at(node, slot))


def is_weighted(node: ir.Node | None) -> bool:
    """Say whether a node is of class W (rules, section 2.1)."""
    return node is not None and operator_of(node).op_class is OpClass.WEIGHTED


LEAST_ROWS = 64
"""Rows of the smallest table that is worth storing as codes."""


def is_lookup(node: ir.Node) -> bool:
    """Say whether a node looks up rows of a constant table of floats, as embeddings of words are."""
    table = input_at(node, 0)
    if not is_op(node, "Gather") or not is_constant(table) or not is_float(table) or rank(table) != 2:
        return False
    rows = None if table is None or table.shape is None else table.shape[0]
    return int_attribute(node, "axis", 0) in (0, -2) and isinstance(rows, int) and rows >= LEAST_ROWS


def counts_as_weighted(node: ir.Node) -> bool:
    """Say whether reports count a node among the weighted operators: class W, or an optimizer's that hides one."""
    return is_weighted(node) or hides_product(node)


def count_weighted(model: ir.Model) -> int:
    """Return how many weighted operators a model holds, those in the bodies of If, Loop and Scan included."""
    return sum(node.op_type in _COUNTED and counts_as_weighted(node) for node in every_node(model.graph))


_COUNTED = HIDDEN_PRODUCTS.union(name for name, row in OPERATORS.items() if row.op_class is OpClass.WEIGHTED)
"""Names of the operators that may count: most nodes need no closer look."""


def is_spatial_mean(node: ir.Node | None) -> bool:
    """Say whether a node averages over space: pooling, or ReduceMean over all spatial axes of a rank >= 4 tensor.

    GlobalAveragePool and ReduceMean over axes 2.. are the same computation and get the same plan (rules, S2, P9).
    """
    if node is None or node.domain != ONNX_DOMAIN:
        return False
    if node.op_type in ("AveragePool", "GlobalAveragePool"):
        return True
    return node.op_type == "ReduceMean" and _reduced_axes_are_spatial(node)


def _reduced_axes_are_spatial(node: ir.Node) -> bool:
    dims = rank(input_at(node, 0))
    axes = constant_ints(node, 1) if input_at(node, 1) is not None else ints_attribute(node, "axes")
    if dims is None or dims < 4 or axes is None:
        return False
    return sorted(axis % dims for axis in axes) == list(range(2, dims))


def is_depthwise(node: ir.Node) -> bool:
    """Say whether a Conv or ConvTranspose reads each input channel alone: several groups, one input channel each."""
    weight = input_at(node, 1)
    groups = int_attribute(node, "group", 1)
    if not is_op(node, "Conv", "ConvTranspose") or weight is None or weight.shape is None or groups == 1:
        return False
    return bool(weight.shape[1] == 1 if node.op_type == "Conv" else weight.shape[0] == groups)
