"""Bring any exported model into the one spelling that planning, observing and rewriting expect.

Functions inlined, constants as initializers, opset 13 or above, nothing that only matters in training, batch
normalization folded, shapes inferred. The model computes the same function as before, and its graph inputs and outputs
keep their names, types and shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx.version_converter
import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.errors import ModelError
from qdq_cli.graph.fold import fold_batch_norms, fold_constants, take_over_output
from qdq_cli.graph.nodes import FLOAT_TYPES, constant_at, is_op, mark_shape_computations
from qdq_cli.graph.wire import to_proto, weights_left_out

MIN_OPSET = 13
"""QuantizeLinear has its `axis` since opset 13 (emission contract, rule 1.10.1)."""

HALF_OPSET = 19
"""QuantizeLinear takes FP16 and BF16 data and scales since opset 19 (A10)."""

IR_OF_OPSET = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13}
"""Lowest IR version that goes with an opset (rules, section 7)."""


@dataclass(frozen=True)
class Preparation:
    """What preparation did, for the report.

    Args:
        model: The prepared model.
        opset: Its opset of the default domain.
        opset_before: The opset it came with.
        half: True for a model whose float tensors are FP16 or BF16.
        folded_norms: Batch normalizations folded into convolutions.
        folded_constants: Nodes that depended on constants alone.
        notes: Sentences the user should read.
    """

    model: ir.Model
    opset: int
    opset_before: int
    half: bool
    folded_norms: int
    folded_constants: int
    notes: tuple[str, ...]


def prepare(model: ir.Model) -> Preparation:
    """Prepare a model for planning; the model passed in must not be used afterwards.

    Raises:
        ModelError: The model cannot be brought to the opset it needs, or is not well formed.
    """
    interface = _interface(model)
    opset_before = opset_of(model)
    notes = []
    inline_functions(model)
    passes.RemoveUnusedOpsetsPass()(model)
    removed = _constants_out_of_inputs(model)
    if removed:
        notes.append(f"{removed} graph inputs have an initializer of the same name and were taken as constants.")
    lift_constants(model)
    half = _is_half(model)
    model = _raise_opset(model, HALF_OPSET if half else MIN_OPSET)
    name_everything(model)
    infer_shapes(model)
    folded_constants = fold_constants(model)
    _drop_inference_no_ops(model)
    folded_norms = fold_batch_norms(model)
    passes.RemoveUnusedNodesPass()(model)
    infer_shapes(model)
    mark_shape_computations(model.graph)
    _restore_interface(model, interface)
    return Preparation(model, opset_of(model), opset_before, half, folded_norms, folded_constants, tuple(notes))


def opset_of(model: ir.Model) -> int:
    """Return the opset of the default ONNX domain.

    Raises:
        ModelError: The model imports no opset of it.
    """
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    if opset is None:
        raise ModelError("The model imports no opset of the default ONNX domain.", "Export it again.")
    return opset


_Interface = dict[str, tuple[ir.TypeProtocol | None, ir.Shape | None]]


def _interface(model: ir.Model) -> _Interface:
    graph = model.graph
    return {
        value.name or "": (value.type, value.shape.copy() if value.shape is not None else None)
        for value in (*graph.inputs, *graph.outputs)
    }


def _restore_interface(model: ir.Model, interface: _Interface) -> None:
    """Take back what shape inference refined on graph inputs and outputs: they never change."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.type, value.shape = interface[value.name or ""]


def inline_functions(model: ir.Model) -> None:
    """Replace every call of a local function by its body.

    Raises:
        ModelError: A function cannot be inlined.
    """
    if not model.functions:
        return
    try:
        passes.InlinePass()(model)
    except (ir.passes.PassError, ValueError) as error:
        raise ModelError(f"The model's local functions cannot be inlined: {error}.") from error


