"""Decide what to quantize. A plan is a value: printed, compared, tested; only `rewrite` changes a graph.

The order of decisions (rules, section 3.5): which weighted operators (`selection`), which residual branches and
poolings beside them (`wants`), which tensors share a scale (`groups`). Every "no" is a `Skip` with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import onnx_ir as ir

from calibrators import Range, ScaleGroup
from calibrators.scheme import Dynamic, ScaleForm, Scheme
from qdq_cli.config.forms import QuantType
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.bodies import lifted, places_of_bodies
from qdq_cli.model.foreign import hides_product
from qdq_cli.model.nodes import (
    consumers,
    every_node,
    is_activation,
    is_op,
    is_unobservable,
    name_of,
)
from qdq_cli.placement.around import Around, place_around
from qdq_cli.placement.candidates import can_shrink, candidate_tensors, placed_tensors
from qdq_cli.placement.fanout import place
from qdq_cli.placement.groups import Run, crossed_forward, int8_runs, scale_groups
from qdq_cli.placement.operands import tables_of, weights_of
from qdq_cli.placement.operators import count_weighted, is_depthwise, is_weighted
from qdq_cli.placement.producers import float_producers
from qdq_cli.placement.record import TensorTarget, Use, WeightTarget
from qdq_cli.placement.selection import Selection, Skip, check_patterns, nodes_before, nodes_behind, select, skip
from qdq_cli.placement.skips import OPTIMIZER_MADE, OTHER_TYPE
from qdq_cli.placement.target import Kernels, Target
from qdq_cli.placement.topology import Topology, topology
from qdq_cli.placement.types import require_kernels, types_by_node
from qdq_cli.placement.wants import Wants
from qdq_cli.process.progress import stepping

_ANY_RANGE = Range.symmetric(1.0)
"""Stands for the range of a tensor whose blocks find all there is to know of theirs while the network runs."""


@dataclass(frozen=True)
class Plan:
    """What will be quantized and how, and what will not and why.

    Args:
        targets: Activation tensors with their uses, in topological order.
        weights: Constant operands.
        groups: Scale groups.
        skips: Operator inputs that stay float.
        quantized: Names of the weighted nodes that become INT8.
        weighted: Number of weighted nodes in the whole model, those in If/Loop bodies and in fused operators included.
        int8_nodes: Names of the commuting nodes that run in INT8 because of the plan.
        notes: Sentences the user should read (P13).
        candidates: Every tensor that this plan, or any plan with fewer of its weighted operators, may observe. Empty
            where calibration cannot take an operator out (none has a small share of the work, or the rules are off).
        elsewhere: Tensors that plans for other targets observe: a cache holds them too, so that it serves every target.
        can_shrink: Whether operators that INT8 ruins are left float.
        schemes: How each scale group is quantized, where a plan has several types; none where it is as its target says.
        target: What the model is quantized for.
    """

    targets: tuple[TensorTarget, ...]
    weights: tuple[WeightTarget, ...]
    groups: tuple[ScaleGroup, ...]
    skips: tuple[Skip, ...]
    quantized: tuple[str, ...]
    weighted: int
    int8_nodes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    can_shrink: bool = False
    elsewhere: tuple[str, ...] = ()
    schemes: tuple[Scheme, ...] = field(default=(), repr=False)
    target: Target = field(kw_only=True, repr=False)

    def scheme_of(self, group: int) -> Scheme:
        """How the tensors of a scale group are quantized."""
        return self.schemes[group] if group < len(self.schemes) else self.target.activations

    def is_shifted(self, group: int) -> bool:
        """Whether the tensors of a scale group are shifted, so that their zero point becomes 0 (`shifting`)."""
        return self.target.shifts and not self.scheme_of(group).symmetric

    @property
    def has_blocks(self) -> bool:
        """Whether an activation is quantized in blocks that find their scales while the network runs."""
        return any(isinstance(self.scheme_of(target.group).granularity, Dynamic) for target in self.targets)

    def by_scheme(self, groups: Iterable[ScaleGroup]) -> dict[Scheme, list[ScaleGroup]]:
        """Sort some of its scale groups by how they are quantized."""
        wanted = {id(group) for group in groups}
        found: dict[Scheme, list[ScaleGroup]] = {}
        for number, group in enumerate(self.groups):
            if id(group) in wanted:
                found.setdefault(self.scheme_of(number), []).append(group)
        return found

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """Names of all tensors calibration has to see."""
        names = (name for group in self.groups if group.known is None for name in group.observed)
        return tuple(dict.fromkeys(names))

    @property
    def calibrated(self) -> tuple[str, ...]:
        """Names of all tensors a calibration cache holds: for the plan, those that may replace it, other targets."""
        return tuple(dict.fromkeys((*self.observed, *self.candidates, *self.elsewhere)))


def restricted(plan: Plan, nodes: Set[str]) -> Plan:
    """Return the part of a plan that concerns these nodes: what they read stays quantized, all else becomes float.

    Scale groups keep their numbers, so that ranges chosen for the plan serve its part.
    """
    targets = (replace(target, uses=tuple(use for use in target.uses if use.node in nodes)) for target in plan.targets)
    return replace(
        plan,
        targets=tuple(target for target in targets if target.uses),
        weights=tuple(target for target in plan.weights if target.use.node in nodes),
        quantized=tuple(name for name in plan.quantized if name in nodes),
        int8_nodes=tuple(name for name in plan.int8_nodes if name in nodes),
    )


def kept_float(plan: Plan, config: PlanConfig) -> PlanConfig:
    """Return the options under which a plan leaves float again what calibration took out of this one."""
    wide = frozenset(found.node for found in plan.skips if found.code == "WIDE_RANGE")
    ruined = {found.node: found.reason for found in plan.skips if found.code == "RUINED"}
    unseen = frozenset(found.node for found in plan.skips if found.code == "NEVER_RUN")
    return replace(config, wide=wide, ruined=ruined, unseen=unseen)


def observing(plan: Plan, tensors: Iterable[str]) -> Plan:
    """Return the plan with a scale group of its own, which nothing reads, for each tensor to be observed besides."""
    known = set(plan.observed)
    more = tuple(ScaleGroup((name,), (name,)) for name in dict.fromkeys(tensors) if name not in known)
    return replace(plan, groups=(*plan.groups, *more)) if more else plan


def shrinkable(model: ir.Model, target: Target, config: PlanConfig | None = None) -> tuple[str, ...]:
    """Return every tensor that the plan, or any plan with fewer of its operators, may observe."""
    config = config or PlanConfig()
    found: dict[str, None] = {}
    for inner, options in ((model, config), *_bodies(model, target, config)):
        graph = topology(inner.graph)
        for part in target.parts or (target,):
            found |= dict.fromkeys(placed_tensors(graph, select(graph, part, options), part, options))
    return tuple(found)


def make_plan(model: ir.Model, target: Target, config: PlanConfig | None = None) -> Plan:
    """Plan the quantization of a prepared model; pure.

    Args:
        model: A model as `prepare` returns it.
        target: What it is quantized for.
        config: What to quantize; defaults to everything that pays.

    Raises:
        UsageError: A pattern of the configuration matches nothing.
    """
    config = config or PlanConfig()
    check_patterns(model, config)
    several = bool(config.types or target.parts)
    weighted = {node.name or "": node for node in every_node(model.graph) if is_weighted(node)} if several else {}
    types = types_by_node(weighted, config.types, target.type)
    graphs = [(model, config), *_bodies(model, target, config)]
    planned = [_of_graph(part, target, options, types) for part, options in graphs]
    require_kernels(weighted, config.types, [(each.target, each.skips) for plans in planned for each in plans])
    plan, *bodies = (_as_one(plans, target, part) for plans, (part, _) in zip(planned, graphs, strict=True))
    for body in bodies:
        plan = _with_body(plan, body)
    inside = {node.name for part, _ in graphs[1:] for node in part.graph}
    closed = (node for node in every_node(model.graph) if node.graph is not model.graph and node.name not in inside)
    skips = [skip(node, "IN_BODY") for node in closed if is_weighted(node)]
    skips += [skip(node, OPTIMIZER_MADE) for node in every_node(model.graph) if hides_product(node)]
    return replace(plan, weighted=count_weighted(model), skips=(*skips, *plan.skips))


def _bodies(model: ir.Model, target: Target, config: PlanConfig) -> Iterator[tuple[ir.Model, PlanConfig]]:
    """Yield the bodies that hold weighted operators as models, each with the options it is planned by."""
    for found in places_of_bodies(model.graph) if target.bodies else ():
        holders = found.holders
        if any(is_weighted(node) for node in found.body) and not any(map(_is_unobserved, holders)):
            behind = any(holder in nodes_behind(_beside(holder)) for holder in holders)
            before = any(holder in nodes_before(_beside(holder)) for holder in holders)
            options = replace(config, integer_io=False, skip_first=config.skip_first and not behind)
            yield lifted(model, found).model, replace(options, skip_last=config.skip_last and not before)


def _beside(holder: ir.Node) -> tuple[ir.Node, ...]:
    """Return the nodes of the graph that a node stands in."""
    return tuple(holder.graph or ())


def _is_unobserved(holder: ir.Node) -> bool:
    return any(map(is_unobservable, holder.outputs))


def _with_body(plan: Plan, body: Plan) -> Plan:
    """Return a plan that says what both say; scale groups of a body come behind, numbered on."""
    first = len(plan.groups)
    schemes = tuple(each.scheme_of(number) for each in (plan, body) for number in range(len(each.groups)))
    return replace(
        plan,
        targets=(*plan.targets, *(replace(target, group=first + target.group) for target in body.targets)),
        weights=(*plan.weights, *body.weights),
        groups=(*plan.groups, *body.groups),
        schemes=schemes if plan.target.parts else (),
        skips=(*plan.skips, *body.skips),
        quantized=(*plan.quantized, *body.quantized),
        int8_nodes=(*plan.int8_nodes, *body.int8_nodes),
        notes=(*plan.notes, *body.notes),
        candidates=tuple(dict.fromkeys((*plan.candidates, *body.candidates))),
        can_shrink=plan.can_shrink or body.can_shrink,
    )


def _of_graph(model: ir.Model, target: Target, config: PlanConfig, types: Mapping[str, QuantType]) -> list[Plan]:
    """Plan a main graph: each type for its operators, all others staying float for its sake."""
    graph = topology(model.graph)
    plans = []
    for number, part in enumerate(target.parts):
        others = frozenset(name for name, kind in types.items() if kind is not part.type)
        own = replace(config, others=others, integer_io=config.integer_io and not number)
        plans.append(_of_one_type(model, graph, part if not number else replace(part, tables=None), own))
    return plans or [_of_one_type(model, graph, target, config)]


def _as_one(plans: Sequence[Plan], target: Target, model: ir.Model) -> Plan:
    """Join the plans of a main graph for each type; the only one as it is."""
    return joined(plans, target, [node.name or "" for node in model.graph]) if target.parts else plans[0]


def joined(parts: Sequence[Plan], target: Target, order: Sequence[str]) -> Plan:
    """Join plans of one model that quantize different operators, each to a type.

    A slot that two of them want, as an Add's beside operators of both, stays with the first. Scale groups stand in the
    order of the plans, and two types of one tensor have a group each.

    Args:
        parts: The plans.
        target: What all of it is for.
        order: Names of all nodes, in topological order.
    """
    targets: list[TensorTarget] = []
    taken: set[Use] = set()
    first = 0
    for part in parts:
        for found in part.targets:
            uses = tuple(use for use in found.uses if use not in taken)
            if uses or (found.is_output and not found.uses):
                targets.append(replace(found, uses=uses, group=found.group + first))
        taken |= {use for found in part.targets for use in found.uses}
        first += len(part.groups)
    place = {name: number for number, name in enumerate(order)}
    quantized = {name for part in parts for name in part.quantized}
    kept = {use.node for found in targets for use in found.uses} | quantized
    return Plan(
        targets=tuple(targets),
        weights=tuple(sorted((each for part in parts for each in part.weights), key=lambda each: place[each.use.node])),
        groups=tuple(group for part in parts for group in part.groups),
        skips=_skips_of_all(parts, kept),
        quantized=tuple(sorted(quantized, key=place.__getitem__)),
        weighted=parts[0].weighted,
        int8_nodes=tuple(dict.fromkeys(name for part in parts for name in part.int8_nodes)),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        candidates=tuple(dict.fromkeys(name for part in parts for name in part.candidates)),
        can_shrink=any(part.can_shrink for part in parts),
        schemes=tuple(part.target.activations for part in parts for _ in part.groups),
        target=target,
    )


def _skips_of_all(parts: Sequence[Plan], kept: Set[str]) -> tuple[Skip, ...]:
    """Return the reasons of what no plan quantizes, each once, in the words of the plan that is about it."""
    found: dict[str, Skip] = {}
    for part in parts:
        for left in part.skips:
            if left.node not in kept and left.code != OTHER_TYPE:
                found.setdefault(left.node, left)
    return tuple(found.values())


def _of_one_type(model: ir.Model, graph: Topology, target: Target, config: PlanConfig) -> Plan:
    with stepping(3) as step:
        selection = select(graph, target, config)
        step()
        found = _placed(graph, selection, target, config)
        if config.integer_io:
            _hold_ends(model, graph, found.wants)
        step()
        plan = _as_placed(graph, found, target, config)
        step()
    return plan


def _as_placed(graph: Topology, found: Around, target: Target, config: PlanConfig) -> Plan:
    """Write down what was decided."""
    selection, wants, runs, refused = found.selection, found.wants, found.runs, found.refused
    around = target.kernels is Kernels.READING_AND_WRITING
    on_codes = runs.nodes if around else runs.nodes | crossed_forward(graph, wants)
    groups = scale_groups(graph, wants, runs, across=not around)
    unneeded = _ANY_RANGE if target.activations.scales is ScaleForm.E8M0 else None
    return Plan(
        targets=tuple(
            replace(found, type=target.activations.name)
            for found in _targets(graph, wants, runs, groups.index, outputs=around or config.integer_io)
        ),
        weights=(
            *tables_of(graph, selection.kept_float, target, config),
            *weights_of(graph, selection.quantized, target, config),
        ),
        groups=tuple(
            ScaleGroup(*_names(members, observed), known or unneeded, *_depthwise_readers(members, wants))
            for members, observed, known in groups.members
        ),
        skips=(*selection.skips, *refused),
        quantized=tuple(node.name or "" for node in graph.nodes if node in selection.quantized),
        weighted=sum(map(is_weighted, graph.nodes)),
        int8_nodes=tuple(node.name or "" for node in graph.nodes if node in on_codes),
        notes=tuple(float_producers(graph, runs, wants, target)),
        candidates=candidate_tensors(graph, selection, target, config),
        can_shrink=can_shrink(target, config),
        target=target,
    )


def _hold_ends(model: ir.Model, graph: Topology, wants: Wants) -> None:
    """Quantize what comes into the model for all that reads it, and what it gives."""
    inside = frozenset(graph.nodes)
    for value in (*model.graph.inputs, *model.graph.outputs):
        made_of_codes = is_op(value.producer(), "DequantizeLinear")
        if is_activation(value) and not is_unobservable(value) and not made_of_codes:
            wants.hold(value)
    for value in model.graph.inputs:
        for node, slot in consumers(value) if wants.holds(value) else ():
            if node in inside:
                wants.add(node, slot)


def _placed(graph: Topology, selection: Selection, target: Target, config: PlanConfig) -> Around:
    """Decide what stands where, by what the target's kernels read and write."""
    if target.weights_alone:
        return Around(selection, Wants(frozenset(), target.operators), Run(frozenset(), {}), ())
    if target.kernels is Kernels.READING_AND_WRITING:
        return place_around(graph, selection, target, config)
    selection, wants, refused = place(graph, selection, target, config)
    return Around(selection, wants, int8_runs(graph, wants), refused)


