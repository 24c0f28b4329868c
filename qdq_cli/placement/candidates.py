"""Which tensors a plan may need once calibration took operators out of it: all are observed in the one run."""

from __future__ import annotations

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, is_activation, is_op, is_unobservable, name_of
from qdq_cli.placement.around import candidates_around
from qdq_cli.placement.operators import is_depthwise, is_weighted
from qdq_cli.placement.selection import Selection
from qdq_cli.placement.shares import MOST_PERCENT, shares_of
from qdq_cli.placement.target import Kernels, Target
from qdq_cli.placement.topology import Topology
from qdq_cli.placement.wants import candidate_slots


def candidate_tensors(graph: Topology, selection: Selection, target: Target, config: PlanConfig) -> tuple[str, ...]:
    """Return what any plan without some of the operators that calibration may take out wants: see `Plan.candidates`."""
    wide = config.range_rules and target.has_obstacle("WIDE_RANGE")
    taken = wide and any(is_depthwise(node) for node in selection.quantized)
    if not taken and not (can_shrink(target, config) and _has_small(graph, selection)):
        return ()
    return placed_tensors(graph, selection, target, config)


def can_shrink(target: Target, config: PlanConfig) -> bool:
    """Say whether operators that INT8 ruins are left float."""
    return not config.all_int8 and target.has_obstacle("RUINED")


def _has_small(graph: Topology, selection: Selection) -> bool:
    """Say whether an operator is quantized that has so small a share of the work that it may be left float."""
    shares = shares_of(node for node in graph.nodes if is_weighted(node)).percent
    return any(shares.get(node, 100.0) <= MOST_PERCENT for node in selection.quantized)


def placed_tensors(graph: Topology, selection: Selection, target: Target, config: PlanConfig) -> tuple[str, ...]:
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
