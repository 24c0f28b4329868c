"""Two forms of one network side by side: both graphs, what each costs, and the kernels that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qdq_cli.inspecting.record import Inspection, Summary
from qdq_cli.screen.amounts import share_text, short_count, size_text
from qdq_cli.screen.graph import TITLES, Graph, Mark, Node, Shade, Twins
from qdq_cli.screen.page import Cell, Link, Note, Section, Table


def beside_sections(found: Inspection, graph: Graph, other: Inspection, other_graph: Graph) -> tuple[Section, ...]:
    """Show two graphs and their differences.

    Kernels are the same where their leading nodes have one name; forms of one network that tools have renamed share
    none.

    Args:
        found, graph: The model that was asked about.
        other, other_graph: The one beside it.
    """
    ours, theirs = _by_name(graph), _by_name(other_graph)
    differ = [name for name in {**ours, **theirs} if _said(ours.get(name)) != _said(theirs.get(name))]
    titles = _titles(found.model, other.model)
    twins = Twins(_marked(graph, differ, titles[0]), _marked(other_graph, differ, titles[1]))
    rows: list[tuple[Cell, ...]] = [
        (Link(name, name), _said(ours.get(name)), _said(theirs.get(name))) for name in differ
    ]
    table = Table(("kernel", *titles), tuple(rows)) if rows else Note("Every kernel is the same in both.")
    return (
        Section("Graph", "What is chosen in one is chosen in the other; what differs has a red frame.", (twins,)),
        Section("Both in numbers", "", (_numbers(found.summary, other.summary, titles),)),
        Section("Differences", "Kernels that differ in type or operators, or are in one of both alone.", (table,)),
    )


def _titles(ours: str, theirs: str) -> tuple[str, str]:
    return (ours, theirs) if ours != theirs else (ours, f"{theirs} (beside)")


def _by_name(graph: Graph) -> dict[str, Node]:
    return {node.name: node for node in graph.nodes if node.shade is not Shade.END}


def _said(node: Node | None) -> str:
    return "" if node is None else f"{node.title}, {TITLES[node.shade]}"


def _marked(graph: Graph, differ: list[str], title: str) -> Graph:
    names = frozenset(differ)
    nodes = tuple(replace(node, mark=Mark.DIFFERS) if node.name in names else node for node in graph.nodes)
    return replace(graph, nodes=nodes, title=title)


def _numbers(ours: Summary, theirs: Summary, titles: tuple[str, str]) -> Table:
    rows = tuple((label, figure(ours), figure(theirs)) for label, figure in _FIGURES.items())
    return Table(("figure", *titles), rows, frozenset((1, 2)))


def _share(percent: float | None) -> str:
    return "not known" if percent is None else share_text(percent)


_FIGURES: dict[str, Callable[[Summary], str]] = {
    "weighted operators on codes": lambda found: f"{found.weighted_quantized} of {found.weighted_ops}",
    "multiply-accumulates": lambda found: short_count(found.macs),
    "of them on codes": lambda found: _share(found.quantized_macs_percent),
    "activations moved": lambda found: size_text(found.traffic_bytes),
    "weights stored": lambda found: size_text(found.weight_bytes),
    "stand-alone Q/DQ inside": lambda found: str(found.standalone),
    "errors": lambda found: str(found.errors),
    "warnings": lambda found: str(found.warnings),
}
