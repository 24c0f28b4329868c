"""Products of integers that come out exact on every processor.

On x86 processors without VNNI, ONNX Runtime multiplies UINT8 by INT8 with an instruction that adds two products in 16
bits and saturates there: 255 * 127 + 255 * 127 becomes 32,767. UINT8 by UINT8, and INT8 by INT8, take another way that
is exact. So the INT8 operand is written as UINT8, all codes and the zero point 128 higher, which means the same.

`session.x64quantprecision` does that too, but only with graph optimizations on and for constant weights, and it turns
some products of INT8 by INT8 into ones that do not load.
Source: MLAS of ONNX Runtime (VPMADDUBSW), and its documentation on quantization, "When and why do I need to try U8U8?".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq_cli.model.insertion import Insertion
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import every_node, input_at, is_constant

SAFE_CODE = 64
"""Two products of UINT8 by INT8 codes from -64 to 64 fit into 16 bits: 2 * 255 * 64 = 32,640."""

_SHIFT = 128


@dataclass(frozen=True)
class Product:
    """Where an operator has the operands of a product.

    Args:
        unsigned: Slot of the operand that saturates where it is UINT8; None where the operator makes UINT8 of floats.
        unsigned_zero: Slot of its zero point.
        signed: Slot of the operand that saturates with it where it is INT8.
        signed_zero: Slot of the zero point of that one.
    """

    unsigned: int | None
    unsigned_zero: int
    signed: int
    signed_zero: int


PRODUCTS: dict[str, tuple[Product, ...]] = {
    "MatMulInteger": (Product(0, 2, 1, 3),),
    "ConvInteger": (Product(1, 3, 0, 2),),  # weights come first in the kernel
    "QLinearMatMul": (Product(0, 2, 3, 5),),
    "QLinearConv": (Product(0, 2, 3, 5),),
    "QGemm": (Product(0, 2, 3, 5),),
    "MatMulIntegerToFloat": (Product(0, 4, 1, 5),),
    "DynamicQuantizeMatMul": (Product(None, -1, 1, 3),),
    "QAttention": (Product(0, 6, 1, 7),),
    "DynamicQuantizeLSTM": (Product(None, -1, 1, 9), Product(None, -1, 2, 11)),
}
"""Operator -> its products. Source: ONNX operators, and ContribOperators.md of ONNX Runtime; the order of operands was
seen by running each on a processor without VNNI."""

_DOMAINS = ("", "com.microsoft")


def exact_products(model: ir.Model) -> ir.Model:
    """Return a model that computes the same integers on every processor: this one where it does, else a copy.

    Args:
        model: Left as it is; weights that stay are shared with the copy.
    """
    if not any(any(saturating(node)) for node in every_node(model.graph)):
        return model
    copy = model.clone()
    names = Names(copy.graph)
    for node in list(every_node(copy.graph)):
        for product in list(saturating(node)):
            _raise_operand(node, product, names)
    _drop_unread(copy)
    return copy


def saturating(node: ir.Node) -> Iterator[Product]:
    """Yield the products of UINT8 by INT8 that a node computes."""
    if node.domain not in _DOMAINS:
        return
    for product in PRODUCTS.get(node.op_type, ()):
        signed = _dtype(node, product.signed, product.signed_zero)
        unsigned = None if product.unsigned is None else _dtype(node, product.unsigned, product.unsigned_zero)
        zero = input_at(node, product.signed_zero)
        sound = zero is None or zero.dtype in (None, signed)  # ONNX Runtime says what is wrong with any other
        if signed == ir.DataType.INT8 and (product.unsigned is None or unsigned == ir.DataType.UINT8) and sound:
            yield product


def _dtype(node: ir.Node, slot: int, zero_slot: int) -> ir.DataType | None:
    """Element type of codes: where no one declares it, that of their zero point, or what a Q without one makes."""
    codes = input_at(node, slot)
    for value in (codes, input_at(node, zero_slot)):
        if value is not None and value.dtype is not None:
            return value.dtype
    maker = None if codes is None else codes.producer()
    if maker is None or maker.op_type not in ("QuantizeLinear", "DynamicQuantizeLinear"):
        return None
    own = input_at(maker, 2)
    return ir.DataType.UINT8 if own is None or own.dtype is None else own.dtype


def _drop_unread(model: ir.Model) -> None:
    """Remove the initializers nothing reads: ONNX Runtime does so too, and then misses those it is handed apart."""
    fed = set(model.graph.inputs)
    for graph in model.graphs():
        for value in list(graph.initializers.values()):
            if not value.uses() and not value.is_graph_output() and value not in fed:
                graph.initializers.pop(value.name or "")


def is_wide(operand: ir.Value | None) -> bool:
    """Say whether an INT8 operand may have codes outside of +-64, so that products of it may saturate."""
    if operand is None or not is_constant(operand) or operand.const_value is None:
        return True
    codes = operand.const_value.numpy().astype(np.int16)
    return bool(codes.size) and int(np.abs(codes).max()) > SAFE_CODE


def _raise_operand(node: ir.Node, product: Product, names: Names) -> None:
    """Write the INT8 operand of a product and its zero point as UINT8."""
    operand, zero_point = input_at(node, product.signed), input_at(node, product.signed_zero)
    assert operand is not None
    if len(node.inputs) <= product.signed_zero:
        node.resize_inputs(product.signed_zero + 1)
    before = Insertion.before(node, names, "/exact")
    raised = _raised(operand, before)
    zero = before.constant(np.asarray(_SHIFT, np.uint8), "zero_point") if zero_point is None else None
    node.replace_input_with(product.signed, raised)
    node.replace_input_with(product.signed_zero, zero or _raised(zero_point, before))


def _raised(value: ir.Value | None, before: Insertion) -> ir.Value:
    """The value as UINT8, 128 higher."""
    assert value is not None
    if is_constant(value) and value.const_value is not None:
        codes = value.const_value.numpy().view(np.uint8) ^ np.uint8(_SHIFT)
        return before.constant(codes, value.name or "")
    shift = before.constant(np.asarray(_SHIFT, np.int32), value.name or "")
    return before.cast(before.op("Add", before.cast(value, ir.DataType.INT32), shift), ir.DataType.UINT8)
