"""Which input slots read INT8: weighted operators first, then the poolings and residual Adds that pay because of them.

Poolings (P9) and residual branches (section 3.2, P8) enable each other, so they are decided together to a fixed point:
wants only ever grow, and the result does not depend on the order in which nodes are visited.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import (
    consumers,
    input_at,
    is_activation,
    is_op,
    is_unobservable,
    may_have_one_shape,
    only_consumer,
)
from qdq_cli.placement.absorption import absorbing_lead
from qdq_cli.placement.operators import data_slots, is_data_slot, is_spatial_mean
from qdq_cli.placement.selection import Selection, Skip, skip, weighted_slots
from qdq_cli.placement.target import OperatorTable, Target
from qdq_cli.placement.topology import (
    Topology,
    activation_inputs,
    after_activation,
    int8_capable,
    steps_to_common_ancestor,
)

Slot = tuple[ir.Node, int]
Decide = Callable[[ir.Node, AbstractSet[ir.Value]], None]
"""Is told of a node and of the tensors behind it that lead to a Q, and may want inputs of the node."""


class _Reader(NamedTuple):
    """One reader of a tensor, as far as it does not depend on what is wanted.

    Args:
        slot: Where it reads the tensor.
        quantizes: It is a Q that the model already has.
        outputs: For an operator that Q can cross from here: its outputs that are used, all of which have to lead to Q.
    """

    slot: Slot
    quantizes: bool
    outputs: tuple[ir.Value, ...]


@dataclass
class Wants:
    """Tensor -> the input slots that read it as INT8. Grows while placement is decided.

    Args:
        capable: Tensors whose producer can emit INT8.
        operators: What the target does with operators.
        safe: Treat operators with thin evidence (Gather) as float.
    """

    capable: frozenset[ir.Value]
    operators: OperatorTable
    safe: bool = False
    _slots: dict[ir.Value, dict[Slot, None]] = field(default_factory=dict)
    _added: int = 0
    _leading: frozenset[ir.Value] | None = None
    _readers: dict[ir.Value, tuple[_Reader, ...]] = field(default_factory=dict)

    def add(self, node: ir.Node, slot: int) -> bool:
        """Want INT8 in one input slot; returns whether that is new.

        What a DQ already feeds is left alone, and so is what cannot be observed.
        """
        value = input_at(node, slot)
        if value is None or not is_activation(value) or is_unobservable(value):
            return False
        if is_op(value.producer(), "DequantizeLinear"):
            return False
        slots = self._slots.setdefault(value, {})
        if (node, slot) in slots:
            return False
        slots[node, slot] = None
        self._leading = None
        self._added += 1
        return True

    def hold(self, value: ir.Value) -> None:
        """Want a tensor as INT8 although no slot may read it, as an output of the graph."""
        self._slots.setdefault(value, {})

    def commutes(self, node: ir.Node | None) -> bool:
        """Say whether the target runs a node on codes."""
        return self.operators.commutes(node, safe=self.safe)

    def items(self) -> ItemsView[ir.Value, dict[Slot, None]]:
        """Return all wanted tensors with their slots."""
        return self._slots.items()

    def slots(self, value: ir.Value) -> Iterable[Slot]:
        """Return the slots that want a tensor."""
        return self._slots.get(value, {})

    def holds(self, value: ir.Value) -> bool:
        """Say whether any slot wants this tensor."""
        return value in self._slots

    def wanted(self, node: ir.Node, slot: int) -> bool:
        """Say whether this slot reads INT8, by want or because the model already has a Q there."""
        value = input_at(node, slot)
        if value is None:
            return False
        return is_op(node, "QuantizeLinear") or (node, slot) in self._slots.get(value, {})

    def leading_to_q(
        self, graph: Topology, decide: Decide | None = None, undecided: AbstractSet[ir.Node] = frozenset()
    ) -> frozenset[ir.Value]:
        """Return the tensors all of whose readers read INT8, directly or through commuting operators (section 3.5).

        Args:
            graph: The graph.
            decide: Is called for each node that is `undecided`, once it is known what leads to a Q behind it.
            undecided: Those nodes.
        """
        if decide is None and self._leading is not None:
            return self._leading  # nothing was wanted since
        leading: set[ir.Value] = set()
        added = self._added
        for node in reversed(graph.nodes):
            for value in node.outputs:
                if self._leads(value, leading):
                    leading.add(value)
            if decide is not None and node in undecided:
                decide(node, leading)
        leading.update([value for value in graph.sources if self._leads(value, leading)])
        found = frozenset(leading)
        self._leading = found if self._added == added else None
        return found

    def _leads(self, value: ir.Value, leading: set[ir.Value]) -> bool:
        readers = self._readers.get(value)
        if readers is None:
            readers = self._readers[value] = self._read_readers(value)
        slots = self._slots.get(value, {})
        for reader in readers:
            leads = reader.quantizes or reader.slot in slots
            if not leads and not (reader.outputs and leading.issuperset(reader.outputs)):
                return False
        return bool(readers)

    def _read_readers(self, value: ir.Value) -> tuple[_Reader, ...]:
        """Look at the readers of a tensor, once, as sweeps ask again and again; one that can lead nowhere has none."""
        if value.is_graph_output() or not is_activation(value):
            return ()
        return tuple(
            _Reader((node, slot), is_op(node, "QuantizeLinear"), self._passed_on(node, slot))
            for node, slot in consumers(value)
        )

    def _passed_on(self, node: ir.Node, slot: int) -> tuple[ir.Value, ...]:
        if not self.commutes(node) or not is_data_slot(node, slot):
            return ()
        return tuple(out for out in node.outputs if out.uses() or out.is_graph_output())


def want_everything(
    graph: Topology, selection: Selection, target: Target, config: PlanConfig
) -> tuple[Wants, tuple[Skip, ...]]:
    """Decide every slot that reads INT8, and give the reason for the poolings and Adds that do not."""
    capable = int8_capable(graph, selection.quantized, target.operators)
    wants = Wants(capable, target.operators, config.safe)
    for node in graph.nodes:
        if node in selection.quantized:
            for slot in weighted_slots(node):
                wants.add(node, slot)
    pooled, added = (_candidates(graph, selection, kind) for kind in (is_spatial_mean, is_residual_add))
    every_pool = [node for node in pooled if target.operators.has(node)]
    every_sum = [_sum_of(graph, node) for node in added if target.operators.has(node)]
    pools, sums = every_pool if config.pooling else [], every_sum if config.residuals else []
    _grow(graph, wants, pools, sums)
    if config.residual_stream:
        paying = [found.node for found in sums if _stream_pays(graph, found, wants)]
        _want_slots(wants, [(node, slot) for node in paying for slot in data_slots(node)])
        _grow(graph, wants, pools, sums)
    while _want_slots(wants, _bridge(graph, wants, sums)):
        _grow(graph, wants, pools, sums)
    return wants, _refused(graph, wants, every_pool, every_sum, config)


def candidate_slots(graph: Topology, selection: Selection, target: Target) -> tuple[Slot, ...]:
    """Return every slot that `want_everything` can want, in topological order: of this selection or any smaller one."""
    slots: list[Slot] = []
    for node in graph.nodes:
        if node in selection.quantized or node in selection.optional:
            slots += [(node, slot) for slot in weighted_slots(node)]
        elif not target.operators.has(node):
            continue
        elif is_spatial_mean(node):
            slots.append((node, 0))
        elif is_residual_add(node):
            slots += [(node, slot) for slot in data_slots(node)]
    return tuple(slots)


@dataclass(frozen=True)
class _Sum:
    """A residual Add, as far as it does not depend on what is wanted.

    Args:
        node: The Add.
        result: The tensor that leaves it, or the activation function behind it.
        same_shape: Whether its operands can have one shape.
        absorbing: Operand slot -> the weighted node whose kernel could absorb the Add through it.
    """

    node: ir.Node
    result: ir.Value
    same_shape: bool
    absorbing: dict[int, ir.Node]


def _sum_of(graph: Topology, node: ir.Node) -> _Sum:
    makers = {slot: absorbing_lead(value) for slot, value in enumerate(node.inputs) if value is not None}
    absorbing = {slot: maker for slot, maker in makers.items() if maker is not None}
    return _Sum(node, after_activation(node.outputs[0]), may_have_one_shape(*graph.reads[node]), absorbing)


def _grow(graph: Topology, wants: Wants, pools: list[ir.Node], sums: list[_Sum]) -> None:
    """Want poolings and residual operands until nothing changes.

    What pays depends on what is behind a node, so one sweep against the flow decides a whole chain of blocks.
    """
    adding = {found.node: found for found in sums}
    undecided = frozenset((*pools, *adding))
    news = [bool(undecided)]

    def decide(node: ir.Node, leading: AbstractSet[ir.Value]) -> None:
        if node in adding:
            slots = _residual_slots(graph, adding[node], wants, leading)
        else:
            slots = (0,) if _pool_pays(node, wants, leading) else ()
        news.extend(wants.add(node, slot) for slot in slots)

    while any(news):
        news.clear()
        wants.leading_to_q(graph, decide, undecided)


def _want_slots(wants: Wants, slots: list[Slot]) -> bool:
    new = [wants.add(node, slot) for node, slot in slots]
    return any(new)


def _refused(
    graph: Topology, wants: Wants, pools: list[ir.Node], sums: list[_Sum], config: PlanConfig
) -> tuple[Skip, ...]:
    """Give the reasons of those that nothing was wanted of."""
    left = [found for found in sums if not _any_wanted(found.node, wants)]
    leading = wants.leading_to_q(graph) if left else frozenset()
    pool_code = "POOL_FLOAT" if config.pooling else "POOL_OFF"
    return (
        *(skip(node, pool_code) for node in pools if not _any_wanted(node, wants)),
        *(skip(found.node, _add_code(found, leading, config)) for found in left),
    )


def _bridge(graph: Topology, wants: Wants, sums: list[_Sum]) -> list[Slot]:
    """Find the one float reader whose quantization lets the residual Adds before it fuse; nothing where there is none.

    Cases 1 and 2 of section 3.2 weigh one block: quantizing the identity branch of an Add with a float reader trades a
    stand-alone Q for a stand-alone DQ. In a chain of blocks the float branch makes the block before it float as well,
    and so on to the first: a kernel for each. Giving the DQ to the float reader of the last block costs one kernel and
    frees all others, so it is done where what it reads is itself a residual sum, one that gets Q/DQ then, and has no
    other float reader.
    """
    refused = [found for found in sums if not _any_wanted(found.node, wants)]
    held = [found for found in refused if wants.holds(found.result)]
    results = {found.result for found in held if _residual_slots(graph, found, wants, {found.result})}
    leading = wants.leading_to_q(graph) if refused else frozenset()
    for found in reversed(refused):
        if found.result in results and any(wants.holds(value) for value in graph.reads[found.node]):
            crossed = _only_float_use_is_crossed(wants, found.result, leading)
            if crossed is not None:
                return [crossed]
        for slot in data_slots(found.node):
            value = input_at(found.node, slot)
            if value is not None and value in results and _only_float_reader(wants, value, found.node):
                return [(found.node, slot), *_other_operand(wants, found, slot)]
    return []


def _other_operand(wants: Wants, found: _Sum, slot: int) -> list[Slot]:
    """Return the other operand of an Add that no kernel absorbs: with both in INT8 its own kernel takes in both DQs."""
    absorbed = any(wants.wanted(producer, 0) for producer in found.absorbing.values())
    other = input_at(found.node, 1 - slot)
    return [(found.node, 1 - slot)] if found.same_shape and not absorbed and other in wants.capable else []


def _only_float_reader(wants: Wants, value: ir.Value, node: ir.Node) -> bool:
    others = [(user, slot) for user, slot in consumers(value) if user is not node]
    return not value.is_graph_output() and all(wants.wanted(user, slot) for user, slot in others)


def _only_float_use_is_crossed(wants: Wants, value: ir.Value, leading: frozenset[ir.Value]) -> Slot | None:
    """Return the slot of the one float reader of a tensor, if DQ can cross it and ends before a single operator."""
    if value.is_graph_output():
        return None
    uses = [use for use in consumers(value) if not wants.wanted(*use) and not _leads_on(wants, use, leading)]
    if len(uses) != 1 or not wants.commutes(uses[0][0]):
        return None
    use: Slot | None = uses[0]
    while use is not None and wants.commutes(use[0]) and len(data_slots(use[0])) == 1:
        read = [out for out in use[0].outputs if out.uses() or out.is_graph_output()]
        use = only_consumer(read[0]) if len(read) == 1 else None
    return None if use is None or wants.commutes(use[0]) else uses[0]


def _leads_on(wants: Wants, use: Slot, leading: frozenset[ir.Value]) -> bool:
    """Say whether a reader is a commuting operator all of whose results are read as INT8."""
    node, slot = use
    read = [out for out in node.outputs if out.uses() or out.is_graph_output()]
    return wants.commutes(node) and is_data_slot(node, slot) and bool(read) and leading.issuperset(read)


def _candidates(graph: Topology, selection: Selection, kind: Callable[[ir.Node], bool]) -> list[ir.Node]:
    return [node for node in graph.nodes if kind(node) and node not in selection.kept_float]


def _any_wanted(node: ir.Node, wants: Wants) -> bool:
    return any(wants.wanted(node, slot) for slot in data_slots(node))


def _pool_pays(node: ir.Node, wants: Wants, leading: AbstractSet[ir.Value]) -> bool:
    """P9: the input can come in INT8 and the output leads to a Q."""
    value = input_at(node, 0)
    return value is not None and value in wants.capable and node.outputs[0] in leading


def is_residual_add(node: ir.Node) -> bool:
    """Say whether a node adds two different activations (a constant operand makes it a bias, P18)."""
    return is_op(node, "Add") and len(activation_inputs(node)) == 2


def _residual_slots(graph: Topology, found: _Sum, wants: Wants, leading: AbstractSet[ir.Value]) -> tuple[int, ...]:
    """Return the operand slots of a residual Add that get Q/DQ (rules, section 3.2)."""
    if found.result not in leading or not found.same_shape:
        return ()  # cases 1 and 2: quantizing an operand would leave a stand-alone DQ
    absorbing = [slot for slot, producer in found.absorbing.items() if wants.wanted(producer, 0)]
    if len(absorbing) == 1:
        return (1 - absorbing[0],)
    if len(absorbing) == 2:
        return (_shortcut_slot(graph, found.node),)
    both_capable = wants.capable.issuperset(graph.reads[found.node])
    return (0, 1) if both_capable else ()


def _shortcut_slot(graph: Topology, node: ir.Node) -> int:
    """Return the operand with the shorter path to the common ancestor; on a tie the one that is made earlier."""
    first, second = graph.reads[node]
    steps = steps_to_common_ancestor(first, second)
    if steps is not None and steps[0] != steps[1]:
        return 0 if steps[0] < steps[1] else 1
    makers = first.producer(), second.producer()
    depths = [graph.depth[maker] if maker is not None else 0 for maker in makers]
    return 1 if depths[1] < depths[0] else 0


def _stream_pays(graph: Topology, found: _Sum, wants: Wants) -> bool:
    """Case 5, on request: both operands can come in INT8, whatever reads the sum."""
    return found.same_shape and wants.capable.issuperset(graph.reads[found.node])


def _add_code(found: _Sum, leading: frozenset[ir.Value], config: PlanConfig) -> str:
    if not config.residuals:
        return "RESIDUAL_OFF"
    if not found.same_shape:
        return "RESIDUAL_BROADCAST"
    if found.result not in leading:
        return "RESIDUAL_FLOAT_CONSUMER"
    return "RESIDUAL_FLOAT_PRODUCER"
