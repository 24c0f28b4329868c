"""Which weighted operators are quantized, and the reason of each that is not (rules, sections 1.8, 3.3 and 3.4)."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.foreign import hides_product
from qdq_cli.model.nodes import (
    every_node,
    input_at,
    int_attribute,
    is_activation,
    is_constant,
    is_float,
    is_op,
    is_unobservable,
    rank,
)
from qdq_cli.placement.operators import data_slots, is_depthwise, is_weighted, operator_of
from qdq_cli.placement.skips import OPTIMIZER_MADE, REASONS
from qdq_cli.placement.topology import Topology, activation_inputs
from qdq_cli.process.errors import UsageError


@dataclass(frozen=True)
class Skip:
    """An operator input that stays in float.

    Args:
        node: Name of the node.
        op_type: Its operator.
        input: Name of the tensor that is not quantized.
        code: Key of `REASONS`.
        reason: The sentence.
    """

    node: str
    op_type: str
    input: str
    code: str
    reason: str


def skip(node: ir.Node, code: str) -> Skip:
    """Make the skip of a node's first activation input (or of its first input where it reads none)."""
    reads = activation_inputs(node) or tuple(value for value in node.inputs if value is not None)
    name = (reads[0].name or "") if reads else ""
    return Skip(node.name or "", node.op_type, name, code, REASONS[code])


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


def select(model: ir.Model, graph: Topology, config: PlanConfig) -> Selection:
    """Choose the weighted operators to quantize.

    Raises:
        UsageError: A pattern of the configuration matches no node or no operator type.
    """
    kept = _kept_by_user(graph, config)
    skips = [
        skip(node, "IN_BODY") for node in every_node(model.graph) if is_weighted(node) and node.graph is not model.graph
    ]
    skips += [skip(node, OPTIMIZER_MADE) for node in every_node(model.graph) if hides_product(node)]
    quantized, optional = [], []
    for node in graph.nodes:
        if not is_weighted(node):
            continue
        code = kept.get(node) or obstacle(node, config)
        if code:
            skips.append(skip(node, code))
            optional += [node] if node not in kept and _pays_little(node, config) else []
        else:
            quantized.append(node)
    edges = _edge_layers(graph, [*quantized, *optional], config)
    skips += [skip(node, code) for node, code in edges.items() if node in quantized]
    chosen = frozenset(node for node in quantized if node not in edges)
    return Selection(chosen, tuple(skips), frozenset(kept) | frozenset(edges), frozenset(optional) - frozenset(edges))


def obstacle(node: ir.Node, config: PlanConfig) -> str:
    """Return the code of the first reason that keeps a weighted node float, or "" where none does."""
    return next((code for code, holds in _OBSTACLES if holds(node, config)), "")


def _einsum(node: ir.Node, config: PlanConfig) -> bool:
    return node.op_type == "Einsum"


def _not_float(node: ir.Node, config: PlanConfig) -> bool:
    return not all(is_float(value) for value in node.inputs[:2])


def _already_quantized(node: ir.Node, config: PlanConfig) -> bool:
    return all(value is not None and is_op(value.producer(), "DequantizeLinear") for value in node.inputs[:2])


def _constant_input(node: ir.Node, config: PlanConfig) -> bool:
    """An operand that is neither weight nor activation, such as a zero state: Q/DQ on the other is in vain (A31)."""
    weight = input_at(node, 1)
    fixed = is_constant(weight) or node.op_type != "MatMul"
    return not all(is_activation(value) for value in (node.inputs[:1] if fixed else node.inputs[:2]))


def _weight_computed(node: ir.Node, config: PlanConfig) -> bool:
    weight = input_at(node, 1)
    return node.op_type != "MatMul" and not is_constant(weight) and not _is_quantized_weight(weight)


def _is_quantized_weight(value: ir.Value | None) -> bool:
    """Say whether a value is DQ of a constant: a weight that is quantized already."""
    dq = value.producer() if value is not None else None
    if dq is None or not is_op(dq, "DequantizeLinear"):
        return False
    source = input_at(dq, 0)
    q = source.producer() if source is not None else None
    return is_constant(source) or (q is not None and is_op(q, "QuantizeLinear") and is_constant(input_at(q, 0)))


def _constant_left(node: ir.Node, config: PlanConfig) -> bool:
    return node.op_type == "MatMul" and is_constant(input_at(node, 0))


def _attention(node: ir.Node, config: PlanConfig) -> bool:
    two = node.op_type == "MatMul" and is_activation(input_at(node, 1))
    return two and not config.mha and not _is_quantized_weight(input_at(node, 1))


def _unobserved(node: ir.Node, config: PlanConfig) -> bool:
    return any(is_unobservable(value) for value in node.inputs)


