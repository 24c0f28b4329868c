"""Repairs of clips between Q and DQ (A1): carried out in constants, moved before the Q in float on activations.

Q(clip(x, low, high)) = clip(Q(x), Q(low), Q(high)), so every number stays (rules, section 2.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import INT8
from qdq_cli.fixing.record import Outcome, repair_of
from qdq_cli.model.codes import FULL, CodeRange, code_range, set_code_range
from qdq_cli.model.emit import like
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, is_op, name_of
from qdq_cli.model.scales import holds_constant, tensor_scale

CLIP_OPSET = 11
"""Clip has its ends as inputs since this opset."""

_NEVER_NEGATIVE = ("Relu", "Sigmoid", "Softmax", "Softplus", "HardSigmoid", "Exp", "Abs", "Sqrt")


def carry_out_clips(model: ir.Model) -> Outcome:
    """Bring the clips of stored integers that inspection looked through back in a form TensorRT reads."""
    names, done = Names(model.graph), []
    for node in list(model.graph):
        found = code_range(node)
        if found is None:
            continue
        set_code_range(node, None)
        codes = input_at(node, 0)
        if found.is_full:
            text = "the clip before it is gone: it let every integer through"
        elif codes is not None and holds_constant(codes):
            _clip_constant(model.graph, names, node, found)
            text = f"the clip before it, to {found.low}..{found.high}, is carried out in the stored constant"
        else:
            text = _clip_activation(model.graph, names, node, found)
        done.append(repair_of("A1", node, text, True))
    return done, []


def _clip_constant(graph: ir.Graph, names: Names, dequantize: ir.Node, found: CodeRange) -> None:
    """Let a DQ, or the Q before it, read a constant that is clipped already."""
    codes = input_at(dequantize, 0)
    quantize = None if codes is None else codes.producer()
    if codes is None:
        return
    if quantize is None:
        clipped = np.clip(np.asarray(constant_at(dequantize, 0)), found.low, found.high)
        dequantize.replace_input_with(0, add_initializer(graph, names.value(f"{name_of(codes)}_clipped"), clipped))
        return
    floats = input_at(quantize, 0)
    if floats is None:
        return
    constant = add_initializer(graph, names.value(f"{name_of(floats)}_clipped"), _clipped_floats(quantize, found))
    if len(codes.uses()) > 1:
        quantize = _copied(graph, names, quantize)
        dequantize.replace_input_with(0, quantize.outputs[0])
    quantize.replace_input_with(0, constant)


def _clipped_floats(quantize: ir.Node, found: CodeRange) -> NDArray[np.generic]:
    """Return the constant before a Q with what is out of range at the ends of it; all other numbers are kept."""
    floats, scale, zero = (np.asarray(constant_at(quantize, slot)) for slot in (0, 1, 2))
    zero = np.zeros((), np.int8) if input_at(quantize, 2) is None else zero
    steps = along_axis(quantize, scale, floats.ndim).astype(np.float32)
    offset = along_axis(quantize, zero, floats.ndim).astype(np.float32)
    with np.errstate(all="ignore"):  # a scale of 0 gives what is compared with the ends all the same
        codes = np.rint(floats.astype(np.float32) / steps) + offset
    low, high = ((end - offset) * steps for end in (found.low, found.high))
    clipped: NDArray[np.generic] = np.where(codes < found.low, low, np.where(codes > found.high, high, floats))
    return clipped.astype(floats.dtype)


def along_axis(node: ir.Node, parameters: NDArray[np.generic], rank: int) -> NDArray[np.generic]:
    """Shape the scales or zero points of a Q or DQ so that they broadcast against the tensor of a rank it reads."""
    if parameters.size == 1:
        return parameters.reshape(())
    axis = int_attribute(node, "axis", 1) % max(rank, 1)
    return parameters.reshape([-1 if dim == axis else 1 for dim in range(rank)])


def _clip_activation(graph: ir.Graph, names: Names, dequantize: ir.Node, found: CodeRange) -> str:
    """Put a float Clip before the Q of a DQ, where it changes anything, and say so."""
    codes = input_at(dequantize, 0)
    quantize = None if codes is None else codes.producer()
    source = None if quantize is None else input_at(quantize, 0)
    scale = tensor_scale(quantize)
    if codes is None or quantize is None or source is None or scale is None:
        raise ValueError("a clip was taken out that cannot be brought back")
    becomes_signed = found.qtype is ir.DataType.UINT8 and scale.zero_point == 0 and found.high <= INT8.qmax
    least, most = FULL[found.qtype]
    never_below = is_never_negative(source) and found.low <= scale.zero_point
    low = None if never_below or (found.low <= least and not becomes_signed) else found.low
    high = None if found.high >= most else found.high
    if low is None and high is None:
        return "the clip before it is gone: nothing below its range is ever quantized"
    if any(use.node is not dequantize for use in codes.uses()):
        quantize = _copied(graph, names, quantize)
        dequantize.replace_input_with(0, quantize.outputs[0])
    ends = [None if end is None else (end - scale.zero_point) * scale.scale for end in (low, high)]
    quantize.replace_input_with(0, insert_clip(graph, names, quantize, ends))
    text = f"the clip before it, to {found.low}..{found.high}, became a float Clip before '{quantize.name}'"
    if becomes_signed:
        _store_signed(graph, names, quantize, dequantize)
        return f"{text}, and INT8 holds what is left of UINT8"
    return text


def _store_signed(graph: ir.Graph, names: Names, quantize: ir.Node, dequantize: ir.Node) -> None:
    """Let a pair on numbers that both types hold store INT8."""
    for node in (quantize, dequantize):
        zeros = np.zeros(np.asarray(constant_at(node, 1)).shape, np.int8)
        node.resize_inputs(3)
        node.replace_input_with(2, add_initializer(graph, names.value(f"{node.name}_zero_point"), zeros))
    quantize.outputs[0].type = ir.TensorType(ir.DataType.INT8)


def is_never_negative(value: ir.Value) -> bool:
    """Say whether the operator that makes a value gives nothing below 0."""
    node = value.producer()
    least = constant_at(node, 1) if node is not None and is_op(node, "Clip") else None
    return is_op(node, *_NEVER_NEGATIVE) or (least is not None and least.size == 1 and float(least.item()) >= 0)


def insert_clip(graph: ir.Graph, names: Names, quantize: ir.Node, ends: Sequence[float | None]) -> ir.Value:
    """Insert a Clip before a Q, which goes on reading what it read; returns the result of the Clip.

    Args:
        graph: Changed in place.
        names: Names of the graph.
        quantize: The Q.
        ends: Lower and upper end, None for an open one; numbers of the type of the data.
    """
    source = quantize.inputs[0]
    if source is None:
        raise ValueError("a Q without input reached a repair")
    name = name_of(source)
    operands, attributes = _operands_of_clip(graph, names, source, ends)
    result = ir.Value(name=names.value(f"{name}_clipped"), type=source.type, shape=source.shape)
    clip = ir.Node("", "Clip", operands, attributes, outputs=[result], name=names.node(f"{name}_Clip"))
    graph.insert_before(quantize, clip)
    return result


def _operands_of_clip(
    graph: ir.Graph, names: Names, source: ir.Value, ends: Sequence[float | None]
) -> tuple[list[ir.Value | None], list[ir.Attr]]:
    """Return inputs and attributes of a Clip: its ends became inputs with opset 11."""
    roles = ("min", "max")
    if graph.opset_imports.get("", CLIP_OPSET) < CLIP_OPSET:
        given = [(role, end) for role, end in zip(roles, ends, strict=True) if end is not None]
        return [source], [ir.AttrFloat32(role, float(end)) for role, end in given]
    dtype = np.dtype(np.float32) if source.dtype is None else source.dtype.numpy()
    bounds = [
        None
        if end is None
        else add_initializer(graph, names.value(f"{name_of(source)}_clip_{role}"), np.asarray(end, dtype))
        for role, end in zip(roles, ends, strict=True)
    ]
    return [source, *bounds], []


def _copied(graph: ir.Graph, names: Names, quantize: ir.Node) -> ir.Node:
    """Insert a second Q like the first behind it."""
    old = quantize.outputs[0]
    result = ir.Value(name=names.value(f"{name_of(old)}_clipped"), type=old.type, shape=old.shape)
    copy = like(quantize, result, names.node(f"{quantize.name}_clipped"))
    graph.insert_after(quantize, copy)
    return copy
