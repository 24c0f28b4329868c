"""Which tensors never leave a kernel that computes on codes: it holds its sums in 32 bits until it has a result.

A convolution on INT8 sums in INT32, and scales, adds, activates and quantizes what came out before anything is stored,
so a tensor between its operators is rounded to no 16-bit type. What a kernel in float does in between is not
documented, and is taken to be rounded.

Source: TensorRT 11, Precision Control (the type that sums are held in reaches at least as far as that of the operands;
the types of a network are those of the tensors that layers hand on); rules, section 4.4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import onnx_ir as ir

from qdq_cli.model.nodes import every_node
from qdq_cli.model.scales import is_dequantize
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import Layer, LayerKind, Simulation

_SUMMING = frozenset({LayerKind.WEIGHTED, LayerKind.POOLING})


def never_stored(model: ir.Model, operators: OperatorTable = OPERATORS) -> frozenset[str]:
    """Return the names of tensors that live in kernels on codes alone, results of absorbed DQs among them.

    Args:
        model: A Q/DQ model with inferred types; left as it is.
        operators: As for `simulate`.
    """
    simulation = simulate(model, operators=operators)
    nodes = {node.name or "": node for node in every_node(model.graph)}
    inner = {name for layer in simulation.layers if _sums(layer) for name in _inner(layer, nodes)}
    return frozenset(inner | _taken_in(simulation, nodes))


def _sums(layer: Layer) -> bool:
    return layer.quantized and layer.kind in _SUMMING


def _inner(layer: Layer, nodes: Mapping[str, ir.Node]) -> set[str]:
    """Return what one operator of a kernel hands to others of it alone, its Q included."""
    members = {*layer.nodes, *layer.absorbed}
    return {
        value.name or ""
        for name in layer.nodes
        if (node := nodes.get(name)) is not None
        for value in node.outputs
        if _stays(value, members)
    }


def _stays(value: ir.Value, members: set[str]) -> bool:
    return bool(value.uses()) and not value.is_graph_output() and all(use.node.name in members for use in value.uses())


def _taken_in(simulation: Simulation, nodes: Mapping[str, ir.Node]) -> set[str]:
    """Return the results of DQs that are part of kernels on codes, and nowhere else a kernel or part of one."""
    takers: dict[str, list[Layer]] = defaultdict(list)
    for layer in simulation.layers:
        for name in layer.absorbed:
            takers[name].append(layer)
    alone = {name for found in simulation.standalone for name in found.nodes}
    return {
        nodes[name].outputs[0].name or ""
        for name, layers in takers.items()
        if name in nodes and name not in alone and is_dequantize(nodes[name]) and all(map(_sums, layers))
    }
