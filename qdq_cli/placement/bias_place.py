"""The bias of a weighted operator, wherever exporters put it: read it, and give the operator another one.

Biases stay float (A27), so correcting one costs nothing at run time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.bodies import drop_if_unread
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, float_attribute, input_at, is_constant, is_op, name_of, only_consumer, rank
from qdq_cli.placement.operators import operator_of


@dataclass(frozen=True)
class BiasPlace:
    """Where the bias of a weighted operator is, or can be put.

    Args:
        node: The node that adds it: the operator itself, or the Add behind a MatMul.
        slot: Its input slot there.
        value: The bias as one number an output channel, shape [O], float64; zeros where there is none yet.
    """

    node: ir.Node
    slot: int
    value: NDArray[np.float64]


def bias_place(node: ir.Node, channels: int) -> BiasPlace | None:
    """Find the bias of a weighted operator.

    Args:
        node: A weighted operator, of the main graph or in a body.
        channels: Its output channels.

    Returns:
        The place; None where there is none that takes one number a channel: a MatMul without an Add of its own behind
        it, a bias that is computed, or one of another shape.
    """
    slot = operator_of(node).bias
    if slot is not None:
        if is_op(node, "Gemm") and float_attribute(node, "beta", 1.0) != 1.0:
            return None
        return _place(node, slot, channels)
    if is_op(node, "MatMul") and rank(input_at(node, 1)) == 2:
        return _behind_matmul(node, channels)
    return None


def _behind_matmul(node: ir.Node, channels: int) -> BiasPlace | None:
    found = only_consumer(node.outputs[0])
    if found is None or not is_op(found[0], "Add"):
        return None
    add, slot = found
    constant, result = input_at(add, 1 - slot), rank(node.outputs[0])
    if not is_constant(constant) or result is None or (rank(constant) or 0) > result:
        return None  # a bias of rank 1 would not give the sum the rank that this constant gives it
    return _place(add, 1 - slot, channels)


def _place(node: ir.Node, slot: int, channels: int) -> BiasPlace | None:
    if input_at(node, slot) is None:
        return BiasPlace(node, slot, np.zeros(channels))
    constant = constant_at(node, slot)
    if constant is None or constant.dtype.kind != "f" or constant.size not in (1, channels):
        return None
    if constant.size == channels and constant.ndim and constant.shape[-1] != channels:
        return None
    return BiasPlace(node, slot, np.broadcast_to(constant.reshape(-1).astype(np.float64), (channels,)).copy())


def set_bias(place: BiasPlace, bias: NDArray[np.generic], names: Names) -> None:
    """Give an operator another bias, in an initializer of its own; others that read the former one keep it.

    Args:
        place: Where the bias goes; the graph or body that it stands in gets the initializer.
        bias: Shape [O], in the type of the operator's data.
        names: The names of the whole model.
    """
    node, slot = place.node, place.slot
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    former = input_at(node, slot)
    if slot >= len(node.inputs):
        node.resize_inputs(slot + 1)
    node.replace_input_with(slot, None)
    if former is not None and not former.uses() and not former.is_graph_output():
        name = name_of(former)
        drop_if_unread(former)
    else:
        name = names.value(f"{node.name}_bias")
    node.replace_input_with(slot, add_initializer(graph, name, bias))
