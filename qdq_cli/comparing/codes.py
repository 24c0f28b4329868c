"""Write operators on codes as the DQ, float operator and Q they stand for, so that their layers can be compared.

`onnxruntime.quantization` makes such models with QuantFormat.QOperator (QLinearConv, QLinearAdd, QGemm) and with
quantize_dynamic (DynamicQuantizeLinear, ConvInteger, MatMulInteger). What is not known here stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq_cli.comparing.integers import spell_dynamic, spell_integer
from qdq_cli.comparing.pairs import Pairs, float_name, is_one_scale
from qdq_cli.model.emit import Parameters
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, rank
from qdq_cli.preparing.prepare import infer_shapes

_DOMAINS = ("", "com.microsoft")


@dataclass(frozen=True)
class Form:
    """Where an operator on codes has its operands; behind codes and results stand their scale and zero point.

    Args:
        op_type: The float operator it stands for.
        codes: Slots of the codes; None for all behind `result`.
        result: Slot of the scale of the result.
        first: Slots of operands that are no codes and come first.
        bias: Slot of the bias, whose scale is the product of those of the codes.
    """

    op_type: str
    codes: tuple[int, ...] | None
    result: int
    first: tuple[int, ...] = ()
    bias: int | None = None


FORMS = {
    "QLinearConv": Form("Conv", (0, 3), 6, bias=8),
    "QLinearMatMul": Form("MatMul", (0, 3), 6),
    "QGemm": Form("Gemm", (0, 3), 7, bias=6),
    "QLinearAdd": Form("Add", (0, 3), 6),
    "QLinearMul": Form("Mul", (0, 3), 6),
    "QLinearSigmoid": Form("Sigmoid", (0,), 3),
    "QLinearLeakyRelu": Form("LeakyRelu", (0,), 3),
    "QLinearSoftmax": Form("Softmax", (0,), 3),
    "QLinearAveragePool": Form("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": Form("GlobalAveragePool", (0,), 3),
    "QLinearConcat": Form("Concat", None, 0),
    "QLinearWhere": Form("Where", (1, 4), 7, first=(0,)),
}
"""Operator on codes -> its form. Source: ONNX operators, and ContribOperators.md of ONNX Runtime."""

_OWN_ATTRIBUTES = ("channels_last", "opset")
"""What the float operators do not have."""

_WEIGHT = 3
"""Slot of the second operand, the weights if there are any."""

_UNKNOWN = object()


def spell_out(model: ir.Model) -> bool:
    """Write the operators on codes of the main graph as DQ, float operator and Q, in place.

    The result computes the same up to a rounding of a code: in floats instead of integers. Its tensors in between are
    named as the float tensors that the codes were made of.

    Args:
        model: Comparable, of opset 13 or newer.

    Returns:
        Whether there were any.
    """
    pairs, nodes = Pairs(model.graph), list(model.graph)
    found = [_spell(node, pairs) for node in nodes]
    if not any(found):
        return False
    for node in reversed(nodes):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            model.graph.remove(node, safe=True)
    infer_shapes(model)
    return True


def has_codes(model: ir.Model) -> bool:
    """Say whether `spell_out` has something to do."""
    names = {node.op_type for node in model.graph}
    return bool(names & {*FORMS, "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"})


def _spell(node: ir.Node, pairs: Pairs) -> bool:
    if node.domain not in _DOMAINS:
        return False
    if node.op_type == "DynamicQuantizeLinear":
        return spell_dynamic(node, pairs)
    if node.op_type in ("ConvInteger", "MatMulInteger"):
        return spell_integer(node, pairs)
    form = FORMS.get(node.op_type)
    return form is not None and _spell_linear(node, form, pairs)


def _spell_linear(node: ir.Node, form: Form, pairs: Pairs) -> bool:
    """Replace an operator on codes; says whether that could be done."""
    slots = form.codes if form.codes is not None else tuple(range(form.result + 2, len(node.inputs), 3))
    read = [_parameters(node, slot, _axis(node, form, slot)) for slot in slots]
    scale, bias = input_at(node, form.result), _bias(node, form, slots)
    if not _means_the_same(node) or None in read or bias is _UNKNOWN or not (scale is None or is_one_scale(scale)):
        return False
    operands = [input_at(node, slot) for slot in form.first]
    for slot, parameters in zip(slots, read, strict=True):
        codes = input_at(node, slot)
        assert codes is not None and parameters is not None
        operands.append(pairs.dequantize(codes, parameters, node))
    if isinstance(bias, ir.TensorProtocol):
        operands.append(pairs.constant(bias, f"{float_name(node)}/bias"))
    attributes = [value for name, value in node.attributes.items() if name not in _OWN_ATTRIBUTES]
    result = pairs.add(form.op_type, operands, attributes, float_name(node), node)
    if scale is None:  # QGemm gives floats then
        pairs.replace(node.outputs[0], result)
    else:
        pairs.name_float(result, node.outputs[0])
        result.type = ir.TensorType(scale.dtype or ir.DataType.FLOAT)
        parameters = Parameters(scale, input_at(node, form.result + 1))
        pairs.dequantize(pairs.quantize(result, parameters, node.outputs[0], node), parameters, node)
    return True


def _means_the_same(node: ir.Node) -> bool:
    """Say whether the float operator of today computes what this one does."""
    if int_attribute(node, "channels_last", 0):
        return False
    if node.op_type != "QLinearSoftmax" or int_attribute(node, "opset", 13) >= 13:
        return True
    dims = rank(input_at(node, 0))
    return int_attribute(node, "axis", 1) in (-1, None if dims is None else dims - 1)


def _axis(node: ir.Node, form: Form, slot: int) -> int | None:
    """Where the scales of a weight lie; None for what has one scale always."""
    if slot != _WEIGHT:
        return None
    return {"Conv": 0, "Gemm": 1 - int_attribute(node, "transB", 0), "MatMul": -1}.get(form.op_type)


def _parameters(node: ir.Node, slot: int, axis: int | None) -> Parameters | None:
    """Scale and zero point of the codes in a slot; None where they are computed, or lie along an unknown axis."""
    scale, zero_point = input_at(node, slot + 1), input_at(node, slot + 2)
    if scale is None or not is_constant(scale) or not (zero_point is None or is_constant(zero_point)):
        return None
    if is_one_scale(scale):
        return Parameters(scale, zero_point)
    return None if axis is None or rank(scale) != 1 else Parameters(scale, zero_point, axis)


def _bias(node: ir.Node, form: Form, slots: Sequence[int]) -> ir.TensorProtocol | object | None:
    """The bias in floats; None where there is none, `_UNKNOWN` where it or its scale is computed."""
    if form.bias is None or input_at(node, form.bias) is None:
        return None
    stored, *steps = (constant_at(node, slot) for slot in (form.bias, *(slot + 1 for slot in slots)))
    if stored is None or any(step is None for step in steps):
        return _UNKNOWN
    one, other = (np.asarray(step, np.float64).reshape(-1) for step in steps)
    return ir.Tensor((stored.astype(np.float64) * one * other).astype(np.float32))
