"""Names of nodes, by which the compiler's kernels and the prediction are laid side by side."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx_ir as ir

from qdq_cli.model import files
from qdq_cli.model.nodes import every_node, input_at
from qdq_cli.model.scales import is_dequantize, is_quantize
from qdq_cli.placement.operators import counts_as_weighted
from qdq_cli.preparing.prepare import name_everything


def named(source: files.ModelFile, folder: Path, stack: contextlib.ExitStack) -> Path:
    """Return the file that the compiler reads: the model's own where every node has a name of its own, else a copy.

    Args:
        source: The model; its nodes get names.
        folder: Where a copy may be written.
        stack: Keeps the copy until it is closed.
    """
    before = [node.name for node in every_node(source.model.graph)]
    name_everything(source.model)
    if before == [node.name for node in every_node(source.model.graph)]:
        return source.path
    return stack.enter_context(files.staged(source.model, folder / "named.onnx", external=source.external)).path


def operators_by_name(model: ir.Model) -> dict[str, str]:
    """Return node -> its operator."""
    return {node.name or "": node.op_type for node in every_node(model.graph)}


def weighted_names(model: ir.Model) -> tuple[str, ...]:
    """Return the names of the weighted operators of the main graph, in its order."""
    return tuple(node.name or "" for node in model.graph if counts_as_weighted(node))


def readers_by_name(model: ir.Model) -> dict[str, tuple[str, ...]]:
    """Return node -> the nodes that read what it makes."""
    return {
        node.name or "": tuple(use.node.name or "" for value in node.outputs for use in value.uses())
        for node in every_node(model.graph)
    }


def quantizers_by_name(model: ir.Model) -> dict[str, str]:
    """Return node -> the Q that its data comes from, for the nodes whose data is dequantized right before them."""
    found = {}
    for node in every_node(model.graph):
        half = _producer(node)
        source = _producer(half) if half is not None and is_dequantize(half) else None
        if source is not None and is_quantize(source):
            found[node.name or ""] = source.name or ""
    return found


def _producer(node: ir.Node) -> ir.Node | None:
    value = input_at(node, 0)
    return None if value is None else value.producer()
