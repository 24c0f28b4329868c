"""What a model file must hold before anything works on it: names that resolve, tensors as large as they say, operators
with the inputs and attributes that ONNX defines.

Read from the protobuf, because the graph library only logs such things, drops them, or stumbles over them much later.
Every refusal names the node or tensor. Node order is not a reason: unsorted nodes are sorted.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx.defs
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from qdq_cli.model.stored_tensor import ELEMENT_TYPES, check_tensor, shown
from qdq_cli.process.errors import ModelError

OLDEST_IR_VERSION = 3
"""Models below it carry no opset imports, so their operators have no defined meaning."""

_DEFAULT_DOMAIN = ("", "ai.onnx")

_Scopes = tuple[set[str], ...]


def check_wellformed(proto: onnx.ModelProto) -> None:
    """Refuse a model that could not be kept whole or would fail later, with a sentence about the first such thing.

    Args:
        proto: The model; external data is not looked at.

    Raises:
        ModelError: No outputs or opset; a name is undefined, defined twice or not text; a tensor is smaller or larger
            than its shape; an attribute refers to a function's where there is none; sparse tensors or training info,
            which the graph library drops.
    """
    if proto.ir_version < OLDEST_IR_VERSION or not proto.opset_import or not proto.graph.output:
        raise ModelError(
            f"it has IR version {proto.ir_version}, {len(proto.opset_import)} opset imports and "
            f"{len(proto.graph.output)} graph outputs",
            f"A model needs an IR version of at least {OLDEST_IR_VERSION}, an opset and an output; "
            "the file may be cut off, or something else than a model.",
        )
    _check_inputs(proto.graph)
    if proto.training_info:
        raise ModelError("it holds training info, which cannot be kept", "Export the model for inference.")
    _check_graph(proto.graph, (), opset_in(proto.opset_import), in_function=False)
    for function in proto.functions:
        scope = set(function.input)
        _check_nodes(function.node, (scope,), opset_in(function.opset_import), in_function=True)
        _check_defined(function.output, (scope,), f"output of the function '{function.name}'")


def _check_inputs(graph: GraphProto) -> None:
    for info in graph.input:
        kind = info.type.tensor_type.elem_type
        if info.type.HasField("tensor_type") and kind not in ELEMENT_TYPES:
            raise ModelError(
                f"the graph input '{shown(info.name)}' has the element type {kind}, which is none",
                "Export the model with the types of its inputs declared.",
            )


def _check_graph(graph: GraphProto, outer: _Scopes, opset: int, *, in_function: bool) -> None:
    """Check a graph; `outer` holds the names of each enclosing graph."""
    scope: set[str] = set()
    for info in graph.input:
        _define(info.name, scope, "graph input")
    for sparse in graph.sparse_initializer:
        raise ModelError(
            f"it holds the sparse initializer '{sparse.values.name}', which cannot be kept",
            "Store it as a dense initializer.",
        )
    for tensor in graph.initializer:
        if not tensor.name:
            raise ModelError("it holds an initializer without a name")
        _require_text(tensor.name, "initializer")
        scope.add(tensor.name)
        check_tensor(tensor)
    _check_nodes(graph.node, (*outer, scope), opset, in_function=in_function)
    # What a body returns has to be its own; what the main graph returns may be an input or an initializer too.
    _check_defined([info.name for info in graph.output], (scope,), "graph output")


def _check_nodes(nodes: Sequence[NodeProto], scopes: _Scopes, opset: int, *, in_function: bool) -> None:
    for node in nodes:
        for text in (node.name, node.op_type, node.domain):
            _require_text(text, "node, operator or domain")
        if not node.op_type:
            raise ModelError(f"the node '{node.name or next(iter(node.output), '')}' names no operator")
        for name in node.output:
            if name:
                _define(name, scopes[-1], "output of", node)
    for node in nodes:
        _check_defined(filter(None, node.input), scopes, "input of", node)
        for attribute in node.attribute:
            _check_attribute(attribute, node, in_function=in_function)
            for body in bodies_of(attribute):
                _check_graph(body, scopes, opset, in_function=in_function)
        check_node(node, opset)


def _check_attribute(attribute: AttributeProto, node: NodeProto, *, in_function: bool) -> None:
    _require_text(attribute.name, "attribute")
    kind = attribute.type
    if attribute.ref_attr_name and not in_function:
        raise ModelError(
            f"the attribute '{attribute.name}' of {_title(node)} refers to the attribute "
            f"'{attribute.ref_attr_name}' of a function, and the node is in no function"
        )
    if kind == AttributeProto.UNDEFINED:
        raise ModelError(f"the attribute '{attribute.name}' of {_title(node)} has no type")
    if kind in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
        raise ModelError(
            f"the attribute '{attribute.name}' of {_title(node)} is a sparse tensor, which cannot be kept",
            "Store it as a dense tensor.",
        )
    for tensor in _tensors_of(attribute):
        check_tensor(tensor)


def bodies_of(attribute: AttributeProto) -> Sequence[GraphProto]:
    """Return the If/Loop bodies in an attribute."""
    if attribute.ref_attr_name:
        return ()
    return (attribute.g,) if attribute.type == AttributeProto.GRAPH else attribute.graphs


def _tensors_of(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.type == AttributeProto.TENSOR and not attribute.ref_attr_name:
        yield attribute.t
    yield from attribute.tensors


def opset_in(imports: Sequence[onnx.OperatorSetIdProto]) -> int:
    """Return the opset of the default domain, 0 where it is not imported."""
    return next((entry.version for entry in imports if entry.domain in _DEFAULT_DOMAIN), 0)


@dataclass(frozen=True)
class _Signature:
    """What ONNX defines about an operator."""

    inputs: range
    outputs: range
    needed: tuple[bool, ...]
    types: Mapping[str, int]
    required: frozenset[str]


@functools.cache
def _signature(op_type: str, opset: int) -> _Signature | None:
    """Return the signature of an operator of the default domain, None where ONNX does not define it."""
    if not 0 < opset <= onnx.defs.onnx_opset_version() or not onnx.defs.has(op_type, opset, ""):
        return None
    schema = onnx.defs.get_schema(op_type, opset, "")
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    return _Signature(
        range(schema.min_input, schema.max_input + 1),
        range(schema.min_output, schema.max_output + 1),
        tuple(entry.option == single for entry in schema.inputs),
        {name: int(entry.type) for name, entry in schema.attributes.items()},
        frozenset(name for name, entry in schema.attributes.items() if entry.required),
    )


def check_node(node: NodeProto, opset: int) -> None:
    """Refuse a node whose inputs, outputs or attributes are not those of its operator; ONNX Runtime would, too.

    Operators ONNX does not define (plugins, newer opsets) and attributes it does not define are let through.

    Raises:
        ModelError: There are too few or too many, one is missing, or an attribute is of another type.
    """
    signature = _signature(node.op_type, opset) if node.domain in _DEFAULT_DOMAIN else None
    if signature is None:
        return
    _check_count(node, "inputs", len(node.input), signature.inputs)
    _check_count(node, "outputs", len(node.output), signature.outputs)
    for position, (name, needed) in enumerate(zip(node.input, signature.needed, strict=False)):
        if needed and not name:
            raise ModelError(f"the {_title(node)} has no input {position}")
    held = {attribute.name: attribute for attribute in node.attribute}
    if not signature.required <= held.keys():
        name = min(signature.required - held.keys())
        raise ModelError(f"the {_title(node)} has no attribute '{name}'")
    for name, attribute in held.items():
        if attribute.type != signature.types.get(name, attribute.type):
            found, expected = map(AttributeProto.AttributeType.Name, (attribute.type, signature.types[name]))
            raise ModelError(f"the attribute '{name}' of the {_title(node)} is of type {found}, expected {expected}")


def _check_count(node: NodeProto, what: str, count: int, allowed: range) -> None:
    if count not in allowed:
        some = str(allowed[0]) if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"
        raise ModelError(f"the {_title(node)} has {count} {what}, expected {some}")


def _define(name: str, scope: set[str], what: str, node: NodeProto | None = None) -> None:
    if name in scope or not isinstance(name, str):
        what = f"{what} {_title(node)}" if node else what  # only now: most names are fine
        _require_text(name, what)
        raise ModelError(f"the name '{name}' is defined twice, the second time as {what}")
    scope.add(name)


def _check_defined(
    names: Iterator[str] | Sequence[str], scopes: _Scopes, what: str, node: NodeProto | None = None
) -> None:
    for name in names:
        if name not in scopes[-1] and not any(name in scope for scope in scopes):
            what = f"{what} {_title(node)}" if node else what
            raise ModelError(f"'{shown(name)}', {what}, is defined nowhere")


def _require_text(name: str | bytes, what: str) -> None:
    if isinstance(name, bytes):  # protobuf hands out strings that are not UTF-8 as bytes
        raise ModelError(f"the name {name!r} of a {what} is not UTF-8 text")


def _title(node: NodeProto) -> str:
    return f"{shown(node.op_type)} node '{shown(node.name) or next(iter(node.output), '')}'"
