"""Predict which layers TensorRT runs in INT8 and which Q/DQ stay kernels of their own (rules, sections 4.2-4.6).

Four passes, each one file: import (`importing`), propagation (`graph.propagate`), the kernels of weighted
operators (`kernels`), what is left (`leftovers`). What stays over gets its reason (`reasons`). The body of an If, Loop
or Scan is built as a graph of its own, whose edges no kernel crosses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.model.bodies import Place, lifted, places_of_bodies
from qdq_cli.placement.operators import count_weighted, is_weighted
from qdq_cli.placement.propagate import propagate
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.tensorrt.assembly import Assembly
from qdq_cli.targets.tensorrt.importing import Imported, import_in_place, imported
from qdq_cli.targets.tensorrt.kernels import fuse_weighted
from qdq_cli.targets.tensorrt.leftovers import build_leftovers
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.reasons import standalone
from qdq_cli.targets.tensorrt.simulation import Layer, LayerKind, Reason, Simulation, Standalone


def simulate(model: ir.Model, *, deconv_absorbs_q: bool = False, operators: OperatorTable = OPERATORS) -> Simulation:
    """Simulate how TensorRT builds a model; the model is not changed and its weights are not read.

    Args:
        model: Any ONNX model, best as `prepare` leaves it; element types and shapes make the prediction finer.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it (section 9, item 2).
        operators: What the builder does with each operator; another table is another member of the family.

    Raises:
        ModelError: The graph has a cycle.
    """
    weighted = count_weighted(model)
    inside = [(place, imported(part)) for place, part in _bodies(model)]
    parts = [(place, _simulated(part, operators, deconv_absorbs_q=deconv_absorbs_q)) for place, part in inside]
    main = _simulated(imported(model), operators, deconv_absorbs_q=deconv_absorbs_q)
    return _joined(main, parts, weighted)


def simulate_in_place(
    model: ir.Model,
    *,
    deconv_absorbs_q: bool = False,
    weighted: int | None = None,
    operators: OperatorTable = OPERATORS,
) -> Simulation:
    """Simulate how TensorRT builds a model, and take the model apart on the way: a clone is a fifth of the time.

    Args:
        model: A sorted model, as `files.load` leaves it; not to be used afterwards.
        deconv_absorbs_q: As for `simulate`.
        weighted: Weighted operators of the model, where some of them were folded into constants since.
        operators: As for `simulate`.
    """
    weighted = count_weighted(model) if weighted is None else weighted
    inside = [(place, import_in_place(part)) for place, part in _bodies(model)]
    parts = [(place, _simulated(part, operators, deconv_absorbs_q=deconv_absorbs_q)) for place, part in inside]
    main = _simulated(import_in_place(model), operators, deconv_absorbs_q=deconv_absorbs_q)
    return _joined(main, parts, weighted)


def _bodies(model: ir.Model) -> Iterator[tuple[Place, ir.Model]]:
    """Yield the bodies of If, Loop and Scan that hold weighted operators, as models: each is built as a graph."""
    for place in places_of_bodies(model.graph):
        if any(is_weighted(node) for node in place.body):
            yield place, lifted(model, place).model


def _simulated(start: Imported, operators: OperatorTable, *, deconv_absorbs_q: bool) -> Simulation:
    propagated = propagate(start.model, may_move=operators.commutes)
    assembly = Assembly(start.model.graph, start.tensors, propagated, operators)
    fuse_weighted(assembly, deconv_absorbs_q=deconv_absorbs_q)
    build_leftovers(assembly)
    return Simulation(layers=assembly.layers(), standalone=standalone(assembly))


def _joined(main: Simulation, parts: Iterable[tuple[Place, Simulation]], weighted: int) -> Simulation:
    """Put the layers of bodies behind the layer of what runs them.

    Args:
        main: What was found in the main graph.
        parts: What was found in bodies.
        weighted: Weighted operators of the whole model.
    """
    layers: dict[str, list[Layer]] = {}
    standalone = list(main.standalone)
    for place, part in parts:
        layers.setdefault(place.holders[0].name or "", []).extend(part.layers)
        standalone += [_inside(found, place) for found in part.standalone]
    joined = []
    for layer in main.layers:
        joined += [layer, *(inner for name in layer.nodes for inner in layers.pop(name, ()))]
    joined += [layer for left in layers.values() for layer in left]
    own = sum(layer.kind is LayerKind.WEIGHTED for layer in joined)
    return Simulation(tuple(joined), tuple(standalone), max(weighted - own, 0))


def _inside(found: Standalone, place: Place) -> Standalone:
    """Say of a kernel at the edge of a body that it is there, and not at the edge of the network."""
    if not found.reason.is_boundary:
        return found
    way = "comes into" if found.reason is Reason.BOUNDARY_INPUT else "leaves"
    holder = place.holders[-1]
    return replace(
        found,
        because=f"'{found.tensor}' {way} the body of {holder.op_type} '{holder.name}' in float (P16).",
        remedy="Nothing removes it: what goes into a body and comes out of it is float.",
    )
