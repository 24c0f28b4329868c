"""Decide what to quantize. A plan is a value: printed, compared, tested; only `rewrite` changes a graph.

The order of decisions (rules, section 3.5): which weighted operators (`selection`), which residual branches and
poolings beside them (`wants`), which tensors share a scale (`groups`). Every "no" is a `Skip` with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import onnx_ir as ir

from calibrators import ScaleGroup
from calibrators.qtypes import INT8, QTYPES
from calibrators.scheme import Block, PerChannel, PerTensor, Scheme
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import consumers, input_at, is_activation, is_constant, is_op, is_unobservable, name_of
from qdq_cli.placement.around import Around, candidates_around, place_around
from qdq_cli.placement.fanout import place
from qdq_cli.placement.groups import Run, crossed_forward, int8_runs, scale_groups
from qdq_cli.placement.operators import count_weighted, data_slots, is_depthwise, is_weighted, operator_of
from qdq_cli.placement.selection import Selection, Skip, select
from qdq_cli.placement.shares import MOST_PERCENT, shares_of
from qdq_cli.placement.target import Kernels, Target
from qdq_cli.placement.topology import Topology, topology
from qdq_cli.placement.wants import Wants, candidate_slots
from qdq_cli.placement.weights import input_axis, weight_axis


@dataclass(frozen=True)
class Use:
    """One input slot of one node.

    Args:
        node: Name of the node.
        slot: Which of its inputs, from 0 on.
    """

    node: str
    slot: int


@dataclass(frozen=True)
class TensorTarget:
    """A tensor that gets Q/DQ, with the uses it serves.

    Args:
        tensor: Name of the float tensor.
        uses: Input slots that read the DQ instead of the tensor.
        group: Index into `Plan.groups`.
        opens_run: True for the start of a run of commuting operators; only the pairs form writes it.
        is_output: Whether the graph output of this name gives what the DQ gives.
    """

    tensor: str
    uses: tuple[Use, ...]
    group: int
    opens_run: bool = False
    is_output: bool = False


@dataclass(frozen=True)
class WeightTarget:
    """A constant operand of a weighted operator.

    Args:
        tensor: Name of the constant.
        use: The input slot that reads it.
        axis: Axis along which every slice has its own scale, or which is cut into blocks; None for one scale.
        type: Stored type, such as `int8`.
        block_size: Values along the axis that share a scale; None without blocks.
        symmetric: Whether 0.0 has the code in the middle.
    """

    tensor: str
    use: Use
    axis: int | None
    type: str = INT8.name
    block_size: int | None = None
    symmetric: bool = True

    @property
    def scheme(self) -> Scheme:
        """How the operand is quantized."""
        if self.axis is None:
            return Scheme(QTYPES[self.type], self.symmetric)
        shared = PerChannel(self.axis) if self.block_size is None else Block(self.axis, self.block_size)
        return Scheme(QTYPES[self.type], self.symmetric, shared)


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
    target: Target = field(kw_only=True, repr=False)

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """Names of all tensors calibration has to see."""
        return tuple(name for group in self.groups if group.known is None for name in group.observed)

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
    return replace(config, wide=wide, ruined=ruined)


def observing(plan: Plan, tensors: Iterable[str]) -> Plan:
    """Return the plan with a scale group of its own, which nothing reads, for each tensor to be observed besides."""
    known = set(plan.observed)
    more = tuple(ScaleGroup((name,), (name,)) for name in dict.fromkeys(tensors) if name not in known)
    return replace(plan, groups=(*plan.groups, *more)) if more else plan


def shrinkable(model: ir.Model, target: Target, config: PlanConfig | None = None) -> tuple[str, ...]:
    """Return every tensor that the plan, or any plan with fewer of its operators, may observe."""
    config = config or PlanConfig()
    graph = topology(model.graph)
    return _placements(graph, select(model, graph, target, config), target, config)


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
    graph = topology(model.graph)
    found = _placed(graph, select(model, graph, target, config), target, config)
    selection, wants, runs, refused = found.selection, found.wants, found.runs, found.refused
    if config.integer_io:
        _hold_ends(model, graph, wants)
    around = target.kernels is Kernels.READING_AND_WRITING
    on_codes = runs.nodes if around else runs.nodes | crossed_forward(graph, wants)
    groups = scale_groups(graph, wants, runs, across=not around)
    return Plan(
        targets=_targets(graph, wants, runs, groups.index, outputs=around or config.integer_io),
        weights=_weights(graph, selection.quantized, target, config),
        groups=tuple(
            ScaleGroup(*_names(members, observed), known, *_depthwise_readers(members, wants))
            for members, observed, known in groups.members
        ),
        skips=(*selection.skips, *refused),
        quantized=tuple(node.name or "" for node in graph.nodes if node in selection.quantized),
        weighted=count_weighted(model),
        int8_nodes=tuple(node.name or "" for node in graph.nodes if node in on_codes),
        notes=tuple(_float_producers(graph, runs, wants, target)),
        candidates=_candidates(graph, selection, target, config),
        can_shrink=_can_shrink(target, config),
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


def _weights(
    graph: Topology, quantized: frozenset[ir.Node], target: Target, config: PlanConfig
) -> tuple[WeightTarget, ...]:
    found = []
    for node in graph.nodes:
        slot = operator_of(node).weight
        if node not in quantized or slot is None:
            continue
        value = input_at(node, slot)
        if value is not None and is_constant(value):
            found.append(_weight(name_of(value), Use(node.name or "", slot), node, target.weights, config))
    return tuple(found)


def _weight(tensor: str, use: Use, node: ir.Node, scheme: Scheme, config: PlanConfig) -> WeightTarget:
    """Lay the scheme of a target over one weight, whose axes are where its operator has them."""
    match scheme.granularity:
        case Block(_, size):
            return WeightTarget(tensor, use, input_axis(node), scheme.qtype.name, size, scheme.symmetric)
        case PerChannel():
            return WeightTarget(tensor, use, weight_axis(node, config), scheme.qtype.name)
        case PerTensor():
            return WeightTarget(tensor, use, None, scheme.qtype.name)


def _candidates(graph: Topology, selection: Selection, target: Target, config: PlanConfig) -> tuple[str, ...]:
    """Return what any plan without some of the operators that calibration may take out wants: see `Plan.candidates`."""
    wide = config.range_rules and target.has_obstacle("WIDE_RANGE")
    taken = wide and any(is_depthwise(node) for node in selection.quantized)
    if not taken and not (_can_shrink(target, config) and _has_small(graph, selection)):
        return ()
    return _placements(graph, selection, target, config)


def _can_shrink(target: Target, config: PlanConfig) -> bool:
    return not config.all_int8 and target.has_obstacle("RUINED")


def _has_small(graph: Topology, selection: Selection) -> bool:
    """Say whether an operator is quantized that has so small a share of the work that it may be left float."""
    shares = shares_of(node for node in graph.nodes if is_weighted(node)).percent
    return any(shares.get(node, 100.0) <= MOST_PERCENT for node in selection.quantized)


def _placements(graph: Topology, selection: Selection, target: Target, config: PlanConfig) -> tuple[str, ...]:
    """Return all tensors that a selection, or any smaller one, can want.

    With an operator gone, a residual Add may change the operand it quantizes and a pooling may turn float, so all the
    slots that placement ever looks at are taken.
    """
    if target.kernels is Kernels.READING_AND_WRITING:
        return tuple(name_of(value) for value in candidates_around(graph, selection, target, config))
    values = dict.fromkeys(input_at(node, slot) for node, slot in candidate_slots(graph, selection, target))
    return tuple(
        name_of(value)
        for value in values
        if value is not None and is_activation(value) and not is_unobservable(value)
        if not is_op(value.producer(), "DequantizeLinear")
    )


def _float_producers(graph: Topology, runs: Run, wants: Wants, target: Target) -> list[str]:
    """Report every quantized Concat most of whose inputs come from float operators: one kernel for each (P13)."""
    notes = []
    for node in graph.nodes:
        if node not in runs.nodes or not is_op(node, "Concat"):
            continue
        reads = [node.inputs[slot] for slot in data_slots(node)]
        able = sum(value in wants.capable for value in reads)
        if 2 * able >= len(reads):
            continue
        kernels = {start for value in reads if value is not None for start in _starts(value, runs)} - wants.capable
        if len(kernels) > 1:
            notes.append(
                f"Concat '{node.name}' joins {len(reads) - able} of {len(reads)} inputs from float operators, which "
                f"takes {target.title} {len(kernels)} extra kernels; --exclude its reader if that is slow (P13)."
            )
    return notes


def _starts(value: ir.Value, runs: Run) -> set[ir.Value]:
    """Return the tensors in front of a run that one of its tensors comes from."""
    found: set[ir.Value] = set()
    front = [value]
    while front:
        value = front.pop()
        maker = value.producer()
        if maker is None or maker not in runs.nodes:
            found.add(value)
        else:
            front += [read for slot in data_slots(maker) if (read := maker.inputs[slot]) is not None]
    return found
