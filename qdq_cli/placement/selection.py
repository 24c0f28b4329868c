"""Which weighted operators are quantized, and the reason of each that is not (rules, sections 1.8, 3.3 and 3.4)."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import every_node, inner_graphs
from qdq_cli.placement.operators import data_slots, is_weighted, operator_of
from qdq_cli.placement.skips import REASONS
from qdq_cli.placement.target import Obstacle, Target
from qdq_cli.placement.topology import Topology, activation_inputs, reads_of
from qdq_cli.process.errors import UsageError


@dataclass(frozen=True)
class Skip:
    """An operator input that stays in float.

    Args:
        node: Name of the node.
        op_type: Its operator.
        input: Name of the tensor that is not quantized.
        code: Key of `REASONS`, or the code of a target's obstacle.
        reason: The sentence.
    """

    node: str
    op_type: str
    input: str
    code: str
    reason: str


def skip(node: ir.Node, code: str, reason: str | None = None) -> Skip:
    """Make the skip of a node's first activation input (or of its first input where it reads none).

    Args:
        node: The node.
        code: Key of `REASONS`, or the code of a target's obstacle.
        reason: The sentence of that obstacle.
    """
    reads = activation_inputs(node) or tuple(value for value in node.inputs if value is not None)
    name = (reads[0].name or "") if reads else ""
    return Skip(node.name or "", node.op_type, name, code, reason or REASONS[code])


@dataclass(frozen=True)
class Selection:
    """Which weighted nodes are quantized.

    Args:
        quantized: Those that are.
        skips: The others.
        kept_float: Nodes the user keeps float.
        optional: Those of the others that could be quantized, and are float because INT8 pays little there.
    """

    quantized: frozenset[ir.Node]
    skips: tuple[Skip, ...]
    kept_float: frozenset[ir.Node]
    optional: frozenset[ir.Node] = frozenset()

    def taking(self, nodes: frozenset[ir.Node]) -> Selection:
        """Return the selection with some of the optional nodes quantized as well."""
        names = {node.name for node in nodes}
        skips = tuple(found for found in self.skips if found.node not in names)
        return replace(self, quantized=self.quantized | nodes, skips=skips, optional=self.optional - nodes)


def select(graph: Topology, target: Target, config: PlanConfig) -> Selection:
    """Choose the weighted operators of a graph to quantize; those in its bodies are none of it."""
    kept = _kept_by_user(graph, config)
    skips: list[Skip] = []
    quantized, optional = [], []
    for node in graph.nodes:
        if not is_weighted(node):
            continue
        found = None if node in kept else obstacle(node, target, config)
        if node in kept:
            skips.append(skip(node, kept[node]))
        elif found is not None:
            skips.append(skip(node, found.code, _reason(node, found, config)))
            optional += [node] if _pays_little(node, target, config) else []
        else:
            quantized.append(node)
    edges = _edge_layers(graph, [*quantized, *optional], config)
    skips += [skip(node, code) for node, code in edges.items() if node in quantized]
    chosen = frozenset(node for node in quantized if node not in edges)
    return Selection(chosen, tuple(skips), frozenset(kept) | frozenset(edges), frozenset(optional) - frozenset(edges))


def _reason(node: ir.Node, found: Obstacle, config: PlanConfig) -> str:
    return config.ruined.get(node.name or "", found.reason) if found.code == "RUINED" else found.reason


def obstacle(node: ir.Node, target: Target, config: PlanConfig) -> Obstacle | None:
    """Return the first reason that keeps a weighted node float; None where there is none."""
    found = next((found for found in target.obstacles if found.holds(node, config)), None)
    return found if found is not None or target.operators.has(node) else _NO_KERNEL


_NO_KERNEL = Obstacle("NO_KERNEL", lambda node, config: True, REASONS["NO_KERNEL"])


def _pays_little(node: ir.Node, target: Target, config: PlanConfig) -> bool:
    """Say whether nothing but a matter of speed keeps a node float."""
    return target.operators.has(node) and all(found.slow for found in target.obstacles if found.holds(node, config))


def _edge_layers(graph: Topology, quantized: list[ir.Node], config: PlanConfig) -> dict[ir.Node, str]:
    """Return the first and last weighted nodes where the user keeps those float (P17)."""
    edges: dict[ir.Node, str] = {}
    if config.skip_first:
        behind = nodes_behind(graph.nodes)
        edges |= dict.fromkeys((node for node in quantized if node not in behind), "FIRST_LAYER")
    if config.skip_last:
        before = nodes_before(graph.nodes)
        edges |= dict.fromkeys((node for node in quantized if node not in before), "LAST_LAYER")
    return edges


def nodes_behind(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """Return the nodes of a graph, given in topological order, that lie strictly behind some weighted operator."""
    reached: set[ir.Node] = set()
    for node in nodes:
        makers = (value.producer() for value in reads_of(node))
        if any(maker is not None and (maker in reached or _multiplies(maker)) for maker in makers):
            reached.add(node)
    return reached


def nodes_before(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """Return the nodes of a graph, given in topological order, that lie strictly before some weighted operator."""
    reached: set[ir.Node] = set()
    for node in reversed(tuple(nodes)):
        if node in reached or _multiplies(node):
            reached.update(maker for value in reads_of(node) if (maker := value.producer()) is not None)
    return reached


def _multiplies(node: ir.Node) -> bool:
    """Say whether a node is a weighted operator, or has one in a body."""
    return is_weighted(node) or any(is_weighted(inner) for body in inner_graphs(node) for inner in every_node(body))


def check_patterns(model: ir.Model, config: PlanConfig) -> None:
    """Refuse patterns of the user that match nothing in a model, its bodies included.

    Raises:
        UsageError: One matches no node, or no operator type.
    """
    if not (config.only or config.exclude or config.exclude_op):
        return
    nodes = list(every_node(model.graph))
    names = [node.name or "" for node in nodes]
    matches("--only", config.only, names)
    matches("--exclude-op", config.exclude_op, {node.op_type for node in nodes})
    matches("--exclude", config.exclude, names)


def _kept_by_user(graph: Topology, config: PlanConfig) -> dict[ir.Node, str]:
    """Return the nodes the user's patterns keep float, with the code of the option."""
    by_name = {node.name or "": node for node in graph.nodes}
    types = {node.op_type for node in graph.nodes}
    kept: dict[ir.Node, str] = {}
    if config.only:
        wanted = matched(config.only, by_name)
        weighted = [name for name, node in by_name.items() if is_weighted(node)]
        kept |= {by_name[name]: "NOT_SELECTED" for name in weighted if name not in wanted}
    excluded_types = matched(config.exclude_op, types)
    kept |= {node: "OP_EXCLUDED" for node in graph.nodes if node.op_type in excluded_types}
    kept |= {by_name[name]: "OTHER_TYPE" for name in config.others if name in by_name}
    kept |= {by_name[name]: "EXCLUDED" for name in matched(config.exclude, by_name)}
    return kept


