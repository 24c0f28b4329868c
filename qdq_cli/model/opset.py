"""The opset of a model: read it, and raise it where Q/DQ nodes need a newer one.

Where an operator changed in between, ONNX's version converter does the work, on a copy without the large weights. It
converts what it knows and says nothing about the rest: a default that a newer opset changed is written out here, and
what it made is checked.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.shape_inference
import onnx.version_converter
import onnx_ir as ir

from qdq_cli.model.maps import from_proto
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    ONNX_DOMAIN,
    constant_at,
    every_node,
    input_at,
    int_attribute,
    is_constant,
    is_op,
    rank,
)
from qdq_cli.model.widened import only_widened, raise_widened
from qdq_cli.model.wire import is_left_out, root_cause, to_proto, weights_left_out
from qdq_cli.process.errors import ModelError

MIN_OPSET = 13
"""QuantizeLinear has its `axis` since opset 13 (emission contract, rule 1.10.1)."""

HALF_OPSET = 19
"""QuantizeLinear takes FP16 and BF16 data and scales since opset 19 (A10)."""

NEEDED_BY_PAIRS = "which Q/DQ nodes need"
"""What needs an opset, as errors say it."""

_IR_OF_OPSET = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13}
"""Lowest IR version that goes with an opset (rules, section 7)."""

_OLDEST_IR = 4  # version 3 wants every initializer among the graph inputs

LONG_NAME = "ai.onnx"

_BY_CHANNEL = 21
"""Since this opset GroupNormalization has a scale and a bias for each channel; before, for each group.

Source: ONNX's changelog, GroupNormalization of version 21. The version converter leaves them as they are.
"""

_APART = "qdq.unknown"

_FAILURES = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError)

_FORMER_DEFAULTS = (
    ("Resize", 11, {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("RoiAlign", 16, {"coordinate_transformation_mode": "output_half_pixel"}),
)
"""(operator, opset that changed its defaults, what they were before); Resize was Upsample up to opset 9.

Source: ONNX's changelog of both operators; ONNX Runtime computes Upsample and Resize of opset 10 this way.
"""


def opset_of(model: ir.Model) -> int:
    """Return the opset of the default ONNX domain.

    Raises:
        ModelError: The model imports no opset of it.
    """
    opset = model.opset_imports.get(ONNX_DOMAIN, model.opset_imports.get(LONG_NAME))
    if opset is None:
        raise ModelError("The model imports no opset of the default ONNX domain.", "Export it again.")
    if opset < 1:
        raise ModelError(f"The model imports opset {opset} of the default ONNX domain.", "Export it again.")
    return opset


@functools.cache
def is_onnx_operator(op_type: str) -> bool:
    """Say whether ONNX's default domain defines an operator, in any opset."""
    return bool(onnx.defs.has(op_type, onnx.defs.onnx_opset_version(), ONNX_DOMAIN))


def normalize_imports(model: ir.Model) -> None:
    """Let the default domain be imported under its short name; one that no node uses need not be imported at all.

    Domains that are used without an import (Brevitas writes such files) get one, of version 1.
    """
    imports = model.opset_imports
    if LONG_NAME in imports:
        imports.setdefault(ONNX_DOMAIN, imports.pop(LONG_NAME))
    if ONNX_DOMAIN not in imports and all(node.domain != ONNX_DOMAIN for node in every_node(model.graph)):
        imports[ONNX_DOMAIN] = MIN_OPSET
    for node in every_node(model.graph):
        if node.domain not in (ONNX_DOMAIN, LONG_NAME):
            imports.setdefault(node.domain, 1)


