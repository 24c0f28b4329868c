"""Predict which layers TensorRT runs in INT8 and which Q/DQ stay kernels of their own (rules, sections 4.2-4.6).

Four passes over a clone, each one file: import (`importing`), propagation (`graph.propagate`), the kernels of weighted
operators (`kernels`), what is left (`leftovers`). What stays over gets its reason (`reasons`).
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.graph.operators import is_weighted
from qdq_cli.graph.propagate import propagate
from qdq_cli.tensorrt.assembly import Assembly
from qdq_cli.tensorrt.importing import imported
from qdq_cli.tensorrt.kernels import fuse_weighted
from qdq_cli.tensorrt.leftovers import build_leftovers
from qdq_cli.tensorrt.reasons import standalone
from qdq_cli.tensorrt.simulation import Simulation


def simulate(model: ir.Model, *, deconv_absorbs_q: bool = False) -> Simulation:
    """Simulate how TensorRT builds a model; the model is not changed and its weights are not read.

    Args:
        model: Any ONNX model, best as `prepare` leaves it; element types and shapes make the prediction finer.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it (section 9, item 2).

    Raises:
        ModelError: The graph has a cycle.
    """
    clone = imported(model)
    assembly = Assembly(clone.model.graph, clone.tensors, propagate(clone.model))
    fuse_weighted(assembly, deconv_absorbs_q=deconv_absorbs_q)
    build_leftovers(assembly)
    return Simulation(
        layers=assembly.layers(),
        standalone=standalone(assembly),
        weighted_in_bodies=sum(is_weighted(node) for part in model.graph.subgraphs() for node in part),
    )
