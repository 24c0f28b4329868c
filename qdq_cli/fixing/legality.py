"""Repairs of single Q and DQ nodes and of biases: what the importer refuses (rules, sections 1.3-1.6).

Each function changes the graph in place and returns what it did and what it had to leave.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.fixing.record import Left, Repair
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, name_of
from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize, stored_type
from qdq_cli.placement.operators import is_weighted, operator_of
from qdq_cli.preparing.fold import add_initializer
from qdq_cli.targets.tensorrt.assembly import EIGHT_BITS
from qdq_cli.targets.tensorrt.kernels import operands_of
from qdq_cli.targets.tensorrt.lint_operators import output_axes
from qdq_cli.targets.tensorrt.lint_scales import SHIFT, is_shifted, scale_count

Outcome = tuple[list[Repair], list[Left]]

RUNTIME_DOMAIN = "com.microsoft"


def move_to_onnx_domain(graph: ir.Graph, names: Names) -> Outcome:
    """Write 8-bit Q/DQ of ONNX Runtime's own domain with the operators of the ONNX domain (1.9)."""
    done, left = [], []
    for node in graph:
        if node.domain != RUNTIME_DOMAIN or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if stored_type(node) not in EIGHT_BITS and not _has_8_bit_zero(node):
            left.append(Left("1.9", node.name or "", f"{node.op_type} of another type than 8 bits stays com.microsoft"))
            continue
        node.domain = ""
        done.append(_repair("1.9", node, f"{node.op_type} of the domain com.microsoft became the ONNX operator", True))
    return done, left


def _has_8_bit_zero(node: ir.Node) -> bool:
    zero = input_at(node, 2)
    return zero is not None and zero.dtype in EIGHT_BITS


def add_zero_points(graph: ir.Graph, names: Names) -> Outcome:
    """Give Q and DQ without zero point an INT8 zero point of zeros (A14, A15)."""
    done, left = [], []
    signed = {node for node in _pairs(graph) if stored_type(node) is ir.DataType.INT8}
    for node in _pairs(graph):
        scale = input_at(node, 1)
        if input_at(node, 2) is not None or scale is None or stored_type(node) not in EIGHT_BITS:
            continue
        if not is_constant(scale) or _stores_unsigned(node):
            left.append(Left("A14", node.name or "", "it has no zero point, and stores UINT8 or computes its scale"))
            continue
        shape = () if scale.const_value is None else scale.const_value.shape.numpy()
        zeros = add_initializer(graph, names.value(f"{name_of(scale)}_zero_point"), np.zeros(shape, np.int8))
        node.resize_inputs(3)
        node.replace_input_with(2, zeros)
        if is_quantize(node):
            node.outputs[0].type = ir.TensorType(ir.DataType.INT8)
        done.append(_repair("A14", node, f"{node.op_type} got an INT8 zero point of zeros", node in signed))
    return done, left


def _stores_unsigned(node: ir.Node) -> bool:
    """Say whether a node without zero point really works on UINT8: stored codes, or a reader that says so."""
    if is_dequantize(node):
        return holds_constant(node.inputs[0]) and stored_type(node) is not ir.DataType.INT8
    readers = (use.node for use in node.outputs[0].uses())
    return any(not is_dequantize(reader) or input_at(reader, 2) is not None for reader in readers)


def write_axes(graph: ir.Graph, names: Names) -> Outcome:
    """Write the axis of per-channel Q and DQ that leave it out: ONNX's default 1 if it fits, else the one that does."""
    done, left = [], []
    for node in _pairs(graph):
        count = scale_count(node)
        if count is None or count == 1 or "axis" in node.attributes or int_attribute(node, "block_size", 0):
            continue
        shape = _stored_shape(node)
        fitting = [axis for axis, size in enumerate(shape) if size == count]
        if not fitting:
            left.append(Left("A20", node.name or "", f"no axis of its tensor {list(shape)} has {count} elements"))
            continue
        axis = 1 if 1 in fitting else fitting[0]
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        done.append(_repair("A20", node, f"{node.op_type} got its axis, {axis}", 1 in fitting))
    return done, left


