"""Bring any exported model into the one spelling that planning, observing and rewriting expect.

Functions inlined, constants as initializers, opset 13 or above and 20 or below where that says the same, nothing that
only matters in training, batch normalization folded, shapes inferred. The model computes the same function as before,
and its graph inputs and outputs keep their names, types and shapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.model.inference import inferred_graph
from qdq_cli.model.inline import inline_functions
from qdq_cli.model.insertion import take_over_output
from qdq_cli.model.lowering import LAST_SAFE_OPSET, lower_opset
from qdq_cli.model.maps import DECLARED
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    constant_at,
    defined_values,
    every_body,
    every_node,
    inner_graphs,
    is_op,
    mark_shape_computations,
)
from qdq_cli.model.opset import (
    HALF_OPSET,
    LONG_NAME,
    MIN_OPSET,
    NEEDED_BY_PAIRS,
    normalize_imports,
    opset_of,
    raise_opset,
)
from qdq_cli.model.provenance import SPREAD
from qdq_cli.model.wire import root_cause, to_proto, weights_left_out, without_weights
from qdq_cli.placement.operators import OpClass, operator_of
from qdq_cli.preparing.batch_norm import fold_batch_norms
from qdq_cli.preparing.dead_channels import Spreading, spread_dead_channels
from qdq_cli.preparing.einsum import replace_einsums
from qdq_cli.preparing.outputs import drop_unread_outputs
from qdq_cli.preparing.shapes import fold_known
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import stepping
from qdq_cli.running.unknown import mark_behind_unknown
from qdq_cli.screen.sentences import some_of

HALF_TYPES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

_QUANTIZABLE = frozenset({OpClass.WEIGHTED, OpClass.QUANTIZABLE})


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
        unknown: Operators that ONNX Runtime does not know; what lies behind them is marked as not observable.
        spread: What was done to nearly dead channels.
    """

    model: ir.Model
    opset: int
    opset_before: int
    half: bool
    folded_norms: int
    folded_constants: int
    notes: tuple[str, ...]
    unknown: tuple[ir.Node, ...] = ()
    spread: tuple[Spreading, ...] = ()


def prepare(
    model: ir.Model,
    proto: onnx.ModelProto | None = None,
    *,
    lowest: int = MIN_OPSET,
    runs: bool = True,
    copy: bool = True,
    spread: bool = True,
) -> Preparation:
    """Prepare a model for planning; the one passed in is left as it is, and shares its weights.

    Args:
        model: The model as it was read.
        proto: The protobuf it was read from, if at hand. Most models are as they were until shapes are inferred, and
            writing them as a protobuf again takes a tenth of the time it takes to inspect one.
        lowest: The opset is this one at least.
        runs: False where every range is given: what lies behind unknown operators need not be observed then.
        copy: False prepares the model itself, for a caller who alone holds it and has no use for it afterwards.
        spread: False leaves the weights of nearly dead channels as they are: nothing is quantized.

    Raises:
        ModelError: The model cannot be brought to the opset it needs, or its functions cannot be inlined.
    """
    with stepping(_STEPS) as step:
        model = model.clone() if copy else model
        interface = _interface(model)
        opset_before, notes = _spelled(model)
        step()
        _infer_as_read(model, proto)
        step()
        drop_unread_outputs(model.graph)
        half = _is_half(model)
        model = raised(model, max(lowest, HALF_OPSET if half else MIN_OPSET))
        step()
        folded_constants, folded_norms = _fold(model)
        step()
        done = spread_dead_channels(model) if spread else ()
        notes = (*notes, *_about_spread(model, done))
        if lowest <= LAST_SAFE_OPSET:
            lower_opset(model)
        mark_shape_computations(model.graph)
        _restore_interface(model, interface)
        unknown = mark_behind_unknown(model) if runs else ()
        step()
    prepared = Preparation(model, opset_of(model), opset_before, half, folded_norms, folded_constants, notes, unknown)
    return replace(prepared, spread=done)


_STEPS = 5  # of preparing a model, of about equal length


def _spelled(model: ir.Model) -> tuple[int, tuple[str, ...]]:
    """Write functions, constants and names in the one spelling; returns the opset, and a note where inputs went."""
    inline_functions(model)
    normalize_imports(model)
    opset = opset_of(model)
    passes.RemoveUnusedOpsetsPass()(model)
    notes = _constants_out_of_inputs(model)
    lift_constants(model)
    name_everything(model)
    return opset, notes


