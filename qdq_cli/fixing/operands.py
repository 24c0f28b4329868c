"""Repairs of how operators are spelled: operands that have to be constants, equations, attributes that say nothing."""

from __future__ import annotations

import string

import onnx_ir as ir

from qdq_cli.fixing.constants import remove_unread
from qdq_cli.fixing.record import Left, Outcome, Repair, repair_of
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, is_op, name_of, string_attribute
from qdq_cli.preparing.fold import computed, foldable_nodes
from qdq_cli.targets.tensorrt.importer.conditions import has_capitals

_CONSTANT_SLOTS = {
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"), (1,)),
    **dict.fromkeys(("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Squeeze", "Unsqueeze"), (1,)),
    **dict.fromkeys(("CumSum", "OneHot", "TopK", "Conv", "ConvTranspose", "Upsample"), (1,)),
    **dict.fromkeys(("Pad", "Slice"), (3,)),
    **dict.fromkeys(("STFT", "InstanceNormalization"), (1, 2)),
    "NonMaxSuppression": (2, 3, 4),
}
"""Operator -> the slots that some release of TensorRT wants constants in."""


def hold_operands(model: ir.Model) -> Outcome:
    """Make initializers of operands that have to be constants and are computed from constants alone."""
    graph, names = model.graph, Names(model.graph)
    foldable = foldable_nodes(graph)
    reads = [
        (node, slot, value)
        for node in graph
        if is_op(node, *_CONSTANT_SLOTS)
        for slot in _CONSTANT_SLOTS[node.op_type]
        if (value := input_at(node, slot)) is not None and value.producer() in foldable
    ]
    arrays = computed(model, dict.fromkeys(value for _, _, value in reads))
    made: dict[ir.Value, ir.Value] = {}
    done: list[Repair] = []
    for node, slot, value in reads:
        if value in arrays:
            made[value] = made.get(value) or add_initializer(
                graph, names.value(f"{name_of(value)}_constant"), arrays[value]
            )
            node.replace_input_with(slot, made[value])
            text = f"its input {slot + 1}, computed from constants, is an initializer"
            done.append(repair_of("1.9", node, text, True))
    remove_unread(graph, made)
    return done, []


def respell(graph: ir.Graph) -> Outcome:
    """Write Einsums in small letters, and take a reduction of none from ScatterNDs."""
    done: list[Repair] = []
    left: list[Left] = []
    for node in graph:
        if is_op(node, "ScatterND") and string_attribute(node, "reduction", "") == "none":
            del node.attributes["reduction"]
            done.append(repair_of("1.9", node, "it names no reduction of none, which is what it has without", True))
        elif is_op(node, "Einsum") and has_capitals(node):
            equation = string_attribute(node, "equation", "")
            small = _in_small_letters(equation)
            if small is None:
                left.append(Left("1.9", node.name or "", "its equation has more than 26 letters"))
                continue
            node.attributes["equation"] = ir.AttrString("equation", small)
            done.append(repair_of("1.9", node, f"its equation {equation} is written {small}", True))
    return done, left


def _in_small_letters(equation: str) -> str | None:
    """Write an equation without capital letters; None where there are not enough small ones."""
    capitals = sorted({letter for letter in equation if letter.isupper()})
    free = [letter for letter in string.ascii_lowercase if letter not in equation]
    if len(capitals) > len(free):
        return None
    return equation.translate(str.maketrans("".join(capitals), "".join(free[: len(capitals)])))
