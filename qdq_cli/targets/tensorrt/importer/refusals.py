"""What TensorRT's importer refuses about one node or one tensor, by the table of `importer.table`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.foreign import WAY_OUT, is_optimizer_made
from qdq_cli.model.nodes import ONNX_DOMAIN, every_body, every_node, input_at, is_constant, is_op
from qdq_cli.model.opset import is_onnx_operator, opset_of
from qdq_cli.model.scales import is_pair_half
from qdq_cli.placement.target import Refused
from qdq_cli.targets.tensorrt.importer.plugins import check_plugins, is_named, is_shipped
from qdq_cli.targets.tensorrt.importer.records import Refusal, Row, version_text
from qdq_cli.targets.tensorrt.importer.table import TABLE

RUNTIME_DOMAIN = "com.microsoft"

INTEGER_OPERATORS = frozenset(
    {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearAdd"}
    | {"QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat", "QLinearLeakyRelu"}
    | {"QLinearSigmoid", "QLinearSoftmax", "QLinearWhere", "QLinearReduceMean", "QGemm", "QAttention"}
    | {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat"}
)
"""Operators that compute on stored integers themselves."""

QUANTIZED_TYPES = frozenset({ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.FLOAT4E2M1})
"""Element types that quantization makes; Q and DQ are judged by rules of their own."""

MOST_DIMENSIONS = 8

OLDEST_BROADCASTING = 7
"""Since this opset elementwise operators broadcast as NumPy does; the importer knows no other way."""

_READ_TYPES = QUANTIZED_TYPES | {
    *(ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE),
    *(ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT8, ir.DataType.BOOL),
}
"""Element types that a tensor may have at all."""

_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Less", "Greater", "Equal")

_PLUGIN = (
    "Load a plugin of that name (from TensorRT 8.6 on trtexec --staticPlugins) and say so with --plugin, or export "
    "without this operator."
)
_QDQ = "Export in the Q/DQ format (ONNX Runtime: QuantFormat.QDQ), not with integer operators."
_MOVABLE = "`qdq fix` writes Q/DQ of 8 bits in the ONNX domain; quantize other types to INT8."
_TYPE = "Cast to a type it takes."
_TENSORS = "TensorRT has tensors of FP32, FP16, BF16, INT32, INT64, BOOL and quantized types: cast before the model."
_LISTS = "TensorRT has no sequences, maps or optional values: export the model with plain tensors."
_BYTES = "UINT8 is for inputs and outputs of the network: cast to INT32 inside."


@dataclass(frozen=True)
class Place:
    """A refusal, and where it is.

    Args:
        node: The node; None for an input of the graph.
        tensor: Name of the tensor it is about, or "".
        refusal: What is refused.
    """

    node: ir.Node | None
    tensor: str
    refusal: Refusal


def refused_by_releases(model: ir.Model, plugins: Collection[str]) -> tuple[Refused, ...]:
    """Return what releases refuse of a model, each thing once with the nodes it is found at.

    Args:
        model: With types and shapes, as far as they are known; constants lifted to initializers.
        plugins: Custom operators that the deployment has.

    Raises:
        UsageError: Nothing in the model goes by the name of a plugin.
    """
    return gathered(places_of_releases(model, plugins))


def places_of_releases(model: ir.Model, plugins: Collection[str]) -> Iterator[Place]:
    """Yield everything in a model that some release refuses, Q and DQ apart; see `places`.

    Raises:
        UsageError: Nothing in the model goes by the name of a plugin.
    """
    check_plugins(model.graph, plugins)
    return places(model.graph, opset_of(model), plugins)


def gathered(found: Iterable[Place]) -> tuple[Refused, ...]:
    """Return each thing that is refused once, with the nodes it is found at."""
    nodes: dict[Refusal, list[str]] = {}
    for place in found:
        named = nodes.setdefault(place.refusal, [])
        if place.node is not None:
            named.append(place.node.name or place.tensor)
    return tuple(
        Refused(
            found=refusal.found,
            nodes=tuple(dict.fromkeys(names)),
            releases=refusal.releases,
            way_out=refusal.way_out,
            since="" if refusal.since is None else version_text(refusal.since),
        )
        for refusal, names in nodes.items()
    )


def places(graph: ir.Graph, opset: int, plugins: Collection[str] = ()) -> Iterator[Place]:
    """Yield everything in a model that some release refuses, Q and DQ apart.

    Args:
        graph: With types and shapes, as far as they are known; constants lifted to initializers.
        opset: Opset of the default domain.
        plugins: Custom operators that the deployment has.
    """
    for value in graph.inputs:
        if (found := refused_tensor(value)) is not None:
            yield Place(None, value.name or "", found)
    for node in every_node(graph):
        for found in refusals(node, opset, plugins):
            yield Place(node, _first_output(node), found)
    for part in (graph, *every_body(graph)):
        yield from _refused_constants(part)


def refusals(node: ir.Node, opset: int = OLDEST_BROADCASTING, plugins: Collection[str] = ()) -> Iterator[Refusal]:
    """Yield what some release refuses about a node: the operator, or its form and types.

    Args:
        node: A node in any domain.
        opset: Opset of the default domain.
        plugins: Custom operators that the deployment has.
    """
    if is_named(node, plugins):
        return
    row = TABLE.get(node.op_type) if node.domain == ONNX_DOMAIN else None
    if row is None or row.since is None:
        found = _without_importer(node, row)
        yield from () if found is None else (found,)
        return
    if row.since > (0, 0):
        found_text = f"{node.op_type}, which is read since TensorRT {version_text(row.since)}"
        yield Refusal(True, found_text, f"Use TensorRT {version_text(row.since)} or above.", row.since)
    yield from _forms(node, row, opset)


def refused_tensor(value: ir.Value) -> Refusal | None:
    """Return what is refused about a tensor by itself: its type, or how many dimensions it has; None for nothing."""
    kind, dtype, shape = value.type, value.dtype, value.shape
    if kind is not None and not isinstance(kind, ir.TensorType):
        name = "sequence" if isinstance(kind, ir.SequenceType) else "optional value"
        return Refusal(False, f"a value that is no tensor: {name}", _LISTS)
    if dtype is not None and dtype not in _READ_TYPES and dtype is not ir.DataType.UNDEFINED:
        return Refusal(False, f"a tensor of {dtype.name}", _TENSORS)
    if shape is not None and len(shape) > MOST_DIMENSIONS:
        return Refusal(False, f"a tensor of {len(shape)} dimensions", f"Reshape it to {MOST_DIMENSIONS} at most.")
    return None


def reads_stored_constant(node: ir.Node) -> ir.Value | None:
    """Return a quantized constant that a node other than Q and DQ reads, which engines cannot hold; None without one.

    A plugin takes one.
    """
    if is_pair_half(node) or node.domain != ONNX_DOMAIN or node.op_type in INTEGER_OPERATORS:
        return None
    slots = (0,) if is_op(node, "Clip") else range(len(node.inputs))  # the bounds of Clip become attributes
    for slot in slots:
        value = input_at(node, slot)
        if value is not None and value.dtype in QUANTIZED_TYPES and is_constant(value):
            return value
    return None


def _refused_constants(graph: ir.Graph) -> Iterator[Place]:
    """Yield the constants that are refused by their type, each once; nothing need read them."""
    for value in graph.initializers.values():
        if value.dtype is not None and value.dtype not in _READ_TYPES:
            reader = next((use.node for use in value.uses()), None)
            yield Place(reader, value.name or "", Refusal(False, f"a constant of {value.dtype.name}", _TENSORS))


def _forms(node: ir.Node, row: Row, opset: int) -> Iterator[Refusal]:
    name = node.op_type
    for limit in row.limits:
        if limit.holds(node):
            yield Refusal(False, f"{name} {limit.form}", limit.way_out, limit.since, limit.first)
    if row.types:
        yield from _data_types(node, row)
    if opset < OLDEST_BROADCASTING and is_op(node, *_BROADCASTING):
        way_out = f"`qdq fix` raises the opset; else export with opset {OLDEST_BROADCASTING} or above."
        yield Refusal(False, f"{name} of opset {opset}, which broadcasts in a way of its own", way_out)
    if name in ("Cast", "CastLike") and _is_inner(node, ir.DataType.UINT8):
        yield Refusal(False, f"{name} to UINT8 inside the network", _BYTES)
    for value in node.outputs:
        if (found := refused_tensor(value)) is not None:
            yield found


def _data_types(node: ir.Node, row: Row) -> Iterator[Refusal]:
    """Yield the types of its data that an operator does not take; FP64 is read as FP32."""
    values = [node.outputs[0] if slot < 0 else input_at(node, slot) for slot in row.data]
    for kind in {value.dtype: None for value in values if value is not None and value.dtype is not None}:
        asked = ir.DataType.FLOAT if kind is ir.DataType.DOUBLE else kind
        if asked in QUANTIZED_TYPES or asked not in _READ_TYPES or row.types.get(asked) == (0, 0):
            continue
        since = row.types.get(asked)
        later = "" if since is None else f", which is read since TensorRT {version_text(since)}"
        yield Refusal(False, f"{node.op_type} on {kind.name}{later}", _TYPE, since)


def _without_importer(node: ir.Node, row: Row | None) -> Refusal | None:
    """Return what is refused about an operator that no release reads; None for a plugin."""
    op_type, domain = node.op_type, node.domain
    found = f"{domain}.{op_type}" if domain else op_type
    if op_type in INTEGER_OPERATORS:
        return Refusal(True, found, _QDQ)
    if row is not None:
        return Refusal(True, found, row.way_out)
    if domain == RUNTIME_DOMAIN and op_type in ("QuantizeLinear", "DequantizeLinear"):
        return Refusal(True, found, _MOVABLE)
    if is_optimizer_made(node):
        return Refusal(True, found, WAY_OUT)
    if is_shipped(node):
        return None
    if domain == ONNX_DOMAIN and is_onnx_operator(op_type):
        return Refusal(True, found, _PLUGIN)
    return Refusal(True, f"{found}, which is no operator of ONNX and no plugin that ships with TensorRT", _PLUGIN)


def _is_inner(node: ir.Node, kind: ir.DataType) -> bool:
    """Say whether a node makes a tensor of a type that is no output of the network and goes into no Q or DQ."""
    value = node.outputs[0]
    readers: Iterable[ir.Node] = (use.node for use in value.uses())
    return value.dtype is kind and not value.is_graph_output() and not all(is_pair_half(reader) for reader in readers)


def _first_output(node: ir.Node) -> str:
    return (node.outputs[0].name or "") if node.outputs else ""
