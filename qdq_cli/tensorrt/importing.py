"""A model as TensorRT's importer sees it (S1-S3, section 4.2), made on a clone: structure only, no weights are read.

Identity, inference Dropout and no-op Pad and Reshape are gone; Split is one Slice for each output; constants behind Q
and DQ are constants, except in weight slots; what computes shapes no longer reads activations; dead nodes are gone.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.errors import ModelError
from qdq_cli.graph.names import Names
from qdq_cli.graph.nodes import (
    constant_at,
    constant_ints,
    input_at,
    is_constant,
    is_op,
    mark_shape_computations,
    static_dims,
)
from qdq_cli.graph.operators import is_weighted
from qdq_cli.graph.scales import holds_constant, is_dequantize, is_quantize

_ONNX_NODE = "qdq.onnx_node"


def imported(model: ir.Model) -> ir.Model:
    """Return a clone of a model as TensorRT's importer would leave it.

    Args:
        model: Any ONNX model; best as `prepare` leaves it, with shapes.

    Raises:
        ModelError: The graph has a cycle.
    """
    clone = model.clone()
    if clone.functions:
        passes.InlinePass()(clone)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(clone)
    _sort(clone.graph)
    _name_nodes(clone.graph)
    mark_shape_computations(clone.graph)
    _let_shapes_go(clone.graph)
    _remove_no_ops(clone.graph)
    _split_into_slices(clone.graph)
    _fold_quantized_constants(clone.graph)
    _remove_dead(clone.graph)
    return clone


def onnx_name(node: ir.Node) -> str:
    """Return the name a node of the clone has in the ONNX model."""
    name = node.meta.get(_ONNX_NODE, node.name)
    return str(name or "")


def _sort(graph: ir.Graph) -> None:
    seen: set[ir.Node] = set()
    for node in graph:
        if any(source is not None and source.graph is graph and source not in seen for source in _sources(node)):
            break
        seen.add(node)
    else:
        return  # the order of the file decides which operator owns an Add (4.4); keep it where it is valid
    try:
        graph.sort()
    except ValueError as error:
        raise ModelError(f"The graph '{graph.name}' has a cycle.", "Export the model again.") from error


def _sources(node: ir.Node) -> Iterator[ir.Node | None]:
    return (value.producer() for value in node.inputs if value is not None)


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node of the main graph a name of its own, and let it remember the one the user knows."""
    taken: set[str] = set()
    for node in graph:
        first = next((value.name for value in node.outputs if value.name), "")
        node.meta[_ONNX_NODE] = node.name or f"{node.op_type}_{first}"
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{first}"
        taken.add(node.name)


def _let_shapes_go(graph: ir.Graph) -> None:
    """Detach Shape and Size: shapes are computed on the host and need no tensor to exist."""
    for node in graph:
        if is_op(node, "Shape", "Size") and input_at(node, 0) is not None:
            node.replace_input_with(0, None)


def _remove_no_ops(graph: ir.Graph) -> None:
    for node in list(graph):
        if not _is_no_op(node):
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


def _split_into_slices(graph: ir.Graph) -> None:
    """Take Split as one Slice for each output (S2), so that a Q crosses each of them alone."""
    names = Names(graph)
    for node in [node for node in graph if is_op(node, "Split")]:
        for value in [value for value in node.outputs if value.uses() or value.is_graph_output()]:
            part = ir.Value(name=value.name, type=value.type, shape=value.shape)
            piece = ir.Node("", "Slice", [node.inputs[0]], outputs=[part], name=names.node(f"{node.name}_slice"))
            piece.meta[_ONNX_NODE] = onnx_name(node)
            graph.insert_before(node, piece)
            value.replace_all_uses_with(part, replace_graph_outputs=True)
        graph.remove(node, safe=True)


def _fold_quantized_constants(graph: ir.Graph) -> None:
    """Let a constant behind Q and DQ be a float constant wherever it is no weight (S3)."""
    for node in list(graph):
        if not is_dequantize(node) or not holds_constant(node.outputs[0]):
            continue
        folded = _folded(node)
        for use in list(node.outputs[0].uses()):
            if not is_weighted(use.node) and not is_quantize(use.node):
                use.node.replace_input_with(use.idx, folded)


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
    for node in reversed(list(graph)):
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)
