"""Fold what is constant: whole constant subgraphs, and batch normalization into the convolution before it.

Each function is one small rewrite with one contract: the model computes the same function (to float rounding) and the
graph's inputs and outputs keep their names, types and shapes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from qdq_cli.errors import ModelError
from qdq_cli.graph.names import Names
from qdq_cli.graph.nodes import (
    ONNX_DOMAIN,
    constant_at,
    float_attribute,
    input_at,
    int_attribute,
    is_constant,
    is_op,
    only_consumer,
)
from qdq_cli.graph.outputs import without_weights
from qdq_cli.graph.session import SessionOptions, Source, as_model_error, make_session

NEVER_FOLDED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"}
    | {"Multinomial", "Bernoulli", "Dropout", "If", "Loop", "Scan", "SequenceMap"}
)
"""Q/DQ on constants are the user's quantized weights; the rest is random or runs a body."""

EXPANDING = frozenset({"Expand", "Tile", "ConstantOfShape", "Range", "Resize", "Upsample", "Pad", "OneHot", "EyeLike"})
"""Operators whose output can dwarf their inputs; folded only when the output's size is known and small."""

MAX_FOLDED_ELEMENTS = 1 << 24


def fold_constants(model: ir.Model) -> int:
    """Replace every subgraph that depends on constants alone by initializers; returns how many nodes went.

    The subgraphs run once in ONNX Runtime with its optimisations off. A constant weight that reaches its operator
    through Transpose or Reshape becomes a plain initializer, which TensorRT requires of quantized weights (A22).
    """
    foldable = _foldable_nodes(model.graph)
    frontier = [value for node in foldable for value in node.outputs if _leaves(value, foldable)]
    if not frontier:
        return 0
    try:
        arrays = _evaluate(model, [value.name or "" for value in frontier])
    except ModelError:
        # An operator ONNX Runtime cannot run on these constants: leave them; the session of the model will say why.
        return 0
    for value, array in zip(frontier, arrays, strict=True):
        _replace_by_initializer(model.graph, value, array)
    passes.RemoveUnusedNodesPass()(model)
    return len(foldable)


def _foldable_nodes(graph: ir.Graph) -> dict[ir.Node, None]:
    """Return the nodes that depend on constants alone, in graph order."""
    foldable: dict[ir.Node, None] = {}
    for node in graph:
        deterministic = node.domain == ONNX_DOMAIN and node.op_type not in NEVER_FOLDED
        if deterministic and node.inputs and _inputs_known(node, foldable) and _size_is_bounded(node):
            foldable[node] = None
    return foldable


def _inputs_known(node: ir.Node, foldable: dict[ir.Node, None]) -> bool:
    return all(
        value is None or is_constant(value) or (value.producer() in foldable and not value.is_graph_input())
        for value in node.inputs
    )


def _size_is_bounded(node: ir.Node) -> bool:
    for value in node.outputs:
        known = value.shape is not None and value.shape.is_static()
        if known and int(np.prod(value.shape.numpy())) > MAX_FOLDED_ELEMENTS:  # type: ignore[union-attr]
            return False
        if not known and node.op_type in EXPANDING:
            return False
    return True


def _leaves(value: ir.Value, foldable: dict[ir.Node, None]) -> bool:
    """Say whether a folded value is read outside the folded nodes; graph outputs keep their node."""
    if value.is_graph_output():
        return False
    return any(user not in foldable or _has_output(user) for user in value.consumers())


def _has_output(node: ir.Node) -> bool:
    return any(value.is_graph_output() for value in node.outputs)


def _evaluate(model: ir.Model, names: list[str]) -> list[NDArray[np.generic]]:
    """Run the part of the model that makes these values; it depends on no graph input."""
    part = model.clone()
    values = ir.convenience.create_value_mapping(part.graph)
    part.graph.outputs[:] = [values[name] for name in names]
    part.graph.inputs.clear()
    part.functions.clear()
    passes.RemoveUnusedNodesPass()(part)
    proto, weights = without_weights(part)
    session = make_session(Source(proto.SerializeToString(), weights), SessionOptions(threads=1, optimize=False))
    with as_model_error("fold the model's constants"):
        arrays: list[NDArray[np.generic]] = session.run(names, {})
    return arrays