def _depthwise_readers(members: tuple[ir.Value, ...], wants: Wants) -> tuple[bool, tuple[str, ...]]:
    """Say whether all weighted readers of a group are depthwise convolutions, and which tensors have such a reader."""
    readers = {value: [node for node, _ in wants.slots(value) if is_weighted(node)] for value in members}
    every = [is_depthwise(node) for nodes in readers.values() for node in nodes]
    read = tuple(name_of(value) for value, nodes in readers.items() if any(map(is_depthwise, nodes)))
    return bool(every) and all(every), read


def _names(members: tuple[ir.Value, ...], observed: tuple[ir.Value, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(map(name_of, members)), tuple(map(name_of, observed))


def _targets(
    graph: Topology, wants: Wants, runs: Run, index: dict[ir.Value, int], *, outputs: bool
) -> tuple[TensorTarget, ...]:
    """List the pairs: at every wanted tensor for its readers, and at the tensors where a run of operators begins."""
    position = {value: number for number, value in enumerate(_in_order(graph))}
    pairs = [(value, uses, False) for value, uses in wants.items()]
    pairs += [(value, uses, True) for value, uses in runs.starts.items()]
    pairs.sort(key=lambda pair: (position[pair[0]], pair[2]))
    return tuple(
        TensorTarget(
            tensor=name_of(value),
            uses=tuple(
                sorted((Use(node.name or "", slot) for node, slot in uses), key=lambda use: (use.node, use.slot))
            ),
            group=index[value],
            opens_run=opens,
            is_output=outputs and value.is_graph_output(),
        )
        for value, uses, opens in pairs
    )


def _in_order(graph: Topology) -> dict[ir.Value, None]:
    """Return all activations in topological order: what a node reads before what it makes."""
    order: dict[ir.Value, None] = {}
    for node in graph.nodes:
        order.update(dict.fromkeys((*graph.reads[node], *node.outputs)))
    return order
