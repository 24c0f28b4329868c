"""What an old build could run in INT8 by its calibration table, and the pairs of the new model leave float."""

from __future__ import annotations

from collections.abc import Container, Iterator

import onnx_ir as ir

from qdq_cli.migrating.record import Change
from qdq_cli.model.nodes import every_node, is_op
from qdq_cli.placement.operators import OpClass, is_weighted, operator_of
from qdq_cli.placement.plan import Plan
from qdq_cli.targets.tensorrt.implicit import may_have_run_quantized
from qdq_cli.targets.tensorrt.simulation import Layer, LayerKind, Simulation

_WHY = {
    OpClass.COMMUTING: ("R4", "moves values, and what it moves them between is float"),
    OpClass.QUANTIZABLE: ("P15", "a pair around it alone would cost more kernels than it saves"),
    OpClass.FLOAT: ("P15", "a pair around it alone would cost more kernels than it saves"),
    OpClass.WEIGHTED: ("P1", "what it reads has no pair"),
}
"""Class of an operator -> rule, and why it is not between pairs."""

_FUSED = ("4.4", "ends a kernel that computes in float")
_POOLING = ("4.5", "INT8 only where all it reads comes from DQ and a Q alone reads it")
_IN_BODY = ("IN_BODY", "in the body of another operator, where nothing is quantized")


def changes(floats: ir.Model, ranges: Container[str], plan: Plan, simulation: Simulation) -> tuple[Change, ...]:
    """Return the operators that could run in INT8 before, and do not any more.

    Args:
        floats: The prepared float model.
        ranges: Names of the tensors that the old build had a range for.
        plan: What was quantized of it.
        simulation: What is predicted for the result.
    """
    return tuple(_changes(floats, ranges, plan, simulation))


def _changes(floats: ir.Model, ranges: Container[str], plan: Plan, simulation: Simulation) -> Iterator[Change]:
    layers = {node: layer for layer in simulation.layers for node in layer.nodes}
    skips = {skip.node: (skip.code, skip.reason) for skip in plan.skips}
    for node in every_node(floats.graph):
        name = node.name or ""
        layer = layers.get(name)
        if not may_have_run_quantized(node, ranges) or _is_quantized(layer):
            continue
        if name in skips:
            yield Change(name, node.op_type, *skips[name])
        elif layer is not None:
            yield Change(name, node.op_type, *_why(node, layer))
        elif node.graph is not floats.graph:  # other operators are none in the engine: removed, or computed before
            yield Change(name, node.op_type, *_IN_BODY)


def _why(node: ir.Node, layer: Layer) -> tuple[str, str]:
    """Say why an operator is in a layer that computes in float."""
    if layer.kind is LayerKind.WEIGHTED and not is_weighted(node):
        return _FUSED
    if is_op(node, "AveragePool", "GlobalAveragePool", "ReduceMean"):
        return _POOLING
    return _WHY[operator_of(node).op_class]


def _is_quantized(layer: Layer | None) -> bool:
    return layer is not None and layer.quantized
