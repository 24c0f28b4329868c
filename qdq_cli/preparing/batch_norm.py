"""Fold batch normalization into the weights and bias of the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from qdq_cli.model.insertion import add_initializer, take_over_output
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    constant_at,
    every_body,
    float_attribute,
    input_at,
    int_attribute,
    is_constant,
    is_op,
    only_consumer,
)


@dataclass(frozen=True)
class _Folded:
    """Weight and bias of a convolution that does the work of the batch normalization behind it."""

    weight: NDArray[np.generic]
    bias: NDArray[np.generic]


def fold_batch_norms(model: ir.Model) -> int:
    """Fold every BatchNormalization that directly follows a Conv or ConvTranspose into it; returns how many went.

    W' = W * g, b' = (b - mean) * g + beta with g = gamma / sqrt(var + epsilon) a channel, computed in float64. With max
    ranges per output channel the integer weights do not change by it (P3); ConvTranspose has no fused form at all (P4).
    A fold whose weights or bias would not be finite in the model's type is left out. Bodies of If, Loop and Scan have
    theirs folded too.
    """
    names: Names | None = None
    count = 0
    for graph in (model.graph, *every_body(model.graph)):
        for conv in list(graph):
            while (norm := _norm_behind(conv)) is not None and (folded := _fold(conv, norm)) is not None:
                names = names or Names(model.graph)
                put_constant(graph, conv, 1, folded.weight, names)
                put_constant(graph, conv, 2, folded.bias, names)
                take_over_output(norm.outputs[0], conv.outputs[0])
                graph.remove(norm, safe=True)
                count += 1
    if count:
        passes.RemoveUnusedNodesPass()(model)
    return count


def _norm_behind(conv: ir.Node) -> ir.Node | None:
    """Return the inference-mode BatchNormalization that alone reads a convolution with constant weights, if any."""
    if not is_op(conv, "Conv", "ConvTranspose") or not is_constant(input_at(conv, 1)):
        return None
    if input_at(conv, 2) is not None and not is_constant(input_at(conv, 2)):
        return None
    use = only_consumer(conv.outputs[0])
    if use is None or use[1] != 0 or not is_op(use[0], "BatchNormalization"):
        return None
    norm = use[0]
    # Up to opset 13, more than one output means training mode; a body may run its nodes or not.
    training = int_attribute(norm, "training_mode", 0) or any(value.name for value in norm.outputs[1:])
    if training or norm.graph is not conv.graph:
        return None
    return norm if all(is_constant(input_at(norm, slot)) for slot in (1, 2, 3, 4)) else None


def _fold(conv: ir.Node, norm: ir.Node) -> _Folded | None:
    weight, bias = constant_at(conv, 1), constant_at(conv, 2)
    parameters = [constant_at(norm, slot) for slot in (1, 2, 3, 4)]
    channels = 0 if weight is None else _output_channels(conv, weight)
    if weight is None or any(array is None or array.shape != (channels,) for array in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in parameters)
    old_bias = np.zeros(channels) if bias is None else np.asarray(bias, np.float64)
    with np.errstate(all="ignore"):  # what comes out is checked
        gain = gamma / np.sqrt(variance + float_attribute(norm, "epsilon", 1e-5))
        new_weight = (weight.astype(np.float64) * _gain_shaped(conv, weight, gain)).astype(weight.dtype)
        new_bias = ((old_bias - mean) * gain + beta).astype(weight.dtype)
    finite = all(np.isfinite(array.astype(np.float32)).all() for array in (new_weight, new_bias))
    return _Folded(new_weight, new_bias) if finite else None


def _output_channels(conv: ir.Node, weight: NDArray[np.generic]) -> int:
    """Return the number of output channels, 0 where the weight cannot be one (rules, section 1.5)."""
    groups = int_attribute(conv, "group", 1)
    if weight.ndim < 3 or groups < 1 or weight.shape[0] % groups:
        return 0
    return int(weight.shape[0] if conv.op_type == "Conv" else weight.shape[1] * groups)


def _gain_shaped(conv: ir.Node, weight: NDArray[np.generic], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape a gain of one element an output channel so that it multiplies the weight's layout (rules, section 1.5)."""
    kernel = (1,) * (weight.ndim - 2)
    if conv.op_type == "Conv":
        return gain.reshape(-1, 1, *kernel)
    # ConvTranspose weights are [C, M/g, k...]: input channel c belongs to group c // (C/g), with its own M/g outputs.
    groups = int_attribute(conv, "group", 1)
    per_group = gain.reshape(groups, weight.shape[1])
    return np.repeat(per_group, weight.shape[0] // groups, axis=0).reshape(*weight.shape[:2], *kernel)


def put_constant(graph: ir.Graph, node: ir.Node, slot: int, array: NDArray[np.generic], names: Names) -> None:
    """Give a node its own constant in a slot, under the old name where nothing else reads that."""
    old = input_at(node, slot)
    if old is not None and len(old.uses()) == 1 and not old.is_graph_output():
        old.const_value = ir.Tensor(array, name=old.name)
        return
    role = "weight" if slot == 1 else "bias"
    value = add_initializer(graph, names.value(f"{node.name}_{role}"), array)
    if slot >= len(node.inputs):
        node.resize_inputs(slot + 1)
    node.replace_input_with(slot, value)
