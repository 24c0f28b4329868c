"""The blocks of a network, so that a graph can be folded: what names say, or where it narrows to one tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from qdq_cli.screen.graph import Edge, Node, Shade

_DEEPEST = 8


def in_blocks(nodes: tuple[Node, ...], edges: tuple[Edge, ...]) -> tuple[tuple[Node, ...], str]:
    """Put boxes into blocks.

    Exporters name a node after the modules it is in: `/layer1/layer1.0/conv1/Conv`, `features.0.1`. Where most names
    have no such parts, a block is what lies between two places at which a single tensor connects everything before
    with everything behind, such as a residual block.

    Args:
        nodes: The boxes.
        edges: What connects them.

    Returns:
        The boxes with their blocks, and what stands between the names of blocks.
    """
    inner = [node.name for node in nodes if node.shade is not Shade.END]
    for separator in "/.":
        paths = [_scope(name, separator) for name in inner]
        if 2 * sum(map(bool, paths)) >= len(paths) and len(set(paths)) > 1:
            return tuple(_named(node, separator) for node in nodes), separator
    return tuple(_narrowed(nodes, edges)), "/"


def _scope(name: str, separator: str) -> tuple[str, ...]:
    return tuple(filter(None, name.split(separator)[:-1]))[:_DEEPEST]


def _named(node: Node, separator: str) -> Node:
    return node if node.shade is Shade.END else replace(node, block=_scope(node.name, separator))


def _narrowed(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[Node]:
    """Number the stretches between narrow places; one of a single box is no block."""
    last = list(range(len(nodes)))
    for edge in edges:
        last[edge.source] = max(last[edge.source], edge.target)
    ends = Counter(last)
    stretches, number, alive = [], 0, 0
    for place, end in enumerate(last):
        stretches.append(number)
        alive += (end > place) - (ends[place] - (end == place))
        number += alive <= 1
    sizes = Counter(stretches)
    return [
        replace(node, block=(f"part {stretch + 1}",)) if sizes[stretch] > 1 and node.shade is not Shade.END else node
        for node, stretch in zip(nodes, stretches, strict=True)
    ]
