"""Lint of operators and of what stands around them: weights, biases, channels, pairs in the wrong place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.model.nodes import (
    ONNX_DOMAIN,
    constant_ints,
    input_at,
    int_attribute,
    ints_attribute,
    is_constant,
    is_op,
    static_dims,
)
from qdq_cli.model.scales import (
    holds_constant,
    is_dequantize,
    is_quantize,
    returns_another_type,
    stored_type,
    tensor_scale,
)
from qdq_cli.placement.absorption import absorbing_lead
from qdq_cli.placement.operators import data_slots, is_weighted, operator_of
from qdq_cli.placement.target import Epilogue
from qdq_cli.targets.tensorrt.assembly import EIGHT_BITS, Slot, activation_dequantize, unshuffled
from qdq_cli.targets.tensorrt.findings import Finding, finding
from qdq_cli.targets.tensorrt.grouping import groups_without_kernel
from qdq_cli.targets.tensorrt.kernels import Operands, feeds_weight, operands_of, weight_obstacle
from qdq_cli.targets.tensorrt.lint_scales import scale_count
from qdq_cli.targets.tensorrt.lint_types import label
from qdq_cli.targets.tensorrt.operators import OPERATORS

FOLD = "`qdq fix` writes the float numbers it stands for."

_FOLDED_CODES = frozenset({"E_QDQ_TYPE", "E_ZP_DTYPE", "E_ZP_NONZERO", "E_ZP_SIZE", "E_AXIS_MISSING", "E_SCALE_NONPOS"})
"""Errors about a DQ that go when the constant behind it is written in float."""

Origins = dict[ir.Value, ir.Node | None]
"""Tensor -> the node that made it, commuting operators left out; fills while a graph is looked through."""


def lint_stored(node: ir.Node, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield what was found about a Q or DQ; for a constant that is no weight, with the way out and the forms of 8.x."""
    if not is_dequantize(node) or not is_folded(node):
        yield from found
        return
    for entry in found:
        yield replace(entry, fix=FOLD) if entry.code in _FOLDED_CODES else entry
    codes = input_at(node, 0)
    if is_constant(codes) and codes is not None and codes.dtype is ir.DataType.INT8:
        readers = sorted({use.node.op_type for use in node.outputs[0].uses()})
        text = f"an integer constant behind DQ, read by {', '.join(readers)}"
        yield replace(finding("W_DQ_ONLY_WEIGHTS", label(node), codes.name or "", text), fix=FOLD)


def is_folded(dequantize: ir.Node) -> bool:
    """Say whether a DQ makes a constant that is no weight of an operator: engines hold it in float (S3)."""
    result = dequantize.outputs[0]
    return holds_constant(result) and bool(result.uses()) and not feeds_weight(result)


def lint_weighted(node: ir.Node, default_axis: int = 1) -> Iterator[Finding]:
    """Yield what is wrong with a weighted operator and its operands; `default_axis` is that of a DQ without one."""
    operands = operands_of(node)
    data = [_reads_dequantized(slot) for slot in operands.data]
    # In INT8 (A31), its DQs still before the operators they will cross.
    quantized = all(data) and (operands.weight is None or not weight_obstacle(operands.weight))
    yield from _bias(node, quantized=quantized)
    yield from _half_quantized(node, operands, data)
    yield from _weight_axis(node, operands.weight, default_axis)
    if quantized:
        yield from _quantized_operator(node, operands.weight)


def lint_pair(quantize: ir.Node, origins: Origins) -> Iterator[Finding]:
    """Yield what is wrong with the place of a Q, and of the DQs that read it."""
    source = input_at(quantize, 0)
    if source is None or holds_constant(source):
        return
    yield from _requantizes(quantize, source, origins)
    readers = [
        use.node
        for dequantize in (use.node for use in quantize.outputs[0].uses() if is_dequantize(use.node))
        for use in dequantize.outputs[0].uses()
    ]
    if absorbing_lead_of(source) is not None:
        yield from _before_activation(quantize, readers)
    yield from _behind_pad(quantize, source, readers)


def lint_tensor(value: ir.Value) -> Iterator[Finding]:
    """Yield P6 for a tensor with Qs of different scale."""
    quantizes = [use.node for use in value.uses() if is_quantize(use.node) and use.idx == 0]
    scales = {scale for node in quantizes if (scale := tensor_scale(node)) is not None}
    if len(scales) > 1:
        shown = ", ".join(f"{scale.scale:g}" for scale in sorted(scales, key=lambda scale: scale.scale)[:4])
        names = sorted(label(node) for node in quantizes)
        yield finding("W_SHARED_SCALE_MISMATCH", names[0], value.name or "", f"scales {shown}")


def _output(node: ir.Node) -> str:
    return (node.outputs[0].name or "") if node.outputs else ""


