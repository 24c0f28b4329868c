"""Runs of commuting operators that INT8 passes through, and the tensors that must share one scale because of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import onnx_ir as ir

from calibrators import Range
from qdq_cli.model.nodes import consumers, is_op
from qdq_cli.model.scales import is_quantize, kept_range, tensor_scale
from qdq_cli.placement.operators import data_slots
from qdq_cli.placement.target import OperatorTable
from qdq_cli.placement.topology import Topology
from qdq_cli.placement.wants import Slot, Wants

KNOWN_RANGES = dict.fromkeys(("Softmax", "Sigmoid", "HardSigmoid"), Range(0.0, 1.0))
"""Functions whose values are known to lie in a range (rules, section 3.3)."""


@dataclass(frozen=True)
class Run:
    """Commuting operators that run in INT8 because a Q behind them moves back over them (rule R4).

    Args:
        nodes: The operators.
        starts: Tensor in front of a run -> the slots of the run that read it. A tensor between two of the operators is
            inside the run and needs no pair.
    """

    nodes: frozenset[ir.Node]
    starts: dict[ir.Value, dict[Slot, None]]


def int8_runs(graph: Topology, wants: Wants) -> Run:
    """Find the operators that a Q crosses: they commute, and every reader of their outputs reads INT8."""
    leading = wants.leading_to_q(graph)
    nodes = frozenset(
        node for node in graph.nodes if wants.commutes(node) and data_slots(node) and _all_lead(node, leading)
    )
    starts: dict[ir.Value, dict[Slot, None]] = {}
    for node in graph.nodes:
        for slot in data_slots(node) if node in nodes else ():
            value = node.inputs[slot]
            if value is not None and value.producer() not in nodes and not is_op(value.producer(), "DequantizeLinear"):
                starts.setdefault(value, {})[node, slot] = None
    return Run(nodes, starts)


def crossed_forward(graph: Topology, wants: Wants) -> frozenset[ir.Node]:
    """Find the operators that a DQ crosses: they commute, and read INT8 themselves or behind such operators (R5)."""
    found: set[ir.Node] = set()
    for node in graph.nodes:
        slots = data_slots(node) if wants.commutes(node) else ()
        if slots and all(wants.wanted(node, slot) or _is_made_by(node.inputs[slot], found) for slot in slots):
            found.add(node)
    return frozenset(found)


def _is_made_by(value: ir.Value | None, nodes: set[ir.Node]) -> bool:
    return value is not None and value.producer() in nodes


def _all_lead(node: ir.Node, leading: frozenset[ir.Value]) -> bool:
    used = [out for out in node.outputs if out.uses() or out.is_graph_output()]
    return bool(used) and all(out in leading for out in used)


@dataclass(frozen=True)
class Groups:
    """Scale groups: quantized tensors, the observed ones among them, the known amax; and each tensor's group index."""

    members: tuple[tuple[tuple[ir.Value, ...], tuple[ir.Value, ...], Range | None], ...]
    index: dict[ir.Value, int]


def scale_groups(graph: Topology, wants: Wants, runs: Run, *, across: bool = True) -> Groups:
    """Join tensors that must have one scale: across every operator a Q crosses, and across commuting operators that
    are quantized on both sides for other readers (P10-P12).

    Args:
        graph: The graph.
        wants: What is quantized.
        runs: The operators that a Q crosses.
        across: Whether the others join too; else it is said by the runs alone who shares a scale, and a part of a
            tensor that others read by itself is observed by itself.
    """
    parent: dict[ir.Value, ir.Value] = {}
    for node in graph.nodes:
        reads = [value for slot in data_slots(node) if (value := node.inputs[slot]) is not None]
        if node in runs.nodes:
            _join(parent, [*reads, *(out for out in node.outputs if out.uses())])
        elif across and wants.commutes(node):
            _join(parent, [value for value in (*reads, *node.outputs) if wants.holds(value)])
    order = _quantized_in_order(graph, wants, runs)
    by_root: dict[ir.Value, list[ir.Value]] = {}
    for value in order:
        by_root.setdefault(_root(parent, value), []).append(value)
    members = [
        (tuple(group), _observed(group, wants, parts=not across), _known_range(group)) for group in by_root.values()
    ]
    index = {value: number for number, group in enumerate(by_root.values()) for value in group}
    return Groups(tuple(members), index)


def _quantized_in_order(graph: Topology, wants: Wants, runs: Run) -> list[ir.Value]:
    quantized = dict.fromkeys((*dict(wants.items()), *runs.starts))
    position: dict[ir.Value, int] = {}
    for number, node in enumerate(graph.nodes):
        for value in (*node.inputs, *node.outputs):
            if value is not None:
                position.setdefault(value, number)
    return sorted(quantized, key=lambda value: (position[value], value.name or ""))


def _root(parent: dict[ir.Value, ir.Value], value: ir.Value) -> ir.Value:
    while value in parent and parent[value] is not value:
        parent[value] = parent.get(parent[value], parent[value])
        value = parent[value]
    return value


def _join(parent: dict[ir.Value, ir.Value], values: Iterable[ir.Value]) -> None:
    roots = list(dict.fromkeys(_root(parent, value) for value in values))
    for root in roots[1:]:
        parent[root] = roots[0]


def _observed(group: list[ir.Value], wants: Wants, *, parts: bool) -> tuple[ir.Value, ...]:
    """Return the tensors calibration must see: those read as INT8, less those whose values another one contains.

    A tensor made from a wanted one by commuting operators with one data input holds nothing new; a Concat holds all
    of its inputs. With `parts`, one that takes a part of another is seen by itself: that part can be far smaller.
    """
    read = [value for value in group if wants.holds(value)]
    kept = [value for value in read if not _contained(value, set(read), wants.operators, parts=parts)]
    return tuple(kept or read)


def _contained(value: ir.Value, read: set[ir.Value], operators: OperatorTable, *, parts: bool) -> bool:
    joined = any(
        is_op(node, "Concat") and len(data_slots(node)) > 1 and node.outputs[0] in read for node, _ in consumers(value)
    )
    return joined or _copied_from(value, read, operators, parts=parts)


_TAKING = ("Slice", "Split", "Gather", "GatherElements")
"""Operators that take a part of a tensor."""


def _copied_from(value: ir.Value, read: set[ir.Value], operators: OperatorTable, *, parts: bool) -> bool:
    node = value.producer()
    while node is not None and operators.commutes(node) and len(data_slots(node)) == 1:
        if parts and is_op(node, *_TAKING):
            return False
        source = node.inputs[data_slots(node)[0]]
        if source is None:
            return False
        if source in read:
            return True
        node = source.producer()
    return False


def _known_range(group: list[ir.Value]) -> Range | None:
    """Return the range that needs no calibration: of an existing Q on a member, or of functions with a known one."""
    kept = [found for value in group for found in _existing_ranges(value)]
    if kept:
        return reduce(Range.joined, kept)
    makers = [value.producer() for value in group]
    known = [KNOWN_RANGES.get(maker.op_type) if maker is not None and not maker.domain else None for maker in makers]
    ranges = [found for found in known if found is not None]
    return reduce(Range.joined, ranges) if ranges and len(ranges) == len(known) else None


def _existing_ranges(value: ir.Value) -> list[Range]:
    """Return what the per-tensor Q nodes that the model already has on a tensor keep (P6: one scale a tensor)."""
    scales = [tensor_scale(node) for node, _ in consumers(value) if is_quantize(node)]
    return [kept for scale in scales if scale is not None and (kept := kept_range(scale)) is not None]
