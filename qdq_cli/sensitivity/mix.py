"""A type for every weighted operator, as a value, and the options of `qdq quantize` that write it.

Residual Adds and poolings beside the operators go with them, as in every plan of several types.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq_cli.config.forms import Cpu, QuantType
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import every_body
from qdq_cli.placement.operators import is_weighted
from qdq_cli.placement.plan import make_plan
from qdq_cli.placement.topology import topology
from qdq_cli.screen.sentences import FLOAT
from qdq_cli.targets.known import target_for_types

Kind = QuantType | None
"""The type of an operator; None where it stays float."""

Mix = tuple[Kind, ...]
"""The type of each unit."""


@dataclass(frozen=True)
class Unit:
    """A weighted operator that some type can be chosen for.

    Args:
        name: Name of the node.
        op_type: Its operator.
        kinds: The types it can have, and last None: float.
    """

    name: str
    op_type: str
    kinds: tuple[Kind, ...]


def units_of(
    model: ir.Model, target: str, kinds: Sequence[QuantType], config: PlanConfig, cpu: Cpu
) -> tuple[Unit, ...]:
    """Return the operators that can have one of some types, in graph order, those in bodies behind.

    Args:
        model: The prepared model.
        target: Name of what it is quantized for.
        kinds: The types.
        config: What to quantize.
        cpu: The processor that the result is for.

    Raises:
        UsageError: An option names something that is not there.
    """
    able = {kind: _quantized(model, target, replace(config, type=kind), cpu) for kind in kinds}
    graphs = (model.graph, *every_body(model.graph))
    nodes = (node for graph in graphs for node in topology(graph).nodes if is_weighted(node))
    units = (
        Unit(name, node.op_type, (*(kind for kind in kinds if name in able[kind]), None))
        for node in nodes
        if (name := node.name or "")
    )
    return tuple(unit for unit in units if len(unit.kinds) > 1)


def _quantized(model: ir.Model, target: str, config: PlanConfig, cpu: Cpu) -> frozenset[str]:
    table = target_for_types((config.type,), target, config, cpu)
    return frozenset(make_plan(model, table, config).quantized)


def kinds_of(units: Sequence[Unit]) -> tuple[QuantType, ...]:
    """Return the types that any of some operators can have, in the order of all types."""
    there = {kind for unit in units for kind in unit.kinds}
    return tuple(kind for kind in QuantType if kind in there)


def uniform(units: Sequence[Unit], kind: QuantType) -> Mix:
    """Return the mix in which everything that can has one type, and the rest stays float."""
    return tuple(kind if kind in unit.kinds else None for unit in units)


def options_of(config: PlanConfig, units: Sequence[Unit], mix: Mix, kinds: Sequence[QuantType]) -> PlanConfig:
    """Return the options of a plan in which each unit has its type: what most of them have is `--type`.

    Args:
        config: The options without types.
        units: The operators.
        mix: Their types.
        kinds: All types that were to choose from, in the order in which they are named.
    """
    counts = Counter(kind for kind in mix if kind is not None)
    main = max(kinds, key=lambda kind: (counts[kind], -kinds.index(kind)))
    others = [kind for kind in kinds if kind is not main]
    rules = tuple(
        f"{unit.name}={kind.value}" for kind in others for unit, found in zip(units, mix, strict=True) if found is kind
    )
    floats = tuple(unit.name for unit, kind in zip(units, mix, strict=True) if kind is None)
    return replace(config, type=main, type_of=rules, exclude=(*config.exclude, *floats))


def counts_of(units: Sequence[Unit], mix: Mix, quantized: Sequence[str], weighted: int) -> dict[str, int]:
    """Return how many weighted operators have each type, by its title; `float` is the last of them.

    Args:
        units: The operators that types were chosen for.
        mix: Their types.
        quantized: Names of those that are quantized in the end.
        weighted: How many operators there are in all.
    """
    there = set(quantized)
    found = Counter(
        kind.title for unit, kind in zip(units, mix, strict=True) if kind is not None and unit.name in there
    )
    order = [kind.title for kind in QuantType if found[kind.title]]
    return {**{title: found[title] for title in order}, FLOAT: weighted - sum(found.values())}