def _bias(node: ir.Node, *, quantized: bool) -> Iterator[Finding]:
    slot = operator_of(node).bias
    bias = None if slot is None else input_at(node, slot)
    if bias is None:
        return
    source = unshuffled(bias)
    producer = None if source is None else source.producer()
    if is_dequantize(producer) and producer is not None:
        found = f"a bias stored as {stored_type(producer).name} behind DQ"
        yield finding("E_BIAS_QUANTIZED", label(node), bias.name or "", found)
    elif not is_constant(bias) and quantized and is_op(node, "Conv", "ConvTranspose"):
        yield finding("E_BIAS_NOT_CONST", label(node), bias.name or "", "a bias that is computed at run time")


def _reads_dequantized(slot: Slot) -> bool:
    """Say whether a slot reads a DQ, directly or over commuting operators that DQ will cross (R5)."""
    work, seen = [slot], {slot}
    while work:
        current = work.pop()
        producer = None if current.value is None else current.value.producer()
        if activation_dequantize(current) is not None:
            continue
        if producer is None or not OPERATORS.commutes(producer) or not data_slots(producer):
            return False
        fresh = [Slot(producer, index) for index in data_slots(producer) if Slot(producer, index) not in seen]
        seen.update(fresh)
        work += fresh
    return True


def _half_quantized(node: ir.Node, operands: Operands, data: list[bool]) -> Iterator[Finding]:
    """A31: Q/DQ on one operand only."""
    weight = None if operands.weight is None else unshuffled(operands.weight.value)
    producer = None if weight is None else weight.producer()
    quantized = is_dequantize(producer)
    if quantized and producer is not None and not any(data) and is_stored_alone(producer):
        yield from _dq_only(node, input_at(producer, 0))
        return  # weights alone, for operators that compute in float (rules, section 7)
    if any(_returns_another_type(slot) for slot in operands.data):
        return  # W_SCALE_DTYPE says why it runs in float
    sides = [*data, quantized] if operands.weight is not None else data
    if any(sides) and not all(sides):
        if operands.weight is None:
            found = "Q/DQ on one of its two activations"
        else:
            found = "Q/DQ on the weight only" if quantized else "Q/DQ on the data only"
        yield finding("W_WEIGHT_ONLY_OR_ACT_ONLY", label(node), _output(node), found)


def _returns_another_type(slot: Slot) -> bool:
    producer = None if slot.value is None else slot.value.producer()
    return producer is not None and is_dequantize(producer) and returns_another_type(producer)


def is_stored_alone(dequantize: ir.Node) -> bool:
    """Say whether a DQ reads a stored weight that may go without Q/DQ on the data: INT8, INT4 and other codes."""
    return is_constant(input_at(dequantize, 0)) or stored_type(dequantize) not in EIGHT_BITS


def _dq_only(node: ir.Node, codes: ir.Value | None) -> Iterator[Finding]:
    if codes is not None and is_constant(codes) and codes.dtype in EIGHT_BITS:
        yield finding("W_DQ_ONLY_WEIGHTS", label(node), codes.name or "", "an integer weight behind DQ")


def _weight_axis(node: ir.Node, slot: Slot | None, default_axis: int) -> Iterator[Finding]:
    """A26: per-channel scales must not run along an axis that the operator sums over."""
    weight = None if slot is None else unshuffled(slot.value)
    producer = None if weight is None else weight.producer()
    if slot is None or weight is None or producer is None or not is_dequantize(producer):
        return
    if (scale_count(producer) or 1) == 1 or int_attribute(producer, "block_size", 0):
        return
    dims = static_dims(weight) or _source_dims(producer)
    said = int_attribute(producer, "axis", default_axis)
    axis = None if dims is None else _axis_behind_shuffles(slot.value, said % len(dims))
    if dims is None or axis is None:
        return
    good = output_axes(node, slot.number, dims)
    if axis not in good:
        wanted = " or ".join(str(value) for value in sorted(good)) or "one scale"
        found = f"scales along axis {axis} of {node.op_type}'s weight, where output channels are axis {wanted}"
        yield finding("E_AXIS_REDUCTION", label(node), weight.name or "", found)


def _source_dims(dequantize: ir.Node) -> tuple[int | None, ...] | None:
    value = input_at(dequantize, 0)
    while value is not None and value.const_value is None:
        producer = value.producer()
        value = input_at(producer, 0) if is_quantize(producer) and producer is not None else None
    return None if value is None or value.const_value is None else tuple(value.const_value.shape.numpy())


def _axis_behind_shuffles(value: ir.Value | None, axis: int) -> int | None:
    """Return where the axis of a DQ ends up in the operand; None behind a shuffle that mixes axes."""
    shuffles = []
    while value is not None and (producer := value.producer()) is not None and not is_dequantize(producer):
        shuffles.append(producer)
        value = input_at(producer, 0)
    for node in reversed(shuffles):
        order = ints_attribute(node, "perm") if is_op(node, "Transpose") else None
        if order is None or axis not in order:
            return None
        axis = order.index(axis)
    return axis


