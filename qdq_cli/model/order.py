"""Sort the nodes of a graph whose file has them in another order."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq_cli.model.nodes import every_body, inner_graphs
from qdq_cli.process.errors import ModelError


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
