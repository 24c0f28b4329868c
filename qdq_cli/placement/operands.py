"""The constant operands of a plan: weights of the operators that are quantized, and tables of embeddings."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from calibrators.qtypes import QTYPES, QType
from calibrators.scheme import Block, PerChannel
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, is_constant, name_of, static_dims
from qdq_cli.placement.operators import is_lookup, operator_of
from qdq_cli.placement.record import Use, WeightTarget
from qdq_cli.placement.target import Target
from qdq_cli.placement.topology import Topology
from qdq_cli.placement.weights import input_axis, weight_axis


def weights_of(
    graph: Topology, quantized: frozenset[ir.Node], target: Target, config: PlanConfig
) -> tuple[WeightTarget, ...]:
    """List the constant operands of the weighted operators that are quantized, in topological order."""
    found = []
    for node in graph.nodes:
        slot = operator_of(node).weight
        if node not in quantized or slot is None:
            continue
        value = input_at(node, slot)
        if value is not None and is_constant(value):
            weight = _weight(name_of(value), Use(node.name or "", slot), node, target, config)
            found.append(replace(weight, alone=target.weights_alone, largest=_largest(target.weights.qtype)))
    return tuple(found)


def tables_of(
    graph: Topology, kept: frozenset[ir.Node], target: Target, config: PlanConfig
) -> tuple[WeightTarget, ...]:
    """List the tables whose rows a Gather looks up: one scale a row, and no operator counts as quantized for them."""
    if target.tables is None or config.only:
        return ()
    kind = target.tables.qtype.name
    found = [(node, input_at(node, 0)) for node in graph.nodes if is_lookup(node) and node not in kept]
    return tuple(
        WeightTarget(name_of(table), Use(node.name or "", 0), 0, kind, alone=True)
        for node, table in found
        if table is not None
    )


def _largest(qtype: QType) -> int | None:
    """The largest code of a type that a processor wants fewer bits of."""
    return None if qtype.qmax == QTYPES[qtype.name].qmax else qtype.qmax


def _block_size(node: ir.Node, size: int, target: Target) -> int:
    """Return the size of the blocks of a weight: half, where one would hold all inputs and the target wants several."""
    dims = static_dims(input_at(node, 1)) or ()
    whole = len(dims) == 2 and dims[input_axis(node)] == size
    return size // 2 if whole and target.wants_blocks and size // 2 in target.block_sizes else size


def _weight(tensor: str, use: Use, node: ir.Node, target: Target, config: PlanConfig) -> WeightTarget:
    """Lay the scheme of a target over one weight, whose axes are where its operator has them."""
    scheme = target.weights
    match scheme.granularity:
        case Block(_, size):
            found = _block_size(node, size, target)
            return WeightTarget(tensor, use, input_axis(node), scheme.name, found, scheme.symmetric)
        case PerChannel():
            return WeightTarget(tensor, use, weight_axis(node, config), scheme.qtype.name)
        case _:
            return WeightTarget(tensor, use, None, scheme.qtype.name)
