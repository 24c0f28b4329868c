"""A model as TensorRT's importer sees it (S1-S3, section 4.2): structure only, no weights are read.

Identity, inference Dropout and no-op Pad and Reshape are gone; Split is one Slice for each output; constants behind Q
and DQ are constants, except in weight slots; what computes shapes no longer reads activations; dead nodes are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.model.dynamic import MXFP8_DEQUANTIZE, is_block_dequantize, is_dynamic_quantize
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    FLOAT_TYPES,
    constant_at,
    constant_ints,
    input_at,
    is_constant,
    is_op,
    mark_shape_computations,
    only_consumer,
    static_dims,
)
from qdq_cli.model.order import sort_nodes
from qdq_cli.model.scales import holds_constant, is_dequantize, is_pair_half, is_quantize
from qdq_cli.placement.operators import is_weighted
from qdq_cli.preparing.prepare import lift_constants

_ONNX_NODE = "qdq.onnx_node"
_PERHAPS_NO_OPS = ("Identity", "Dropout", "Pad", "Reshape", "Cast")
_CHANGED = frozenset({"Shape", "Size", "Split", MXFP8_DEQUANTIZE, *_PERHAPS_NO_OPS})


@dataclass(frozen=True)
class Imported:
    """A model as the importer leaves it.

    Args:
        model: The imported model.
        tensors: Its values -> the name the user knows it by; for what Q and DQ write, the tensor Q reads.
    """

    model: ir.Model
    tensors: Mapping[ir.Value, str]


def imported(model: ir.Model) -> Imported:
    """Return a clone of a model as TensorRT's importer would leave it.

    Args:
        model: Any ONNX model; best as `prepare` leaves it, with shapes.

    Raises:
        ModelError: The graph has a cycle.
    """
    return import_in_place(_sorted_clone(model))


def import_in_place(model: ir.Model) -> Imported:
    """Do the same to the model itself, its nodes in a valid order."""
    _name_nodes(model.graph)
    if model.functions:
        passes.InlinePass()(model)
    lift_constants(model)
    mark_shape_computations(model.graph)
    nodes = tuple(model.graph)
    changing = [node for node in nodes if node.op_type in _CHANGED]  # few, so that each step need not look at all
    _spell_dequantize(changing)
    tensors = _tensor_names(nodes)
    _let_shapes_go(changing)
    _remove_no_ops(model.graph, changing)
    _split_into_slices(model.graph, changing)
    _fold_quantized_constants(nodes)
    _remove_dead(model.graph)
    return Imported(model, tensors)


def onnx_name(node: ir.Node) -> str:
    """Return the name a node of the imported model has in the ONNX model."""
    return str(node.meta.data.get(_ONNX_NODE) or node.name or "")


def _sorted_clone(model: ir.Model) -> ir.Model:
    """Clone a model with its nodes in a valid order: the file's own, where that is valid (4.4 looks at it)."""
    order = list(model.graph)
    sort_nodes(model.graph)
    clone = model.clone()
    for node, original in zip(clone.graph, model.graph, strict=True):
        node.name = original.name
    if list(model.graph) != order:
        model.graph.extend(order)  # back into the order of the file
    return clone


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node of the main graph a name of its own, and let it remember the one the user knows."""
    taken: set[str] = set()
    for node in graph:
        name = node.name
        if not name or name in taken:
            first = next((value.name for value in node.outputs if value.name), "")
            node.meta[_ONNX_NODE] = name = name or f"{node.op_type}_{first}"
            node.name = name = f"{name}_{first}" if name in taken else name
        taken.add(name)


def _tensor_names(nodes: Sequence[ir.Node]) -> dict[ir.Value, str]:
    names: dict[ir.Value, str] = {}
    for node in nodes:
        source = input_at(node, 0) if is_pair_half(node) else None
        if source is not None and is_dequantize(node) and not _makes_codes(source.producer()):
            source = None  # codes that an operator moved: the float tensor is what DQ writes
        for value in node.outputs:
            names[value] = (value.name if source is None else names.get(source, source.name)) or ""
    return names


def _makes_codes(node: ir.Node | None) -> bool:
    return is_quantize(node) or is_dynamic_quantize(node)


def _spell_dequantize(nodes: Sequence[ir.Node]) -> None:
    """Let TensorRT's own DQ of blocks be one of ONNX, which says the same."""
    for node in nodes:
        if is_block_dequantize(node):
            node.op_type, node.domain = "DequantizeLinear", ""


