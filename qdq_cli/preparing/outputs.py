"""Optional outputs that nothing reads: they are taken away, because importers count them."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import every_node, is_op

_WITH_OPTIONAL = ("MaxPool", "LayerNormalization")
"""Operators whose second output and those behind it are optional, and change nothing in the first."""


def drop_unread_outputs(graph: ir.Graph) -> list[ir.Node]:
    """Take the optional outputs of MaxPool and LayerNormalization away where nothing reads them.

    Args:
        graph: Changed in place, bodies included.

    Returns:
        The nodes that had some.
    """
    dropped = []
    for node in every_node(graph):
        if not is_op(node, *_WITH_OPTIONAL) or not any(value.name for value in node.outputs[1:]):
            continue
        if not any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
            node.resize_outputs(1)
            dropped.append(node)
    return dropped