def _replace_by_initializer(graph: ir.Graph, value: ir.Value, array: NDArray[np.generic]) -> None:
    name = value.name or ""
    value.name = f"{name}_computed"
    initializer = add_initializer(graph, name, array)
    ir.convenience.replace_all_uses_with(value, initializer)


def add_initializer(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Register a new initializer under a name that must be free.

    Args:
        graph: The graph that gets it.
        name: Its name.
        array: Its data, of any shape.
    """
    tensor = ir.Tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def fold_batch_norms(model: ir.Model) -> int:
    """Fold every BatchNormalization that directly follows a Conv or ConvTranspose into it; returns how many went.

    W' = W * g, b' = (b - mean) * g + beta with g = gamma / sqrt(var + epsilon) a channel, computed in float64. With max
    ranges per output channel the integer weights do not change by it (P3); ConvTranspose has no fused form at all (P4).
    """
    pairs = [(conv, norm) for conv in model.graph if (norm := _norm_behind(conv)) is not None]
    for conv, norm in pairs:
        _fold_pair(model.graph, conv, norm)
    if pairs:
        passes.RemoveUnusedNodesPass()(model)
    return len(pairs)


def _norm_behind(conv: ir.Node) -> ir.Node | None:
    if not is_op(conv, "Conv", "ConvTranspose") or not is_constant(input_at(conv, 1)):
        return None
    if input_at(conv, 2) is not None and not is_constant(input_at(conv, 2)):
        return None
    use = only_consumer(conv.outputs[0])
    if use is None or use[1] != 0 or not is_op(use[0], "BatchNormalization"):
        return None
    norm = use[0]
    if int_attribute(norm, "training_mode", 0) or len([out for out in norm.outputs if out.uses()]) > 1:
        return None
    return norm if all(is_constant(input_at(norm, slot)) for slot in (1, 2, 3, 4)) else None


def _fold_pair(graph: ir.Graph, conv: ir.Node, norm: ir.Node) -> None:
    gamma, beta, mean, variance = (np.asarray(constant_at(norm, slot), np.float64) for slot in (1, 2, 3, 4))
    gain = gamma / np.sqrt(variance + float_attribute(norm, "epsilon", 1e-5))
    weight = np.asarray(constant_at(conv, 1))
    bias = constant_at(conv, 2)
    old_bias = np.zeros_like(gain) if bias is None else np.asarray(bias, np.float64)
    new_weight = (weight.astype(np.float64) * _gain_shaped(conv, weight, gain)).astype(weight.dtype)
    new_bias = ((old_bias - mean) * gain + beta).astype(weight.dtype)
    _put_constant(graph, conv, 1, new_weight, f"{conv.name}_weight")
    _put_constant(graph, conv, 2, new_bias, f"{conv.name}_bias")
    take_over_output(norm.outputs[0], conv.outputs[0])
    graph.remove(norm, safe=True)


def _gain_shaped(conv: ir.Node, weight: NDArray[np.generic], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape a gain of one element an output channel so that it multiplies the weight's layout (rules, section 1.5)."""
    kernel = (1,) * (weight.ndim - 2)
    if conv.op_type == "Conv":
        return gain.reshape(-1, 1, *kernel)
    # ConvTranspose weights are [C, M/g, k...]: input channel c belongs to group c // (C/g), with its own M/g outputs.
    groups = int_attribute(conv, "group", 1)
    per_group = gain.reshape(groups, weight.shape[1])
    return np.repeat(per_group, weight.shape[0] // groups, axis=0).reshape(*weight.shape[:2], *kernel)


def _put_constant(graph: ir.Graph, node: ir.Node, slot: int, array: NDArray[np.generic], name: str) -> None:
    """Give a node its own constant in a slot, under the old name where nothing else reads that."""
    old = input_at(node, slot)
    if old is not None and len(old.uses()) == 1 and not old.is_graph_output():
        old.const_value = ir.Tensor(array, name=old.name)
        return
    value = add_initializer(graph, Names(graph).value(name), array)
    if slot >= len(node.inputs):
        node.resize_inputs(slot + 1)
    node.replace_input_with(slot, value)


def take_over_output(old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand wherever `old` was read; it also takes the name, which the user or a graph output knows."""
    name = old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.shape = old.shape if old.shape is not None else new.shape
    new.type = old.type if old.type is not None else new.type
    old.name = f"{name}_replaced"
    new.name = name
