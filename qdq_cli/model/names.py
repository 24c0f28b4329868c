"""Free names for values and nodes that are put into a graph."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import every_node, inner_graphs


class Names:
    """The names a graph uses, its If/Loop bodies included; one scan, then constant time for each new name.

    Args:
        graph: The graph that gets new nodes and values; every one of them must be named through this object.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._values: set[str] = set()
        self._nodes: set[str] = set()
        self._next_value: dict[str, int] = {}
        self._next_node: dict[str, int] = {}
        nodes = list(every_node(graph))
        bodies = [body for node in nodes if node.attributes.data for body in inner_graphs(node)]
        for part in (graph, *bodies):
            self._values.update([value.name or "" for value in (*part.inputs, *part.initializers.values())])
        self._nodes.update([node.name or "" for node in nodes])
        self._values.update([value.name or "" for node in nodes for value in node.outputs])

    def value(self, wanted: str) -> str:
        """Reserve a value name: `wanted`, or `wanted_1`, `wanted_2`... where that is taken."""
        return _reserve(wanted, self._values, self._next_value)

    def node(self, wanted: str) -> str:
        """Reserve a node name: `wanted`, or `wanted_1`, `wanted_2`... where that is taken."""
        return _reserve(wanted, self._nodes, self._next_node)


def _reserve(wanted: str, taken: set[str], numbers: dict[str, int]) -> str:
    """Return the first free name; `numbers` keeps where the search for each name ended, as names never free up."""
    name, number = wanted, numbers.get(wanted, 0)
    if number:
        name = f"{wanted}_{number}"
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    numbers[wanted] = number
    taken.add(name)
    return name
