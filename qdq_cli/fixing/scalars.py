"""Repair of scales of activations that are vectors of one element, where a scalar is meant (A2)."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.fixing.record import Outcome, Repair, repair_of
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, input_at, int_attribute, name_of
from qdq_cli.model.scales import is_pair_half
from qdq_cli.targets.tensorrt.lint_scales import is_vector_of_one

_OPERANDS = {1: "scale", 2: "zero point"}


def write_scalars(graph: ir.Graph, names: Names) -> Outcome:
    """Store the scale and the zero point of an activation as scalars, nodes that shared one a shared one."""
    done: list[Repair] = []
    made: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        if not is_pair_half(node) or int_attribute(node, "block_size", 0) or not is_vector_of_one(node):
            continue
        written = [word for slot, word in _OPERANDS.items() if _write_scalar(graph, names, made, (node, slot))]
        if written:
            done.append(
                repair_of(
                    "A2",
                    node,
                    f"its {' and '.join(written)} became {'scalars' if len(written) > 1 else 'a scalar'}",
                    True,
                )
            )
    return done, []


def _write_scalar(graph: ir.Graph, names: Names, made: dict[ir.Value, ir.Value], place: tuple[ir.Node, int]) -> bool:
    """Let a node read a scalar of the same number in a slot; False where it reads no vector of one constant."""
    node, slot = place
    old, array = input_at(node, slot), constant_at(node, slot)
    if old is None or array is None or array.shape != (1,):
        return False
    if old not in made:
        made[old] = add_initializer(graph, names.value(f"{name_of(old)}_scalar"), array.reshape(()))
    node.replace_input_with(slot, made[old])
    return True