def raise_opset(model: ir.Model, needed: int, reason: str = NEEDED_BY_PAIRS) -> ir.Model:
    """Convert to the opset that is needed if the model is below it; never higher (rule 1.10.1).

    Args:
        model: Without local functions, its types and shapes inferred; not to be used afterwards.
        needed: Opset of the default domain.
        reason: What needs it, to follow "cannot be raised to 13, ".

    Raises:
        ModelError: The model cannot be converted.
    """
    if (before := opset_of(model)) < needed and only_widened(model, before, needed):
        raise_widened(model, before, needed)
    elif before < needed:
        model = _convert(model, needed, reason)
    # Newer IR versions are valid for older opsets too, so this only ever rises.
    model.ir_version = max(model.ir_version, _IR_OF_OPSET.get(opset_of(model), max(_IR_OF_OPSET.values())))
    return model


def _convert(model: ir.Model, opset: int, needed_by: str) -> ir.Model:
    before = opset_of(model)
    _refuse_unconvertible(model, opset, needed_by)
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    model.ir_version = max(model.ir_version, _OLDEST_IR)
    _set_unknown_apart(model)
    with weights_left_out(model):
        proto = to_proto(model)
    try:
        converted = onnx.version_converter.convert_version(proto, opset)
    except _FAILURES as error:
        raise _refusal(model, (opset, needed_by), str(error)) from error
    if (changed := _changed_interface(proto.graph, converted.graph)) is not None:
        raise _refusal(model, (opset, needed_by), f"the converter would change the type or shape of '{changed}'")
    if (failure := _failure(converted)) and not _failure(proto):
        raise _refusal(model, (opset, needed_by), failure)
    result = from_proto(converted)
    _restore_weights(result, tensors)
    _bring_unknown_back(result)
    _write_out_former_defaults(result, before)
    _repeat_for_channels(result, before)
    return result


def _refuse_unconvertible(model: ir.Model, needed: int, needed_by: str) -> None:
    """Refuse operators that the converter passes on although their meaning changed.

    Up to opset 12, Hardmax worked on all axes from `axis` on, flattened into one; up to opset 8, Scan had a batch axis.
    """
    opset = opset_of(model)
    for node in model.graph.all_nodes():
        flattening = is_op(node, "Hardmax") and opset < 13
        if (is_op(node, "Scan") and opset < 9) or (flattening and not _is_over_last_axis(node)):
            reason = f"{node.op_type} of node '{node.name}' means something else there"
            raise _refusal(model, (needed, needed_by), reason)
        if flattening:
            node.attributes["axis"] = ir.AttrInt64("axis", -1)
        if _is_by_group(node, opset, needed) and _group_size(node) is None:
            reason = f"GroupNormalization of node '{node.name}' has scales of groups, and is not known well enough"
            raise _refusal(model, (needed, needed_by), reason)


def _is_by_group(node: ir.Node, opset: int, needed: int) -> bool:
    return is_op(node, "GroupNormalization") and opset < _BY_CHANNEL <= needed


def _group_size(node: ir.Node) -> int | None:
    """Return how many channels a group has; None where that, or the scale or bias of a group, is not known."""
    shape, groups = node.inputs[0].shape if node.inputs[0] is not None else None, int_attribute(node, "num_groups", 0)
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int) or not groups or shape[1] % groups:
        return None
    return shape[1] // groups if all(is_constant(input_at(node, slot)) for slot in (1, 2)) else None


def _repeat_for_channels(model: ir.Model, before: int) -> None:
    """Give each channel the scale and the bias of its group: GroupNormalization has them by channel since opset 21."""
    names = Names(model.graph)
    for node in list(model.graph.all_nodes()):
        size = _group_size(node) if _is_by_group(node, before, opset_of(model)) else None
        for slot in (1, 2) if size is not None else ():
            value = input_at(node, slot)
            array = constant_at(node, slot)
            if value is None or array is None or size is None:
                continue
            repeated = ir.Tensor(np.repeat(array, size), dtype=value.dtype, name=names.value(f"{value.name}_channels"))
            made = ir.Value(name=repeated.name, type=value.type, shape=ir.Shape(repeated.shape), const_value=repeated)
            model.graph.register_initializer(made)
            node.replace_input_with(slot, made)


