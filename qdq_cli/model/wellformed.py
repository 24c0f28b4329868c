"""What a model file must hold before anything works on it: names that resolve, tensors as large as they say, operators
with the inputs and attributes that ONNX defines.

Read from the protobuf, because the graph library only logs such things, drops them, or stumbles over them much later.
Every refusal names the node or tensor. Node order is not a reason: unsorted nodes are sorted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx.defs
import onnx_ir as ir
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from qdq_cli.model.nodes import every_body, inner_graphs
from qdq_cli.process.errors import ModelError

OLDEST_IR_VERSION = 3
"""Models below it carry no opset imports, so their operators have no defined meaning."""

_DEFAULT_DOMAIN = ("", "ai.onnx")

_Scopes = tuple[set[str], ...]

_RECENT_BITS = {23: 4, 24: 8, 25: 2, 26: 2}  # FLOAT4E2M1, FLOAT8E8M0, UINT2, INT2: not in every release of onnx

BITS = {
    **dict.fromkeys((TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL), 8),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64, TensorProto.COMPLEX64), 64),
    TensorProto.COMPLEX128: 128,
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4), 4),
    **dict.fromkeys((TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ), 8),
    **dict.fromkeys((TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ), 8),
    **{kind: bits for kind, bits in _RECENT_BITS.items() if kind in TensorProto.DataType.values()},
}
"""Bits an element takes; types that are not here are too new to check and left to the graph library."""

MAX_RANK = 32
"""Dimensions of a tensor; NumPy takes 32 before its version 2 and 64 since, TensorRT 8."""

_TOO_MANY_ELEMENTS = 1 << 48

_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}

_FIELD_OF_TYPE = {
    TensorProto.FLOAT: ("float_data", 1),
    TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1),
    TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1),
    TensorProto.UINT32: ("uint64_data", 1),
    TensorProto.UINT64: ("uint64_data", 1),
}
"""Field of a tensor without raw data, and its entries an element; all other types are in int32_data."""


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
        if info.type.HasField("tensor_type") and kind not in _TYPES:
            raise ModelError(
                f"the graph input '{_shown(info.name)}' has the element type {kind}, which is none",
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
            raise ModelError(f"'{_shown(name)}', {what}, is defined nowhere")


def _require_text(name: str | bytes, what: str) -> None:
    if isinstance(name, bytes):  # protobuf hands out strings that are not UTF-8 as bytes
        raise ModelError(f"the name {name!r} of a {what} is not UTF-8 text")


def _shown(name: str | bytes) -> str:
    return name if isinstance(name, str) else repr(name)


def _title(node: NodeProto) -> str:
    return f"{_shown(node.op_type)} node '{_shown(node.name) or next(iter(node.output), '')}'"


def check_tensor(tensor: TensorProto) -> None:
    """Refuse a tensor whose data is not as large as its shape.

    Raises:
        ModelError: It is too small or too large, or a dimension is negative.
    """
    if min(tensor.dims, default=0) < 0 or tensor.data_type not in _TYPES:
        what = f"the element type {tensor.data_type} and the shape {list(tensor.dims)}"
        raise ModelError(f"the tensor '{_shown(tensor.name)}' has {what}")
    if len(tensor.dims) > MAX_RANK:
        raise ModelError(
            f"the tensor '{_shown(tensor.name)}' has {len(tensor.dims)} dimensions; at most {MAX_RANK} are read"
        )
    stored_here = tensor.data_location != TensorProto.EXTERNAL or 0 in tensor.dims  # else its file is too short
    if stored_here and math.prod(dim or 1 for dim in tensor.dims) >= _TOO_MANY_ELEMENTS:
        raise ModelError(f"the tensor '{_shown(tensor.name)}' of shape {list(tensor.dims)} fits into no memory")
    if tensor.data_location == TensorProto.EXTERNAL:
        _check_external(tensor)
        return
    elements = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        found, expected, unit = len(tensor.string_data), elements, "strings"
    elif tensor.data_type not in BITS:
        return
    elif tensor.HasField("raw_data"):
        found, expected, unit = len(tensor.raw_data), math.ceil(elements * BITS[tensor.data_type] / 8), "bytes"
    else:
        field, entries = _FIELD_OF_TYPE.get(tensor.data_type, ("int32_data", 1))
        bits = BITS[tensor.data_type]
        found, unit = len(getattr(tensor, field)), "values"
        expected = math.ceil(elements * bits / 8) if bits < 8 else elements * entries
    if found != expected:
        raise ModelError(
            f"the tensor '{_shown(tensor.name)}' of shape {list(tensor.dims)} holds {found:,} {unit}, "
            f"expected {expected:,}"
        )


def _check_external(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.STRING:
        raise ModelError(f"the tensor '{_shown(tensor.name)}' of strings is declared as external data")
    for entry in tensor.external_data:
        if entry.key in ("offset", "length") and not str(entry.value).isdecimal():
            raise ModelError(
                f"the external data of the tensor '{_shown(tensor.name)}' has the {entry.key} '{_shown(entry.value)}'"
            )


def sort_nodes(graph: ir.Graph) -> bool:
    """Sort the nodes of a graph, and of the bodies in it, if the order of the file is not valid.

    Returns:
        Whether the order was changed.

    Raises:
        ModelError: The graph has a cycle.
    """
    if all(map(_is_sorted, (graph, *every_body(graph)))):
        return False
    try:
        graph.sort()
    except ValueError as error:
        raise ModelError(f"the graph '{graph.name}' has a cycle") from error
    return True


def _is_sorted(graph: ir.Graph) -> bool:
    """Say whether every node comes behind the nodes of the same graph that it, or a body in it, reads from."""
    seen: set[ir.Node] = set()
    for node in graph:
        if any(_is_behind(value, graph, seen) for value in _read_by(node)):
            return False
        seen.add(node)
    return True


def _is_behind(value: ir.Value | None, graph: ir.Graph, seen: set[ir.Node]) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.graph is graph and producer not in seen


def _read_by(node: ir.Node) -> Iterator[ir.Value | None]:
    yield from node.inputs
    for body in inner_graphs(node):
        for inner in body:
            yield from _read_by(inner)
