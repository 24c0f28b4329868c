"""Bring a model as it was loaded into the state that inspection reads: valid, named, constants lifted, typed.

Unlike preparation this keeps every operator and the opset, so that what is said about the model is said about the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx
import onnx.checker
import onnx.defs
import onnx_ir as ir

from qdq_cli.model.codes import take_out_code_clips
from qdq_cli.model.inline import inline_functions
from qdq_cli.model.maps import put_back
from qdq_cli.model.nodes import is_constant, is_op
from qdq_cli.model.opset import opset_of
from qdq_cli.model.scales import mark_indirect
from qdq_cli.model.wire import weights_left_out
from qdq_cli.preparing.prepare import infer_shapes, lift_constants, name_everything, take_inferred
from qdq_cli.process.errors import ModelError

_UNKNOWN_DOMAIN = "qdq.unknown"


def make_readable(model: ir.Model) -> None:
    """Check a loaded model and make it readable, in place; its weights are not read.

    Raises:
        ModelError: The model is malformed: a wrong attribute, an operator that the opset does not have with these
            inputs.
    """
    opset_of(model)
    proto = require_well_formed(model)
    had_functions = bool(model.functions)
    inline_functions(model)
    lift_constants(model)
    drop_shared_constants(model.graph)
    name_everything(model)
    if had_functions:
        infer_shapes(model)
    else:
        take_inferred(model, proto)  # the same nodes and names: one protobuf serves both
    take_out_code_clips(model.graph)


def require_well_formed(model: ir.Model) -> onnx.ModelProto:
    """Run ONNX's structural checker on a model without its weights; returns what was checked.

    Operators that the default domain does not have are let through: TensorRT plugins are written that way.

    Raises:
        ModelError: The checker refuses the model.
    """
    try:
        proto = _structure(model)
        with _shapes_filled(proto.graph):
            onnx.checker.check_model(proto, full_check=False)
        return proto
    except (onnx.checker.ValidationError, ir.serde.SerdeError, ValueError, TypeError, RuntimeError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"The model is not well-formed ONNX: {reason.rstrip('.')}.", "Export it again, or check where it came from."
        ) from error


def drop_shared_constants(graph: ir.Graph) -> None:
    """Remove every Identity of an initializer: PyTorch's exporter shares equal constants that way (S1).

    Q and DQ that read a scale or a zero point through one remember it, for TensorRT's older importers do not (A8).
    """
    for node in list(graph):
        source = node.inputs[0] if is_op(node, "Identity") and node.inputs else None
        if source is not None and is_constant(source) and not node.outputs[0].is_graph_output():
            mark_indirect(node.outputs[0])
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node, safe=True)


def _structure(model: ir.Model) -> onnx.ModelProto:
    """Return the protobuf of a model in which large initializers stand as graph inputs."""
    with weights_left_out(model):
        proto = put_back(model, ir.to_proto(model))
    graph = proto.graph
    declared = {value.name for value in graph.input}
    left_out = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    kept = [tensor for tensor in graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for tensor in left_out:
        if tensor.name not in declared:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    proto.ir_version = max(proto.ir_version, 4)  # version 3 wants every initializer among the inputs
    if _set_unknown_apart(graph, {entry.domain: entry.version for entry in proto.opset_import}):
        proto.opset_import.append(onnx.helper.make_opsetid(_UNKNOWN_DOMAIN, 1))
    return proto


@contextlib.contextmanager
def _shapes_filled(graph: onnx.GraphProto) -> Iterator[None]:
    """Give inputs and outputs without a shape one for the time of a check: runtimes read them, the checker does not."""
    tensors = [value.type.tensor_type for value in (*graph.input, *graph.output) if value.type.HasField("tensor_type")]
    missing = [tensor for tensor in tensors if not tensor.HasField("shape")]
    for tensor in missing:
        tensor.shape.SetInParent()
    try:
        yield
    finally:
        for tensor in missing:
            tensor.ClearField("shape")


def _set_unknown_apart(graph: onnx.GraphProto, opsets: dict[str, int]) -> bool:
    """Move operators that the default domain does not have into a domain of their own; says whether there are any."""
    found = False
    for node in graph.node:
        version = opsets.get("", opsets.get("ai.onnx", 1))
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type, version, ""):
            node.domain, found = _UNKNOWN_DOMAIN, True
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                found = _set_unknown_apart(body, opsets) or found
    return found