def _group_align(node: ir.Node, config: PlanConfig) -> bool:
    """Channels a group must be multiples of 4; depthwise Conv has kernels of its own, ConvTranspose none (A33, A34)."""
    groups = int_attribute(node, "group", 1)
    weight = input_at(node, 1)
    if not config.group_rules or groups == 1 or weight is None or weight.shape is None:
        return False
    if is_depthwise(node) or not weight.shape.is_static():
        return False
    first, second = weight.shape.numpy()[:2]  # [M, C/g] of Conv, [C, M/g] of ConvTranspose
    return bool((first // groups) % 4 or second % 4)


def _few_channels(node: ir.Node, config: PlanConfig) -> bool:
    """Fewer than 16 channels on a side, unless a kernel for it is known to pay (rules, section 3.4).

    One output channel is a matrix-vector product in all but name (case T52).
    """
    weight = input_at(node, 1)
    if not config.channel_rules or node.op_type != "Conv" or weight is None or weight.shape is None:
        return False
    if not weight.shape.is_static() or weight.shape.rank() < 3:
        return False
    out_channels, in_channels, *kernel = weight.shape.numpy()
    if in_channels >= 16 and out_channels >= 16:
        return False
    if out_channels == 1:
        return True
    if int_attribute(node, "group", 1) > 1:
        return bool(out_channels % 8 or min(kernel) < 3)
    aligned = out_channels % 8 == 0 or in_channels % 8 == 0
    square = len(set(kernel)) == 1
    return not (aligned and (out_channels >= 16 or in_channels >= 16 or _is_first(node)) and square)


def _is_first(node: ir.Node) -> bool:
    """Say whether a node reads a graph input directly."""
    value = input_at(node, 0)
    return value is not None and value.producer() is None


def _wide_range(node: ir.Node, config: PlanConfig) -> bool:
    return config.range_rules and node.name in config.wide


def _gemv(node: ir.Node, config: PlanConfig) -> bool:
    """A constant weight with a dimension of one. The batch side does not count: a plan is the same for every batch."""
    weight = input_at(node, 1)
    if not config.gemv_rules or node.op_type not in ("Gemm", "MatMul") or not is_constant(weight):
        return False
    dims = rank(weight)
    if dims is None or weight is None or weight.shape is None:
        return False
    return dims < 2 or 1 in weight.shape.numpy()[-2:]


_OBSTACLES: tuple[tuple[str, Callable[[ir.Node, PlanConfig], bool]], ...] = (
    ("EINSUM", _einsum),
    ("NOT_FLOAT", _not_float),
    ("ALREADY_QUANTIZED", _already_quantized),
    ("CONSTANT_LEFT", _constant_left),
    ("CONSTANT_INPUT", _constant_input),
    ("ATTENTION", _attention),
    ("WEIGHT_COMPUTED", _weight_computed),
    ("UNOBSERVED", _unobserved),
    ("GROUP_ALIGN", _group_align),
    ("FEW_CHANNELS", _few_channels),
    ("WIDE_RANGE", _wide_range),
    ("GEMV", _gemv),
)


_PAYING_LITTLE = frozenset({"ATTENTION", "FEW_CHANNELS", "GEMV"})
"""Obstacles that are a matter of speed alone: such an operator has an INT8 kernel."""


def _pays_little(node: ir.Node, config: PlanConfig) -> bool:
    """Say whether nothing but such an obstacle keeps a node float."""
    return all(code in _PAYING_LITTLE for code, holds in _OBSTACLES if holds(node, config))


def _edge_layers(graph: Topology, quantized: list[ir.Node], config: PlanConfig) -> dict[ir.Node, str]:
    """Return the first and last weighted nodes where the user keeps those float (P17)."""
    edges: dict[ir.Node, str] = {}
    if config.skip_first:
        behind = _reached(graph.nodes, forward=True)
        edges |= dict.fromkeys((node for node in quantized if node not in behind), "FIRST_LAYER")
    if config.skip_last:
        before = _reached(tuple(reversed(graph.nodes)), forward=False)
        edges |= dict.fromkeys((node for node in quantized if node not in before), "LAST_LAYER")
    return edges


def _reached(nodes: tuple[ir.Node, ...], *, forward: bool) -> set[ir.Node]:
    """Return the nodes that lie strictly behind (or before) some weighted node."""
    reached: set[ir.Node] = set()
    for node in nodes:
        neighbours = node.predecessors() if forward else node.successors()
        if any(other in reached or is_weighted(other) for other in neighbours):
            reached.add(node)
    return reached


def _kept_by_user(graph: Topology, config: PlanConfig) -> dict[ir.Node, str]:
    """Return the nodes the user's patterns keep float, with the code of the option."""
    by_name = {node.name or "": node for node in graph.nodes}
    types = {node.op_type for node in graph.nodes}
    kept: dict[ir.Node, str] = {}
    if config.only:
        wanted = set(_matches("--only", config.only, by_name))
        weighted = [name for name, node in by_name.items() if is_weighted(node)]
        kept |= {by_name[name]: "NOT_SELECTED" for name in weighted if name not in wanted}
    excluded_types = set(_matches("--exclude-op", config.exclude_op, types))
    kept |= {node: "OP_EXCLUDED" for node in graph.nodes if node.op_type in excluded_types}
    kept |= {by_name[name]: "EXCLUDED" for name in _matches("--exclude", config.exclude, by_name)}
    return kept


def _matches(option: str, patterns: tuple[str, ...], names: Iterable[str]) -> list[str]:
    """Return the names that a pattern matches, exactly or as a glob.

    Raises:
        UsageError: A pattern matches nothing; the nearest names are listed.
    """
    known = list(names)
    found: list[str] = []
    for pattern in patterns:
        matched = [name for name in known if name == pattern] or fnmatch.filter(known, pattern)
        if not matched:
            near = difflib.get_close_matches(pattern, known, n=4, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else "List the nodes with --dry-run -v."
            raise UsageError(f"{option} '{pattern}' matches nothing in the model.", hint)
        found += matched
    return found


def weighted_slots(node: ir.Node) -> tuple[int, ...]:
    """Return the activation slots of a weighted node that get Q/DQ: its data, and both sides of a product of two."""
    return tuple(slot for slot in data_slots(node) if slot != operator_of(node).bias)