def _stored_shape(node: ir.Node) -> tuple[int, ...]:
    value = input_at(node, 0)
    while value is not None and value.const_value is None:
        producer = value.producer()
        if producer is None or not (is_quantize(producer) or is_dequantize(producer)):
            break
        value = input_at(producer, 0)
    if value is None:
        return ()
    if value.const_value is not None:
        return tuple(int(size) for size in value.const_value.shape.numpy())
    return tuple(size if isinstance(size, int) else -1 for size in value.shape) if value.shape is not None else ()


def restore_biases(graph: ir.Graph, names: Names) -> Outcome:
    """Replace a quantized bias by the float numbers it stands for (A27)."""
    done, left = [], []
    for node in list(graph):
        slot = operator_of(node).bias
        bias = None if slot is None else input_at(node, slot)
        producer = None if bias is None else bias.producer()
        if slot is None or bias is None or producer is None or not is_dequantize(producer):
            continue
        values = dequantized(producer)
        if values is None:
            left.append(Left("A27", node.name or "", "its bias is quantized and not constant"))
            continue
        dtype = np.float32 if bias.dtype is None else bias.dtype.numpy()
        restored = add_initializer(graph, names.value(f"{name_of(bias)}_float"), values.astype(dtype))
        node.replace_input_with(slot, restored)
        done.append(_repair("A27", node, f"its bias, stored as {stored_type(producer).name}, is float again", True))
        remove_unread(graph, producer)
    return done, left


def dequantized(node: ir.Node) -> NDArray[np.float64] | None:
    """Return what a DQ of a constant (or of a quantized constant) makes, or None where it is not constant."""
    scale, zero = constant_at(node, 1), constant_at(node, 2)
    codes = _codes(node)
    if codes is None or scale is None:
        return None
    factors = scale.astype(np.float64)
    zeros = np.zeros_like(factors) if zero is None else zero.astype(np.float64)
    if factors.size == 1:
        return (codes - zeros.reshape(())) * factors.reshape(())
    axis = int_attribute(node, "axis", 1) % max(codes.ndim, 1)
    if factors.ndim != 1 or codes.ndim == 0 or codes.shape[axis] != factors.size:
        return None
    along = [-1 if dim == axis else 1 for dim in range(codes.ndim)]
    return (codes - zeros.reshape(along)) * factors.reshape(along)


def _codes(node: ir.Node) -> NDArray[np.float64] | None:
    """Return the stored integers a DQ reads as float64; a Q before it is carried out."""
    stored = constant_at(node, 0)
    if stored is not None:
        return stored.astype(np.float64)
    value = input_at(node, 0)
    quantize = None if value is None else value.producer()
    if quantize is None or not is_quantize(quantize):
        return None
    floats, scale, zero = constant_at(quantize, 0), constant_at(quantize, 1), constant_at(quantize, 2)
    if floats is None or scale is None or scale.size != 1:
        return None
    unsigned = zero is None or zero.dtype == np.uint8
    low, high = (0, 255) if unsigned else (-128, 127)
    offset = 0.0 if zero is None else float(zero.reshape(()))
    return np.clip(np.rint(floats.astype(np.float64) / float(scale.reshape(()))) + offset, low, high)


def make_signed(graph: ir.Graph, names: Names) -> Outcome:
    """Turn UINT8 with zero point 128 into INT8 with zero point 0: the same numbers (A13, A16)."""
    done, left = [], []
    for node in list(graph):
        if is_quantize(node) and is_shifted(node):
            readers = [use.node for use in node.outputs[0].uses()]
            if node.outputs[0].is_graph_output() or not all(map(is_shifted, readers)):
                left.append(Left("A16", node.name or "", "its UINT8 codes are read by something else than DQ"))
                continue
            _set_signed(graph, names, [node, *readers])
            node.outputs[0].type = ir.TensorType(ir.DataType.INT8)
            done.append(_repair("A16", node, "UINT8 with zero point 128 became INT8 with zero point 0", True))
        elif is_dequantize(node) and is_shifted(node) and _shift_constant(graph, names, node):
            done.append(_repair("A16", node, "a UINT8 constant with zero point 128 became INT8", True))
    return done, left


