"""The repairs of what TensorRT's importer refuses about operators, one after the other (section 1.9)."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.fixing.operands import hold_operands, respell
from qdq_cli.fixing.pools import undilate_pools
from qdq_cli.fixing.record import Outcome, repair_of
from qdq_cli.fixing.stored import store_as_int32
from qdq_cli.fixing.unpools import place_by_argmax
from qdq_cli.preparing.outputs import drop_unread_outputs
from qdq_cli.preparing.prepare import infer_shapes


def repair_import(model: ir.Model) -> Outcome:
    """Write what the importer refuses and what has an equal form in that form; every number stays."""
    graph = model.graph
    done = [
        repair_of("1.9", node, f"its outputs behind the first are gone: nothing reads them, and {node.op_type} may not "
        "have them", True)
        for node in drop_unread_outputs(graph)
    ]  # fmt: skip
    left = []
    for made, kept in (hold_operands(model), respell(graph), place_by_argmax(graph), undilate_pools(graph)):
        done += made
        left += kept
    if done:
        infer_shapes(model)
    made, kept = store_as_int32(graph)
    return done + made, left + kept
