"""What a weighted operator's kernel takes in besides activations and residuals: scaling by constants (section 4.4).

One table for all who ask: the planner, which operand of a residual Add stays float; the simulator, where a kernel
ends; lint and repair, whether a tensor is still a weighted operator's own result.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import input_at, is_op, only_consumer, rank, static_dims
from qdq_cli.model.scales import holds_constant
from qdq_cli.placement.operators import is_weighted

SCALING: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (0,),
    "Add": (0, 1),
    "Sub": (0, 1),
    "Mul": (0, 1),
    "Div": (0,),
}
"""Operator -> the slots in which it reads what it scales: its result is a * x + b for constants a and b.

c - x is one, with a = -1; c / x and powers are none, nor is the absolute value.
"""


def is_scaling(node: ir.Node, slot: int, lead: ir.Node) -> bool:
    """Say whether a node does no more to what it reads in a slot than scale and shift it by one number a channel.

    Args:
        node: Any node.
        slot: The input slot that reads the weighted operator's result.
        lead: The weighted operator: its output channels are axis 1 of a convolution, the last axis of a product.
    """
    if not is_op(node, *SCALING) or slot not in SCALING[node.op_type]:
        return False
    if node.op_type == "BatchNormalization":
        return not any(value.uses() for value in node.outputs[1:])
    constant = input_at(node, 1 - slot) if len(node.inputs) == 2 else None
    return holds_constant(constant) and _one_a_channel(constant, input_at(node, slot), lead)


def absorbing_lead(value: ir.Value | None) -> ir.Node | None:
    """Return the weighted operator whose kernel could absorb an Add that reads this operand (3.2, case 3; section 4.4).

    The operand must be the single-consumer result of a weighted operator, through scaling by constants alone; one
    behind an activation is none.
    """
    passed: list[tuple[ir.Node, int]] = []
    while value is not None and only_consumer(value) is not None:
        node = value.producer()
        if node is None or is_weighted(node):
            if node is None or is_op(node, "Einsum"):  # a layer of its own
                return None
            return node if all(is_scaling(*step, node) for step in passed) else None
        slot = _scaled_slot(node)
        if slot is None:
            return None
        passed.append((node, slot))
        value = node.inputs[slot]
    return None


def _scaled_slot(node: ir.Node) -> int | None:
    """Return the one slot in which a node may read what it scales, or None."""
    slots = SCALING[node.op_type] if is_op(node, *SCALING) else ()
    return next((slot for slot in slots if not holds_constant(input_at(node, slot))), None)


def _one_a_channel(constant: ir.Value | None, data: ir.Value | None, lead: ir.Node) -> bool:
    """Say whether a constant operand has one number in all, or one an output channel, and broadcasts no dimension.

    Shapes that are not known get the benefit of the doubt.
    """
    dims, most = _dims(constant), rank(data)
    if dims is None or most is None:
        return True
    if len(dims) > most:
        return False
    axis = 1 if is_op(lead, "Conv", "ConvTranspose") else most - 1
    aligned = (1,) * (most - len(dims)) + dims
    channels = (static_dims(data) or (None,) * most)[axis]
    others = aligned[:axis] + aligned[axis + 1 :]
    return all(dim == 1 for dim in others) and (aligned[axis] == 1 or channels in (None, aligned[axis]))


def _dims(constant: ir.Value | None) -> tuple[int, ...] | None:
    """Return the dimensions of a constant; one behind Q and DQ has them only where shapes are inferred."""
    if constant is None:
        return None
    if constant.const_value is not None:
        return tuple(constant.const_value.shape.numpy())
    dims = static_dims(constant)
    return None if dims is None or None in dims else tuple(dim or 0 for dim in dims)
