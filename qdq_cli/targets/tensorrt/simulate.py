"""Predict which layers TensorRT runs in INT8 and which Q/DQ stay kernels of their own (rules, sections 4.2-4.6).

Four passes, each one file: import (`importing`), propagation (`graph.propagate`), the kernels of weighted
operators (`kernels`), what is left (`leftovers`). What stays over gets its reason (`reasons`).
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.placement.operators import count_weighted
from qdq_cli.placement.propagate import propagate
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.tensorrt.assembly import Assembly
from qdq_cli.targets.tensorrt.importing import Imported, import_in_place, imported
from qdq_cli.targets.tensorrt.kernels import fuse_weighted
from qdq_cli.targets.tensorrt.leftovers import build_leftovers
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.reasons import standalone
from qdq_cli.targets.tensorrt.simulation import LayerKind, Simulation


def simulate(model: ir.Model, *, deconv_absorbs_q: bool = False, operators: OperatorTable = OPERATORS) -> Simulation:
    """Simulate how TensorRT builds a model; the model is not changed and its weights are not read.

    Args:
        model: Any ONNX model, best as `prepare` leaves it; element types and shapes make the prediction finer.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it (section 9, item 2).
        operators: What the builder does with each operator; another table is another member of the family.

    Raises:
        ModelError: The graph has a cycle.
    """
    return _simulated(imported(model), count_weighted(model), operators, deconv_absorbs_q=deconv_absorbs_q)


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
    count = count_weighted(model) if weighted is None else weighted
    return _simulated(import_in_place(model), count, operators, deconv_absorbs_q=deconv_absorbs_q)


def _simulated(start: Imported, weighted: int, operators: OperatorTable, *, deconv_absorbs_q: bool) -> Simulation:
    propagated = propagate(start.model, may_move=operators.commutes)
    assembly = Assembly(start.model.graph, start.tensors, propagated, operators)
    fuse_weighted(assembly, deconv_absorbs_q=deconv_absorbs_q)
    build_leftovers(assembly)
    layers = assembly.layers()
    own = sum(layer.kind is LayerKind.WEIGHTED for layer in layers)
    return Simulation(layers=layers, standalone=standalone(assembly), weighted_elsewhere=max(weighted - own, 0))