def matched(patterns: tuple[str, ...], names: Iterable[str]) -> set[str]:
    """Return the names that some pattern matches, exactly or as a glob."""
    known = list(names)
    return {name for pattern in patterns for name in _matched(pattern, known)}


def _matched(pattern: str, names: list[str]) -> list[str]:
    return [name for name in names if name == pattern] or fnmatch.filter(names, pattern)


def matches(
    option: str, patterns: tuple[str, ...], names: Iterable[str], lacking: str = "nothing in the model"
) -> list[str]:
    """Return the names that a pattern matches, exactly or as a glob.

    Args:
        option: The option that has the patterns.
        patterns: Names or globs.
        names: All there are.
        lacking: What a pattern matches that matches none.

    Raises:
        UsageError: A pattern matches nothing; the nearest names are listed.
    """
    known = list(names)
    found: list[str] = []
    for pattern in patterns:
        fitting = _matched(pattern, known)
        if not fitting:
            near = difflib.get_close_matches(pattern, known, n=4, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else "List the nodes with --dry-run -v."
            raise UsageError(f"{option} '{pattern}' matches {lacking}.", hint)
        found += fitting
    return found


def weighted_slots(node: ir.Node) -> tuple[int, ...]:
    """Return the activation slots of a weighted node that get Q/DQ: its data, and both sides of a product of two."""
    return tuple(slot for slot in data_slots(node) if slot != operator_of(node).bias)