def _set_unknown_apart(model: ir.Model) -> None:
    """Move operators that the default domain does not have (TensorRT plugins) to a domain the converter passes by."""
    opset = opset_of(model)
    for node in model.graph.all_nodes():
        if node.domain == ONNX_DOMAIN and not onnx.defs.has(node.op_type, opset, ONNX_DOMAIN):
            node.domain = _APART
            model.opset_imports[_APART] = 1


def _bring_unknown_back(model: ir.Model) -> None:
    if model.opset_imports.pop(_APART, None) is not None:
        for node in model.graph.all_nodes():
            if node.domain == _APART:
                node.domain = ONNX_DOMAIN


def _is_over_last_axis(node: ir.Node) -> bool:
    axis, dims = int_attribute(node, "axis", 1), rank(node.inputs[0])
    return axis == -1 or (dims is not None and axis == dims - 1)


def _write_out_former_defaults(model: ir.Model, opset: int) -> None:
    """Give nodes the attributes they did without, where the default of their operator is another one by now."""
    for op_type, changed_in, defaults in _FORMER_DEFAULTS:
        if opset >= changed_in or opset_of(model) < changed_in:
            continue
        for node in model.graph.all_nodes():
            if is_op(node, op_type):
                for name in defaults.keys() - node.attributes.keys():
                    node.attributes[name] = ir.AttrString(name, defaults[name])


def _restore_weights(model: ir.Model, tensors: Mapping[str, ir.TensorProtocol | None]) -> None:
    for name, value in model.graph.initializers.items():
        value.const_value = tensors.get(name, value.const_value)
        if is_left_out(value.const_value):
            raise ModelError(f"ONNX's version converter lost the weight '{name}'.", "Export with opset 13 or above.")


def _changed_interface(before: onnx.GraphProto, after: onnx.GraphProto) -> str | None:
    """Return the first graph input or output that is not what it was; Scan lost its batch axis in opset 9."""
    for old, new in ((before.input, after.input), (before.output, after.output)):
        for one, other in itertools.zip_longest(old, new):
            if one is None or other is None or not _is_same(one, other):
                return str((one or other).name)
    return None


def _is_same(old: onnx.ValueInfoProto, new: onnx.ValueInfoProto) -> bool:
    """Say whether a value kept its name, type and fixed dimensions; others may have been inferred."""
    before, after = old.type.tensor_type, new.type.tensor_type
    if old.name != new.name or old.type.WhichOneof("value") != new.type.WhichOneof("value"):
        return False
    if before.elem_type != after.elem_type:
        return False
    if not before.HasField("shape"):
        return True
    fixed = [(position, dim.dim_value) for position, dim in enumerate(before.shape.dim) if dim.HasField("dim_value")]
    return len(before.shape.dim) == len(after.shape.dim) and all(
        after.shape.dim[position].dim_value == size for position, size in fixed
    )


def _refusal(model: ir.Model, needed: tuple[int, str], reason: str) -> ModelError:
    """The error for a model that cannot be raised to an opset that something needs."""
    opset, needed_by = needed
    lines = [line.rpartition(" failed: ")[2].strip() for line in reason.splitlines() if line.strip()]
    return ModelError(
        f"The model has opset {opset_of(model)} and cannot be raised to {opset}, {needed_by}: "
        f"{lines[-1].rstrip('.') if lines else 'the converter failed'}.",
        f"Export it with opset {opset} or above.",
    )


def _failure(proto: onnx.ModelProto) -> str:
    """Say why a model whose large weights are left out does not pass the full check; "" if it does."""
    checked = onnx.ModelProto()
    checked.CopyFrom(proto)
    for tensor in list(checked.graph.initializer):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            checked.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            checked.graph.initializer.remove(tensor)
    try:
        onnx.checker.check_model(checked, full_check=True)
    except _FAILURES as error:
        return root_cause(error)
    return ""