def _about_spread(model: ir.Model, done: Sequence[Spreading]) -> tuple[str, ...]:
    """Note in a model, and say in a sentence, which channels were made larger."""
    if not done:
        return ()
    operators = [each.operator for each in done]
    model.metadata_props[SPREAD] = ", ".join(operators)
    scaled = sum(int((each.factors != 1.0).sum()) for each in done)
    folded = sum(int((~np.isnan(each.constants)).sum()) for each in done)
    what = [f"{scaled} made larger by powers of two"] if scaled else []
    what += [f"{folded} constant ones folded into the bias"] if folded else []
    return (f"Nearly dead channels in front of depthwise convolutions: {' and '.join(what)} ({some_of(operators)}).",)


def _infer_as_read(model: ir.Model, proto: onnx.ModelProto | None) -> None:
    """Infer types and shapes, on what was read where that says the same: nothing is written as a protobuf then."""
    if proto is not None and _is_as_read(model, proto):
        take_inferred(model, without_weights(proto))
    else:
        infer_shapes(model)


def raised(model: ir.Model, needed: int, reason: str = NEEDED_BY_PAIRS) -> ir.Model:
    """Raise a prepared model to the opset that is needed, and bring what the converter added into the one spelling.

    Args:
        model: The model; not to be used afterwards.
        needed: Opset of the default domain.
        reason: What needs it, to follow "cannot be raised to 19, ".

    Raises:
        ModelError: The model cannot be converted.
    """
    result = raise_opset(model, needed, reason)
    if result is not model:  # the converter turns attributes into Constant nodes, and adds nodes without a name
        lift_constants(result)
        name_everything(result)
        infer_shapes(result)
    return result


def _fold(model: ir.Model) -> tuple[int, int]:
    """Take out, in place, what can be computed before; returns how many constants and batch normalizations went."""
    constants = fold_known(model, infer_shapes)
    replaced = replace_einsums(model)
    _drop_inference_no_ops(model)
    norms = fold_batch_norms(model)
    passes.RemoveUnusedNodesPass()(model)
    if constants or replaced:
        infer_shapes(model)
    return constants, norms


_Declared = tuple[ir.TypeProtocol | None, ir.Shape | None, bytes | None]
_Interface = dict[str, _Declared]


def _interface(model: ir.Model) -> _Interface:
    graph = model.graph
    return {value.name or "": _declared(value) for value in (*graph.inputs, *graph.outputs)}


def _declared(value: ir.Value) -> _Declared:
    shape = value.shape.copy() if value.shape is not None else None
    return value.type, shape, value.meta.get(DECLARED)


def _restore_interface(model: ir.Model, interface: _Interface) -> None:
    """Take back what shape inference refined on graph inputs and outputs: they never change."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.type, value.shape, declared = interface[value.name or ""]
        if declared is not None:
            value.meta[DECLARED] = declared


def _is_as_read(model: ir.Model, proto: onnx.ModelProto) -> bool:
    """Say whether shape inference sees the same in the file: nothing was inlined or lifted, and nothing renamed.

    In bodies values are named apart, so that a model with bodies never counts as read.
    """
    graph = proto.graph
    same_size = len(graph.node) == len(model.graph) and len(graph.input) == len(model.graph.inputs)
    one_name = all(entry.domain != LONG_NAME for entry in (*proto.opset_import, *graph.node))
    return same_size and one_name and not proto.functions and not every_body(model.graph)


def _constants_out_of_inputs(model: ir.Model) -> tuple[str, ...]:
    """Take initializers out of the graph inputs, as TensorRT does; returns a note where they could have been fed."""
    before = [value.name or "" for value in model.graph.inputs]
    passes.RemoveInitializersFromInputsPass()(model)
    left = {value.name for value in model.graph.inputs}
    constants = [name for name in before if name not in left]
    if not constants or model.ir_version < 4:  # IR version 3 had to list them
        return ()
    return (f"Graph inputs that have an initializer are constants in the result: {some_of(constants, 5)}.",)


def lift_constants(model: ir.Model) -> None:
    """Turn every Constant node into an initializer; one that is a graph output stays, one without an output goes.

    Raises:
        ModelError: A Constant node holds something else than a constant.
    """
    constants = [node for node in every_node(model.graph) if is_op(node, "Constant")]
    if not constants:
        return
    for node in constants:
        if node.graph is not None:
            if not node.outputs[0].name:
                node.graph.remove(node)
            else:
                _spell_strings_as_tensor(node)
    try:
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    except (ValueError, TypeError) as error:
        raise ModelError(f"A Constant node of the model is malformed: {root_cause(error)}.", "Export again.") from error


def _spell_strings_as_tensor(node: ir.Node) -> None:
    """Encode the strings of a Constant node as UTF-8; onnx-ir would take ASCII alone."""
    for name in ("value_string", "value_strings"):
        if name in node.attributes:
            value = node.attributes.pop(name).value
            strings = [value] if name == "value_string" else list(value)
            encoded = [text.encode() if isinstance(text, str) else text for text in strings]
            shape = ir.Shape([] if name == "value_string" else [len(encoded)])
            node.attributes["value"] = ir.AttrTensor("value", ir.StringTensor(encoded, shape=shape))


def _is_half(model: ir.Model) -> bool:
    """Say whether an operator that can be quantized computes in FP16 or BF16."""
    return any(
        value is not None and value.dtype in HALF_TYPES
        for node in model.graph
        if operator_of(node).op_class in _QUANTIZABLE
        for value in node.inputs
    )


def infer_shapes(model: ir.Model) -> None:
    """Infer element types and shapes, symbolic dimensions kept; what cannot be inferred stays unknown."""
    with weights_left_out(model):
        proto = to_proto(model)
    take_inferred(model, proto)


def take_inferred(model: ir.Model, proto: onnx.ModelProto) -> None:
    """Infer element types and shapes on a protobuf of the model, and give them to the model's values by name."""
    inferred = inferred_graph(proto)
    if inferred is not None:  # else planning works without shapes; the checker has the last word on the written model
        _take(model.graph, inferred)


