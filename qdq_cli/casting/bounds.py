"""How far the values of each float tensor can reach, computed from the tensors that were observed.

Every bound is proven: interval arithmetic over one operator after the other, widened by what FP32 rounds. A tensor that
was observed has what was seen; one that no rule reaches has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import onnx_ir as ir

from calibrators import Extremes
from qdq_cli.casting.bound_rules import rule_of
from qdq_cli.casting.intervals import Interval, constant_interval
from qdq_cli.casting.slots import is_single
from qdq_cli.model.bodies import models_of
from qdq_cli.model.dynamic import is_dynamic_quantize
from qdq_cli.model.nodes import is_constant, is_unobservable

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

    def bound(_value: ir.Value, computed: Interval | None) -> Interval | None:
        return computed if computed is not None and computed.is_bounded else None

    return _walk(model, known, bound)


def _walk(
    model: ir.Model,
    known: Mapping[str, Extremes],
    bound: Callable[[ir.Value, Interval | None], Interval | None],
) -> dict[ir.Value, Interval]:
    """Bound one value after the other: by what was seen, else by what `bound` makes of what its operator computes."""
    found: dict[ir.Value, Interval] = {}

    def take(value: ir.Value, computed: Interval | None) -> None:
        seen = known.get(value.name or "")
        reach = bound(value, computed) if seen is None or seen.is_empty else Interval(seen.minimum, seen.maximum)
        if reach is not None and (is_single(value) or is_dynamic_quantize(value.producer())):  # integers wrap
            found[value] = reach

    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        take(value, constant_interval(value) if is_constant(value) else None)
    for node in model.graph:
        rule = rule_of(node)
        operands = [_finite(found, value) for value in node.inputs]
        results = rule(node, operands) if rule is not None else ()
        for number, value in enumerate(node.outputs):
            take(value, results[number] if number < len(results) else None)
    return found


def _finite(found: Bounds, value: ir.Value | None) -> Interval | None:
    """Return the bounds of an operand; None where it was seen to be infinite, with which no rule reckons."""
    reach = None if value is None else found.get(value)
    return reach if reach is not None and reach.is_bounded else None


def to_observe(model: ir.Model, known: Mapping[str, Extremes], limit: float, reach: float) -> tuple[str, ...]:
    """Choose tensors to observe so that what they hold bounds all others.

    Args:
        model: Its types inferred, its nodes in topological order.
        known: Tensor name -> what it is taken to hold; it is observed anyway.
        limit: A tensor that cannot be proven to stay under it is observed.
        reach: The magnitude that such a tensor is then taken to have, for those that follow from it.

    Returns:
        Names, in the order of the graph, those in bodies behind: what a body reads has to be known there.
    """
    asked: dict[str, None] = {}

    def bound(value: ir.Value, computed: Interval | None) -> Interval | None:
        if value not in values or (computed is not None and computed.is_bounded and computed.amax <= limit):
            return computed
        asked[value.name or ""] = None
        return Interval(-reach, reach)

    for part in models_of(model):
        values = frozenset(value for value in float_values(part.graph) if not is_unobservable(value))
        _walk(part, known, bound)
    return tuple(asked)


def unbounded(model: ir.Model, known: Mapping[str, Extremes], limit: float) -> tuple[str, ...]:
    """Return the float tensors whose magnitude cannot be proven to stay under a limit.

    Args:
        model: Its types inferred.
        known: Tensor name -> what was observed, or will be.
        limit: In the units of the tensors.

    Returns:
        Names, in the order of the graph, those in bodies behind; tensors that were observed, constants, and what
        cannot be observed are none.
    """
    found = (name for part in models_of(model) for name in _unbounded_in(part, known, limit))
    return tuple(dict.fromkeys(found))


def _unbounded_in(model: ir.Model, known: Mapping[str, Extremes], limit: float) -> Iterator[str]:
    """Yield those of a main graph."""
    bounds = bounds_of(model, known)
    for value in float_values(model.graph):
        reach = bounds.get(value)
        if value.name not in known and not is_unobservable(value) and (reach is None or reach.amax > limit):
            yield value.name or ""


def float_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield the FP32 tensors of the main graph that are made at run time and used, in the order of the graph."""
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        if is_single(value) and (value.is_graph_output() or value.uses()):
            yield value