def _constants_out_of_inputs(model: ir.Model) -> int:
    """Take initializers out of the graph inputs: IR version 3 had to list them, TensorRT reads them as constants."""
    before = len(model.graph.inputs)
    passes.RemoveInitializersFromInputsPass()(model)
    return before - len(model.graph.inputs)


def lift_constants(model: ir.Model) -> None:
    """Turn every Constant node into an initializer."""
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


def _is_half(model: ir.Model) -> bool:
    """Say whether the weights of the model's float operators are FP16 or BF16."""
    types = [
        value.dtype
        for node in model.graph
        if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul")
        for value in node.inputs[:2]
        if value is not None and value.dtype in FLOAT_TYPES
    ]
    return bool(types) and all(dtype != ir.DataType.FLOAT for dtype in types)


def _raise_opset(model: ir.Model, needed: int) -> ir.Model:
    """Convert to the opset that is needed if the model is below it; never higher (rule 1.10.1)."""
    if opset_of(model) < needed:
        model = _convert(model, needed)
        lift_constants(model)  # the converter turns attributes into Constant nodes
    # Newer IR versions are valid for older opsets too, so this only ever rises.
    model.ir_version = max(model.ir_version, IR_OF_OPSET.get(opset_of(model), max(IR_OF_OPSET.values())))
    return model


def _convert(model: ir.Model, opset: int) -> ir.Model:
    before = opset_of(model)
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    # ONNX's converter knows the default domain alone; IR version 3 would want initializers among the inputs.
    model.ir_version = max(model.ir_version, 4)
    with weights_left_out(model):
        proto = to_proto(model)
    try:
        converted = onnx.version_converter.convert_version(proto, opset)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(
            f"The model has opset {before} and cannot be raised to {opset}, which Q/DQ nodes need: {reason}",
            f"Export it with opset {opset} or above.",
        ) from error
    result: ir.Model = ir.serde.deserialize_model(converted)
    for name, value in result.graph.initializers.items():
        value.const_value = tensors.get(name, value.const_value)
    return result


def infer_shapes(model: ir.Model) -> None:
    """Infer element types and shapes, symbolic dimensions kept; what cannot be inferred stays unknown."""
    with weights_left_out(model):
        proto = to_proto(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        return  # planning works without shapes; the checker has the last word on the written model
    known = {info.name: info for info in (*inferred.graph.value_info, *inferred.graph.output)}
    for node in model.graph:
        for value in node.outputs:
            info = known.get(value.name or "")
            if info is not None and info.type.HasField("tensor_type"):
                value.type = ir.serde.deserialize_type_proto_for_type(info.type) or value.type
                value.shape = ir.serde.deserialize_type_proto_for_shape(info.type) or value.shape


def name_everything(model: ir.Model) -> None:
    """Give every node a name that is unique and does not depend on the order of the file: operator and first output."""
    taken: set[str] = set()
    for node in model.graph.all_nodes():
        first = next((value.name for value in node.outputs if value.name), "")
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{first}" if not node.name else f"{node.name}_{first}"
        taken.add(node.name)


def _drop_inference_no_ops(model: ir.Model) -> None:
    """Remove Identity and inference-mode Dropout, as TensorRT's importer does (S1)."""
    for node in list(model.graph):
        if not is_op(node, "Identity", "Dropout") or not _is_no_op(node):
            continue
        source, out = node.inputs[0], node.outputs[0]
        if source is None or (out.is_graph_output() and (source.producer() is None or source.is_graph_output())):
            continue  # a graph output needs a node that makes it
        if out.is_graph_output():
            take_over_output(out, source)
        else:
            ir.convenience.replace_all_uses_with(out, source)
        model.graph.remove(node, safe=True)


def _is_no_op(node: ir.Node) -> bool:
    if node.op_type == "Identity":
        return True
    mask_used = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    training = constant_at(node, 2)
    has_mode = len(node.inputs) > 2 and node.inputs[2] is not None
    in_training = has_mode and (training is None or bool(training.item()))
    return not mask_used and not in_training
