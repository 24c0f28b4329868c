"""Free names for values and nodes that are put into a graph."""

from __future__ import annotations

import onnx_ir as ir


class Names:
    """The names a graph uses, its If/Loop bodies included; one scan, then constant time for each new name.

    Args:
        graph: The graph that gets new nodes and values; every one of them must be named through this object.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._values: set[str] = set()
        self._nodes: set[str] = set()
        for part in (graph, *graph.subgraphs()):
            self._values.update(value.name or "" for value in (*part.inputs, *part.initializers.values()))
            for node in part:
                self._nodes.add(node.name or "")
                self._values.update(value.name or "" for value in node.outputs)

    def value(self, wanted: str) -> str:
        """Reserve a value name: `wanted`, or `wanted_1`, `wanted_2`... where that is taken."""
        return _reserve(wanted, self._values)

    def node(self, wanted: str) -> str:
        """Reserve a node name: `wanted`, or `wanted_1`, `wanted_2`... where that is taken."""
        return _reserve(wanted, self._nodes)


def _reserve(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
