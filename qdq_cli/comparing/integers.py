"""Write what dynamic quantization makes (codes with computed scales, sums of integers) as Q, DQ and float operators."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.comparing.pairs import Pairs, float_name, is_one_scale
from qdq_cli.model.emit import Parameters
from qdq_cli.model.nodes import input_at, is_constant, is_op, only_consumer, rank

_FLOAT = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


def spell_dynamic(node: ir.Node, pairs: Pairs) -> bool:
    """Let a Q make the codes of a DynamicQuantizeLinear, which goes on giving scale and zero point."""
    source, (codes, scale, zero_point) = node.inputs[0], node.outputs
    if source is None:
        return False
    pairs.quantize(source, Parameters(scale, zero_point), codes, node)
    return True


def spell_integer(node: ir.Node, pairs: Pairs) -> bool:
    """Replace ConvInteger or MatMulInteger, and the Cast and Mul that make floats of its sums, by the float operator.

    The scale of the sums has to be computed as the product of those of both operands, as onnxruntime's quantizer does.
    """
    cast = only_consumer(node.outputs[0])
    scaled = only_consumer(cast[0].outputs[0]) if cast is not None and is_op(cast[0], "Cast") else None
    if scaled is None or not is_op(scaled[0], "Mul"):
        return False
    product = input_at(scaled[0], 1 - scaled[1])
    read = None if product is None else _operands(node, product)
    if read is None:
        return False
    operands: list[ir.Value | None] = [pairs.dequantize(codes, parameters, node) for codes, parameters in read]
    result = pairs.add(_FLOAT[node.op_type], operands, list(node.attributes.values()), float_name(node), node)
    pairs.replace(scaled[0].outputs[0], result)
    return True


def _operands(node: ir.Node, product: ir.Value) -> list[tuple[ir.Value, Parameters]] | None:
    """Both operands and how their codes are read; None where the scales cannot be told."""
    factors, codes = product.producer(), [input_at(node, slot) for slot in (0, 1)]
    if factors is None or not is_op(factors, "Mul"):
        return None
    scales = list(factors.inputs)
    if any(_scale_of(value) is scale for value, scale in zip(codes, reversed(scales), strict=True)):
        scales.reverse()
    found = []
    for slot, (operand, scale) in enumerate(zip(codes, scales, strict=True)):
        if operand is None or scale is None or not _reads_with(node, slot, scale):
            return None
        axis = None if not is_constant(scale) or is_one_scale(scale) else -1
        found.append((operand, Parameters(scale, input_at(node, slot + 2), axis)))
    return found


def _reads_with(node: ir.Node, slot: int, scale: ir.Value) -> bool:
    """Say whether a scale is that of an operand: of the Q that makes it; for weights one, or one a column."""
    operand = input_at(node, slot)
    if not is_constant(operand):
        return _scale_of(operand) is scale
    columns = node.op_type == "MatMulInteger" and slot == 1 and is_constant(scale) and rank(scale) == 1
    return columns or is_one_scale(scale)


def _scale_of(codes: ir.Value | None) -> ir.Value | None:
    """The scale of the Q that makes some codes."""
    producer = None if codes is None else codes.producer()
    return input_at(producer, 1) if producer is not None and producer.op_type == "QuantizeLinear" else None
