"""How far the values of each float tensor can reach, computed from the tensors that were observed.

Every bound is proven: interval arithmetic over one operator after the other, widened by what FP32 rounds. A tensor that
was observed has what was seen; one that no rule reaches has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.casting.bound_rules import rule_of
from qdq_cli.casting.intervals import Interval, constant_interval
from qdq_cli.casting.slots import is_single
from qdq_cli.model.nodes import is_constant, is_unobservable


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest value that were seen in a tensor.

    Args:
        low: The smallest.
        high: The largest, not below it.
    """

    low: float
    high: float

    @property
    def amax(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))


Bounds = Mapping[ir.Value, Interval]
"""Value -> what it cannot leave, for the values that have bounds."""


def bounds_of(model: ir.Model, known: Mapping[str, Extremes]) -> Bounds:
    """Bound the float tensors of the main graph.

    Args:
        model: Its types inferred, its nodes in topological order.
        known: Tensor name -> what was observed.

    Returns:
        Bounds of everything that was observed, of constants, and of what follows from these.
    """
    found: dict[ir.Value, Interval] = {}
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        _take(found, value, known, constant_interval(value) if is_constant(value) else None)
    for node in model.graph:
        rule = rule_of(node)
        results = (
            rule(node, [None if value is None else found.get(value) for value in node.inputs])
            if rule is not None
            else ()
        )
        for number, value in enumerate(node.outputs):
            _take(found, value, known, results[number] if number < len(results) else None)
    return found


def _take(
    found: dict[ir.Value, Interval], value: ir.Value, known: Mapping[str, Extremes], computed: Interval | None
) -> None:
    seen = known.get(value.name or "")
    if seen is not None:
        found[value] = Interval(seen.low, seen.high)
    elif computed is not None and computed.is_bounded:
        found[value] = computed


def unbounded(model: ir.Model, known: Mapping[str, Extremes], limit: float) -> tuple[str, ...]:
    """Return the float tensors whose magnitude cannot be proven to stay under a limit.

    Args:
        model: Its types inferred.
        known: Tensor name -> what was observed, or will be.
        limit: In the units of the tensors.

    Returns:
        Names, in the order of the graph; tensors that were observed, constants, and what cannot be observed are none.
    """
    bounds = bounds_of(model, known)
    return tuple(
        value.name or ""
        for value in float_values(model.graph)
        if value.name not in known
        and not is_unobservable(value)
        and ((reach := bounds.get(value)) is None or reach.amax > limit)
    )


def float_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield the FP32 tensors of the main graph that are made at run time and used, in the order of the graph."""
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        if is_single(value) and (value.is_graph_output() or value.uses()):
            yield value