def output_axes(node: ir.Node, slot: int, dims: tuple[int | None, ...]) -> set[int]:
    """Return the axes of a weight that scales may run along (rules, section 1.5)."""
    last = len(dims) - 1
    if node.op_type == "Conv":
        return {0}
    if node.op_type == "ConvTranspose":
        depthwise = dims[1] == 1 and dims[0] == int_attribute(node, "group", 1)
        return {0, 1} if depthwise else {1}
    if node.op_type == "Gemm":
        return {0 if int_attribute(node, "transB" if slot == 1 else "transA", 0) == slot else 1}
    return {last} if slot == 1 else {last - 1}


def _quantized_operator(node: ir.Node, weight: Slot | None) -> Iterator[Finding]:
    producer = None if weight is None or weight.value is None else (unshuffled(weight.value) or weight.value).producer()
    if weight is None or producer is None:
        return
    yield from _dq_only(node, input_at(producer, 0))
    dims = static_dims(weight.value) or _source_dims(producer)
    if dims is not None and None not in dims:
        yield from _channels(node, tuple(dim or 0 for dim in dims))


def _channels(node: ir.Node, dims: tuple[int, ...]) -> Iterator[Finding]:
    if node.op_type == "Conv" and len(dims) == 3:
        yield finding("W_CONV1D", label(node), _output(node), f"a 1-D kernel of shape {list(dims)}")
    if (groups := groups_without_kernel(node, dims)) is not None:
        yield finding("W_GROUP_ALIGN", label(node), _output(node), str(groups))
    if int_attribute(node, "group", 1) > 1 or len(dims) < 2:
        return
    going_in, going_out = _channel_counts(node, dims)
    if going_in % 16 or going_out % 16 or going_in < 32:
        yield finding("W_CHANNEL_ALIGN", label(node), _output(node), f"{going_in} -> {going_out} channels")


def _channel_counts(node: ir.Node, dims: tuple[int, ...]) -> tuple[int, int]:
    """Return input and output channels of an operator without groups (rules, section 1.5)."""
    if node.op_type == "Conv":
        return dims[1], dims[0]
    if node.op_type == "ConvTranspose":
        return dims[0], dims[1]
    if node.op_type == "Gemm" and int_attribute(node, "transB", 0):
        return dims[1], dims[0]
    return dims[-2], dims[-1]


def _requantizes(quantize: ir.Node, source: ir.Value, origins: Origins) -> Iterator[Finding]:
    """R3: Q behind a DQ of another scale, also with commuting operators between them."""
    producer = _origin(source, origins)
    if not is_dequantize(producer):
        return
    first, second = tensor_scale(producer), tensor_scale(quantize)
    if first is not None and second is not None and first != second:
        found = f"DQ with scale {first.scale:g}, then Q with scale {second.scale:g}"
        yield finding("W_REQUANT", label(quantize), source.name or "", found)


def _origin(tensor: ir.Value, origins: Origins) -> ir.Node | None:
    """Return the node that made a tensor, commuting operators left out; each of them is passed once."""
    passed: list[ir.Value] = []
    value: ir.Value | None = tensor
    while value is not None and value not in origins:
        passed.append(value)
        producer = value.producer()
        if not OPERATORS.commutes(producer):
            origins[value] = producer
        else:
            value = None if producer is None else input_at(producer, 0)
    found = None if value is None else origins[value]
    origins.update(dict.fromkeys(passed, found))
    return found


def absorbing_lead_of(tensor: ir.Value) -> ir.Node | None:
    """Return the weighted operator whose result a tensor is, through batch-norm and constants (4.4), or None."""
    producer = tensor.producer()
    if producer is None or is_weighted(producer):
        return producer
    return absorbing_lead(tensor)


def _before_activation(quantize: ir.Node, readers: list[ir.Node]) -> Iterator[Finding]:
    for reader in sorted(set(readers), key=label):
        kind = OPERATORS.epilogue(reader)
        if kind is Epilogue.NONE:
            continue
        code = "W_Q_BEFORE_RELU" if kind is Epilogue.CLIP else "W_OUTPUT_QUANTIZED_THEN_FLOAT_ACT"
        found = f"Q/DQ between a weighted operator and {reader.op_type} '{label(reader)}'"
        yield finding(code, label(quantize), _output(quantize), found)


def _behind_pad(quantize: ir.Node, source: ir.Value, readers: list[ir.Node]) -> Iterator[Finding]:
    pad = source.producer()
    if pad is None or not is_op(pad, "Pad") or pad.domain != ONNX_DOMAIN or not OPERATORS.commutes(pad):
        return
    if not any(constant_ints(pad, 1) or ints_attribute(pad, "pads") or ()):
        return
    for reader in readers:
        if is_op(reader, "Conv", "ConvTranspose"):
            found = f"Pad '{label(pad)}', then Q/DQ, then {reader.op_type} '{label(reader)}'"
            yield finding("W_QDQ_BETWEEN_PAD_AND_CONV", label(quantize), source.name or "", found)
            return