def _take(graph: ir.Graph, inferred: onnx.GraphProto) -> None:
    """Give the values of a graph, and of the bodies in it, the types and shapes inferred for values of their names."""
    known = {info.name: info.type for info in (*inferred.value_info, *inferred.output)}
    holders: dict[str, onnx.NodeProto] = {}
    for node in graph:
        for value in node.outputs:
            found = known.get(value.name or "")
            if found is not None and found.HasField("tensor_type") and not _is_typed(value):
                shape = _plain_shape(found.tensor_type) or ir.serde.deserialize_type_proto_for_shape(found)
                value.type = ir.serde.deserialize_type_proto_for_type(found) or value.type
                value.shape = value.shape if shape is None else shape
        if node.attributes.data and (bodies := list(inner_graphs(node))) and node.outputs:
            holders = holders or {proto.output[0]: proto for proto in inferred.node if proto.output}
            for body, found_body in zip(bodies, _bodies_of(holders.get(node.outputs[0].name or "")), strict=False):
                _take(body, found_body)


def _bodies_of(holder: onnx.NodeProto | None) -> Iterator[onnx.GraphProto]:
    """Yield the bodies of a node in the order in which `inner_graphs` yields them."""
    for attribute in holder.attribute if holder is not None else ():
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _plain_shape(found: onnx.TypeProto.Tensor) -> ir.Shape | None:
    """Return a shape of numbers above 0 and names, as nearly all are; None for any other, which takes a closer look."""
    proto = found.shape.dim
    dims = [dim.dim_value or dim.dim_param for dim in proto]
    return ir.Shape(dims) if dims and all(dims) and not any(dim.denotation for dim in proto) else None


def _is_typed(value: ir.Value) -> bool:
    """Say whether there is nothing more to learn about a value."""
    return value.type is not None and value.shape is not None and value.shape.is_static()


def name_everything(model: ir.Model) -> None:
    """Give every node a unique name that does not depend on the order of the file: operator and first output."""
    nodes = list(every_node(model.graph))
    held = Counter(node.name for node in nodes)
    taken = {name for name, count in held.items() if name and count == 1}
    for node in nodes:
        if node.name and held[node.name] == 1:
            continue
        first = next((value.name for value in node.outputs if value.name), "")
        stem = f"{node.name or node.op_type}_{first}"
        name, number = stem, 0
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        node.name = name
        taken.add(name)
    _name_values_apart(model.graph)


def _name_values_apart(graph: ir.Graph) -> None:
    """Give every value in a body a name that no other value has: branches may use the same ones, and plans name values.

    What is outside of a body keeps its name, and of several bodies the first.
    """
    bodies = every_body(graph)
    if not bodies:
        return
    names, seen = Names(graph), {value.name for value in defined_values(graph)}
    for body in bodies:
        for value in defined_values(body):
            if value.name and value.name in seen:
                value.name = names.value(value.name)
            seen.add(value.name)


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