def _set_signed(graph: ir.Graph, names: Names, nodes: Iterable[ir.Node]) -> None:
    for node in nodes:
        zero = constant_at(node, 2)
        old = input_at(node, 2)
        if zero is not None and old is not None:
            wanted = names.value(f"{name_of(old)}_int8")
            node.replace_input_with(2, add_initializer(graph, wanted, np.zeros(zero.shape, np.int8)))
            drop_unread(graph, old)


def _shift_constant(graph: ir.Graph, names: Names, node: ir.Node) -> bool:
    stored, value = constant_at(node, 0), input_at(node, 0)
    if stored is None or value is None or stored.dtype != np.uint8:
        return False
    codes = (stored.astype(np.int16) - SHIFT).astype(np.int8)
    node.replace_input_with(0, add_initializer(graph, names.value(f"{name_of(value)}_int8"), codes))
    drop_unread(graph, value)
    _set_signed(graph, names, [node])
    return True


def remove_unread(graph: ir.Graph, node: ir.Node) -> None:
    """Remove a Q or DQ that nothing reads any more, and what fed it alone."""
    while not any(value.uses() or value.is_graph_output() for value in node.outputs):
        before = None if node.inputs[0] is None else node.inputs[0].producer()
        graph.remove(node, safe=True)
        if before is None or not (is_quantize(before) or is_dequantize(before)):
            return
        node = before


def drop_unread(graph: ir.Graph, value: ir.Value) -> None:
    """Remove an initializer that nothing reads any more."""
    if value.is_initializer() and not value.uses() and not value.is_graph_output() and not value.is_graph_input():
        del graph.initializers[name_of(value)]


def off_zero(graph: ir.Graph) -> list[Left]:
    """Say which Q and DQ keep a zero point that is not zero: what they were trained or calibrated for (A13)."""
    found = (
        node
        for node in _pairs(graph)
        if (zero := input_at(node, 2)) is not None and zero.dtype is ir.DataType.INT8 and _is_off_zero(zero)
    )
    return [
        Left("A13", node.name or "", "its zero point is not zero; only a calibration with symmetric ranges helps")
        for node in found
    ]


def _is_off_zero(zero_point: ir.Value) -> bool:
    return zero_point.const_value is not None and bool(zero_point.const_value.numpy().any())


def along_summed_axes(graph: ir.Graph) -> list[Left]:
    """Say which weights have scales along an axis that is summed over: only a new quantization repairs those (A26)."""
    left = []
    for node in graph:
        slot = operands_of(node).weight if is_weighted(node) else None
        producer = None if slot is None or slot.value is None else slot.value.producer()
        if slot is None or producer is None or not is_dequantize(producer) or (scale_count(producer) or 1) == 1:
            continue
        if int_attribute(producer, "block_size", 0):
            continue  # a scale for each block of the sum is what such weights are for (section 7)
        shape = _stored_shape(producer)
        axis = int_attribute(producer, "axis", 1)
        if shape and axis % len(shape) not in output_axes(node, slot.number, shape):
            left.append(Left("A26", node.name or "", "its weight is quantized along an axis that is summed over"))
    return left


def _pairs(graph: ir.Graph) -> list[ir.Node]:
    return [node for node in graph if is_quantize(node) or is_dequantize(node)]


def _repair(rule: str, node: ir.Node, done: str, exact: bool) -> Repair:
    value = input_at(node, 0)
    return Repair(rule, node.name or "", (value.name or "") if value is not None else "", done, exact)
