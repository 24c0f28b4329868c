"""Repairs of single Q and DQ nodes: what the importer refuses (rules, sections 1.3-1.4).

Each function changes the graph in place and returns what it did and what it had to leave.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from qdq_cli.fixing.record import Left, Outcome, repair_of
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_constant, name_of
from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize, stored_type
from qdq_cli.placement.operators import is_weighted
from qdq_cli.targets.tensorrt.assembly import EIGHT_BITS
from qdq_cli.targets.tensorrt.kernels import operands_of
from qdq_cli.targets.tensorrt.lint_operators import output_axes
from qdq_cli.targets.tensorrt.lint_scales import SHIFT, is_shifted, scale_count

RUNTIME_DOMAIN = "com.microsoft"


def move_to_onnx_domain(graph: ir.Graph) -> Outcome:
    """Write 8-bit Q/DQ of ONNX Runtime's own domain with the operators of the ONNX domain (1.9)."""
    done, left = [], []
    for node in graph:
        if node.domain != RUNTIME_DOMAIN or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if stored_type(node) not in EIGHT_BITS and not _has_8_bit_zero(node):
            left.append(Left("1.9", node.name or "", f"{node.op_type} of another type than 8 bits stays com.microsoft"))
            continue
        node.domain = ""
        done.append(
            repair_of("1.9", node, f"{node.op_type} of the domain com.microsoft became the ONNX operator", True)
        )
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
        done.append(repair_of("A14", node, f"{node.op_type} got an INT8 zero point of zeros", node in signed))
    return done, left


def _stores_unsigned(node: ir.Node) -> bool:
    """Say whether a node without zero point really works on UINT8: stored codes, or a reader that says so."""
    if is_dequantize(node):
        return holds_constant(node.inputs[0]) and stored_type(node) is not ir.DataType.INT8
    readers = (use.node for use in node.outputs[0].uses())
    return any(not is_dequantize(reader) or input_at(reader, 2) is not None for reader in readers)


def size_zero_points(graph: ir.Graph, names: Names) -> Outcome:
    """Give a zero point of one number the shape of its per-channel scale (A13)."""
    done = []
    for node in _pairs(graph):
        count, zero, scale = scale_count(node), constant_at(node, 2), input_at(node, 1)
        if count in (None, 1) or zero is None or zero.size != 1 or scale is None or scale.const_value is None:
            continue
        shape = tuple(int(size) for size in scale.const_value.shape.numpy())
        wanted = names.value(f"{name_of(scale)}_zero_point")
        node.replace_input_with(2, add_initializer(graph, wanted, np.full(shape, zero.item(), zero.dtype)))
        done.append(repair_of("A13", node, f"its zero point has the shape of its {count} scales", True))
    return done, []


def lacks_axis(node: ir.Node) -> bool:
    """Say whether a Q or DQ has one scale for each channel, and no axis."""
    per_channel = (scale_count(node) or 1) != 1
    return per_channel and "axis" not in node.attributes and not int_attribute(node, "block_size", 0)


def write_axes(graph: ir.Graph, default: int = 1) -> Outcome:
    """Write the axis of per-channel Q and DQ that leave it out: the default if it fits, else the one that does.

    Args:
        graph: Changed in place.
        default: What such nodes mean: 1 since opset 13; 0, as TensorRT takes it, before (A20).
    """
    done, left = [], []
    for node in _pairs(graph):
        count = scale_count(node)
        if not lacks_axis(node):
            continue
        shape = _stored_shape(node)
        fitting = [axis for axis, size in enumerate(shape) if size == count]
        if not fitting:
            left.append(Left("A20", node.name or "", f"no axis of its tensor {list(shape)} has {count} elements"))
            continue
        axis = default if default in fitting else fitting[0]
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        done.append(repair_of("A20", node, f"{node.op_type} got its axis, {axis}", axis == 1))
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
            done.append(repair_of("A16", node, "UINT8 with zero point 128 became INT8 with zero point 0", True))
        elif is_dequantize(node) and is_shifted(node) and _shift_constant(graph, names, node):
            done.append(repair_of("A16", node, "a UINT8 constant with zero point 128 became INT8", True))
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


def drop_unread(graph: ir.Graph, value: ir.Value) -> None:
    """Remove an initializer that nothing reads any more."""
    if value.is_initializer() and not value.uses() and not value.is_graph_output() and not value.is_graph_input():
        del graph.initializers[name_of(value)]


def off_zero(graph: ir.Graph) -> list[Left]:
    """Say which Q and DQ keep a zero point that is not zero, or UINT8: what they were calibrated for (A13)."""
    left = []
    for node in _pairs(graph):
        zero = constant_at(node, 2)
        if zero is None or is_shifted(node):
            continue
        if zero.dtype in (np.int8, np.uint8) and zero.any():
            why = "its zero point is not zero; only a calibration with symmetric ranges helps"
            left.append(Left("A13", node.name or "", why))
        elif zero.dtype == np.uint8:
            why = "it stores UINT8 from 0 on, of which INT8 holds half; only a calibration with INT8 helps"
            left.append(Left("A16", node.name or "", why))
    return left


def along_summed_axes(graph: ir.Graph) -> list[Left]:
    """Say which weights have scales along an axis that is summed over: only a new quantization repairs those (A26)."""
    left = []
    for node in graph:
        slot = operands_of(node).weight if is_weighted(node) and node.op_type != "Einsum" else None
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
