"""What a QuantizeLinear or DequantizeLinear node says: its scale, zero point and stored type, read by value.

Pure queries. Only scales and zero points are ever read, never the tensors they belong to, so asking a 2 GB model costs
nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import onnx_ir as ir

from calibrators import QTYPES, Range
from qdq_cli.model.nodes import input_at, int_attribute, is_constant

_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})

_NUMBER = "qdq.single_number"

_INDIRECT = "qdq.read_through_identity"


class TensorScale(NamedTuple):
    """The quantization parameters of one per-tensor Q or DQ; two nodes agree when these are equal.

    Args:
        scale: Real units a step, finite and above 0.
        zero_point: The integer that means 0.0.
        qtype: The stored type.
    """

    scale: float
    zero_point: int
    qtype: ir.DataType


def is_quantize(node: ir.Node | None) -> bool:
    """Say whether a node is a QuantizeLinear of the default ONNX domain."""
    return node is not None and node.op_type == "QuantizeLinear" and not node.domain


def is_dequantize(node: ir.Node | None) -> bool:
    """Say whether a node is a DequantizeLinear of the default ONNX domain."""
    return node is not None and node.op_type == "DequantizeLinear" and not node.domain


def is_pair_half(node: ir.Node) -> bool:
    """Say whether a node is a QuantizeLinear or a DequantizeLinear of the default ONNX domain."""
    return node.op_type in _PAIR and not node.domain


def tensor_scale(node: ir.Node | None) -> TensorScale | None:
    """Return the parameters of a per-tensor Q or DQ with a constant scale; None for every other node.

    A scale of exactly one element is per tensor whatever `axis` says (A4); block-wise and computed scales, and scales
    that are not finite and positive (A7), have no value that could be compared.
    """
    if node is None or not is_pair_half(node) or int_attribute(node, "block_size", 0):
        return None
    scale, offset = _single_number(input_at(node, 1)), input_at(node, 2)
    zero_point = 0.0 if offset is None else _single_number(offset)
    if scale is None or zero_point is None or not math.isfinite(scale) or scale <= 0:
        return None
    return TensorScale(scale, int(zero_point), stored_type(node))


def kept_range(scale: TensorScale) -> Range | None:
    """Return the real values that a scale keeps: [-amax, amax] where 0.0 has the code in the middle, as writers lay it.

    None for a stored type that is not known.
    """
    qtype = QTYPES.get(scale.qtype.name.lower())
    if qtype is None:
        return None
    if scale.zero_point == qtype.zero_code:
        return Range.symmetric(scale.scale * qtype.steps)
    return Range((qtype.qmin - scale.zero_point) * scale.scale, (qtype.qmax - scale.zero_point) * scale.scale)


def stored_type(node: ir.Node) -> ir.DataType:
    """Return the integer type a Q writes or a DQ reads; UINT8 is ONNX's own default for a Q without zero point."""
    zero_point = input_at(node, 2)
    if zero_point is not None and zero_point.dtype is not None:
        return zero_point.dtype
    if is_quantize(node) and "output_dtype" in node.attributes:
        return ir.DataType(int_attribute(node, "output_dtype", int(ir.DataType.UINT8)))
    codes = node.outputs[0] if is_quantize(node) else input_at(node, 0)
    return codes.dtype if codes is not None and codes.dtype is not None else ir.DataType.UINT8


def returned_type(node: ir.Node) -> ir.DataType | None:
    """Return the float type a DQ returns: the one it names (opset 23), else that of its scale; None where unknown."""
    said = int_attribute(node, "output_dtype", 0)
    scale = input_at(node, 1)
    return ir.DataType(said) if said else None if scale is None else scale.dtype


def returns_another_type(node: ir.Node) -> bool:
    """Say whether a DQ with a scale of 16 bits returns another type: its operator then runs in float (A11)."""
    scale = input_at(node, 1)
    if scale is None or scale.dtype not in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        return False
    return returned_type(node) is not scale.dtype


def mark_indirect(value: ir.Value) -> None:
    """Let each Q and DQ that reads a value remember its slots: an Identity of a constant is about to go."""
    for use in value.uses():
        if is_pair_half(use.node):
            use.node.meta[_INDIRECT] = indirect_slots(use.node) | {use.idx}


def indirect_slots(node: ir.Node) -> frozenset[int]:
    """Return the slots in which a Q or DQ read its constant through an Identity in the file."""
    found: frozenset[int] = node.meta.data.get(_INDIRECT, frozenset())
    return found


def forget_indirect(node: ir.Node) -> None:
    """Take a Q or DQ as one that reads its constants themselves from now on."""
    node.meta.pop(_INDIRECT, None)


def element_count(value: ir.Value) -> int | None:
    """Return how many elements a tensor has, or None where a dimension is not known."""
    if value.shape is not None:
        sizes = [size if isinstance(size, int) else -1 for size in value.shape]
        return None if -1 in sizes else math.prod(sizes)
    return None if value.const_value is None else int(value.const_value.size)


def _single_number(value: ir.Value | None) -> float | None:
    """Return a constant of one element as a number; the size is checked before any data is read.

    The value remembers the number beside the tensor that it was read from: it is asked for several times of each.
    """
    data = value.const_value if value is not None and is_constant(value) else None
    if value is None or data is None:
        return None
    known: tuple[ir.TensorProtocol, float | None] | None = value.meta.data.get(_NUMBER)
    if known is None or known[0] is not data:
        single = not data.shape.dims or data.size == 1
        value.meta[_NUMBER] = known = (data, float(data.numpy().item()) if single else None)
    return known[1]


def holds_constant(value: ir.Value | None) -> bool:
    """Say whether a value is a constant, or a constant behind Q and DQ: a quantized weight (S3)."""
    for _ in range(2):
        if value is None or (producer := value.producer()) is None or not is_pair_half(producer):
            break
        value = input_at(producer, 0)
    return is_constant(value)