def _let_shapes_go(nodes: Sequence[ir.Node]) -> None:
    """Detach Shape and Size: shapes are computed on the host and need no tensor to exist."""
    for node in nodes:
        if is_op(node, "Shape", "Size") and input_at(node, 0) is not None:
            node.replace_input_with(0, None)


def _remove_no_ops(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    for node in nodes:
        if not is_op(node, *_PERHAPS_NO_OPS) or not _is_no_op(node):
            continue
        source, result = node.inputs[0], node.outputs[0]
        if source is None or (result.is_graph_output() and (source.producer() is None or source.is_graph_output())):
            continue
        result.replace_all_uses_with(source, replace_graph_outputs=True)
        graph.remove(node, safe=True)


def _is_no_op(node: ir.Node) -> bool:
    """Say whether a node hands its first input through (S1)."""
    if is_op(node, "Identity"):
        return True
    if is_op(node, "Cast"):
        return _is_beside_codes(node)
    if is_op(node, "Dropout"):
        training = constant_at(node, 2)
        mode_known = input_at(node, 2) is None or (training is not None and not bool(training.item()))
        return mode_known and not any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    if is_op(node, "Pad"):
        pads = constant_ints(node, 1)
        return pads is not None and not any(pads)
    if is_op(node, "Reshape"):
        before, after = static_dims(input_at(node, 0)), static_dims(node.outputs[0])
        return before is not None and None not in before and before == after
    return False


def _is_beside_codes(cast: ir.Node) -> bool:
    """Say whether a Cast from float to float is one with the DQ before it, or with the Qs that read it alone."""
    source, result = input_at(cast, 0), cast.outputs[0]
    if source is None or source.dtype not in FLOAT_TYPES or result.dtype not in FLOAT_TYPES or result.is_graph_output():
        return False
    if is_dequantize(source.producer()):
        return True
    readers = [use.node for use in result.uses()]
    return bool(readers) and all(map(is_quantize, readers)) and not holds_constant(source)


def _split_into_slices(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Take Split as one Slice for each output (S2), so that a Q crosses each of them alone."""
    splits = [node for node in nodes if is_op(node, "Split")]
    if not splits:
        return
    names = Names(graph)
    for node in splits:
        for value in [value for value in node.outputs if value.uses() or value.is_graph_output()]:
            part = ir.Value(name=value.name, type=value.type, shape=value.shape)
            piece = ir.Node("", "Slice", [node.inputs[0]], outputs=[part], name=names.node(f"{node.name}_slice"))
            piece.meta[_ONNX_NODE] = onnx_name(node)
            graph.insert_before(node, piece)
            value.replace_all_uses_with(part, replace_graph_outputs=True)
        graph.remove(node, safe=True)


def _fold_quantized_constants(nodes: Sequence[ir.Node]) -> None:
    """Let a constant behind Q and DQ be a float constant wherever it is no weight (S3)."""
    for node in nodes:
        if not is_dequantize(node) or not holds_constant(node.outputs[0]):
            continue
        reads = [use for use in node.outputs[0].uses() if not is_quantize(use.node) and not _is_weight(use.node)]
        folded = _folded(node) if reads else None
        for use in reads:
            use.node.replace_input_with(use.idx, folded)


def is_shuffle(node: ir.Node) -> bool:
    """Say whether a node only rearranges its first input, as a shuffle between a weight and its operator does."""
    return is_op(node, "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


def _is_weight(reader: ir.Node) -> bool:
    """Say whether what a node reads is the weight of a weighted operator, also through shuffles (A22)."""
    while is_shuffle(reader) and (use := only_consumer(reader.outputs[0])) is not None:
        reader = use[0]
    return is_weighted(reader)


def _folded(dequantize: ir.Node) -> ir.Value:
    """Return a constant for the output of a DQ; its data stand-in is the constant before Q and DQ, never read here."""
    value = dequantize.outputs[0]
    source = input_at(dequantize, 0)
    while source is not None and not is_constant(source):
        producer = source.producer()
        source = None if producer is None else input_at(producer, 0)
    data = None if source is None else source.const_value
    return ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=data)


def _remove_dead(graph: ir.Graph) -> None:
    for node in reversed(tuple(graph)):
        for value in node.outputs:
            if value.uses() or value.is_graph_output():
                break
        else:
            graph.remove(node, safe=True)
