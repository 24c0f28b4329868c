"""Fold whole constant subgraphs into initializers.

The model computes the same function (to float rounding), and the graph's inputs and outputs keep their names, types
and shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from qdq_cli.model.fingerprint import RECIPE, tensor_digests
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    ONNX_DOMAIN,
    consumers,
    is_constant,
    is_float,
    is_op,
)
from qdq_cli.process.errors import ModelError

NEVER_FOLDED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"}
    | {"Multinomial", "Bernoulli", "Dropout", "If", "Loop", "Scan", "SequenceMap"}
)
"""Q/DQ on constants are the user's quantized weights; the rest is random or runs a body."""

EXPANDING = frozenset({"Expand", "Tile", "ConstantOfShape", "Range", "Resize", "Upsample", "Pad", "OneHot", "EyeLike"})
"""Operators that make much out of little; what they make is folded only when it is known to be small."""

MAX_EXPANDED_ELEMENTS = 1 << 16
"""Largest result of an expanding operator that is folded, unless its inputs are as large or it becomes a weight: the
model has to store it."""

MAX_FOLDED_ELEMENTS = 1 << 26
"""Largest result of any other operator, and largest weight, that is folded although it is larger than what it is made
from. What is no larger than its operands is folded at any size: they take that much room already."""

_SAME_IN_NUMPY = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BOOL}
    | {ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64}
    | {ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64}
)
"""Element types ONNX Runtime hands out as they are; FP8 comes as UINT8, INT4 not at all."""

_EXACT = frozenset(
    {"Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "Cast", "CastLike", "Ceil", "Clip", "Compress"}
    | {"Concat", "ConstantOfShape", "DepthToSpace", "Div", "Equal", "Expand", "EyeLike", "Flatten", "Floor"}
    | {"Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN"}
    | {"Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "OneHot", "Or", "Pad"}
    | {"Range", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Shape", "Sign", "Size", "Slice"}
    | {"SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "TopK", "Transpose", "Trilu", "Unique"}
    | {"Unsqueeze", "Where", "Xor"}
)
"""Operators that move values, or round as IEEE 754 prescribes: every processor gives the same bits. Sums, products of
matrices, powers and all other functions may differ in the last one."""

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_MAX_ATTEMPTS = 32


def fold_constants(model: ir.Model, *, products: bool = True) -> int:
    """Replace every subgraph that depends on constants alone by initializers; returns how many nodes went.

    The subgraphs run once in ONNX Runtime with its optimisations off. A constant weight that reaches its operator
    through Transpose or Reshape becomes a plain initializer, which TensorRT requires of quantized weights (A22). What
    ONNX Runtime cannot compute stays; the session of the model will say why.

    Args:
        model: Its values have names, and types and shapes as far as they can be inferred.
        products: Fold weighted operators too; else they stay, with what they lead to, unless it is a weight.
    """
    foldable = foldable_nodes(model.graph, products=products)
    frontier = {value.name or "": value for node in foldable for value in node.outputs if _leaves(value, foldable)}
    if not frontier:
        return 0
    names = Names(model.graph)
    recipes = _recipes(model.graph, foldable, frontier)
    for name, array in _evaluate(model, list(frontier)).items():
        initializer = _replace_by_initializer(model.graph, frontier[name], array, names)
        if name in recipes:
            initializer.meta[RECIPE] = recipes[name]
    passes.RemoveUnusedNodesPass()(model)
    return sum(node.graph is None for node in foldable)


def computed(model: ir.Model, values: Iterable[ir.Value]) -> dict[ir.Value, NDArray[np.generic]]:
    """Compute values that depend on constants alone, bit for bit as ONNX Runtime does with its optimisations off.

    Args:
        model: Its values have names.
        values: Some of its values; Q and DQ may stand before them.

    Returns:
        Value -> its array; what ONNX Runtime cannot compute is missing.
    """
    wanted = {value.name or "": value for value in values}
    return {wanted[name]: array for name, array in _evaluate(model, list(wanted)).items()} if wanted else {}


def foldable_nodes(graph: ir.Graph, *, products: bool = True) -> dict[ir.Node, None]:
    """Return the nodes that depend on constants alone, in graph order; Q and DQ are never among them."""
    foldable: dict[ir.Node, None] = {}
    for node in graph:
        deterministic = node.domain == ONNX_DOMAIN and node.op_type not in NEVER_FOLDED
        known = deterministic and node.inputs and _inputs_known(node, foldable) and _size_is_bounded(node)
        if known and (products or not is_op(node, *_WEIGHTED) or _becomes_weight(node)):
            foldable[node] = None
    return foldable


def _becomes_weight(node: ir.Node) -> bool:
    """Say whether a weighted operator reads what a node makes as its weight or bias, at once or through others."""
    work, seen = [node], {node}
    while work:
        for value in work.pop().outputs:
            for user, slot in consumers(value):
                if is_op(user, *_WEIGHTED):
                    if slot > 0:
                        return True
                elif user not in seen and _is_constant_but_for(user, seen):
                    seen.add(user)
                    work.append(user)
    return False


def _is_constant_but_for(node: ir.Node, nodes: set[ir.Node]) -> bool:
    return all(value is None or is_constant(value) or value.producer() in nodes for value in node.inputs)


def _recipes(graph: ir.Graph, foldable: dict[ir.Node, None], frontier: dict[str, ir.Value]) -> dict[str, str]:
    """Return the digest of how it is made for each value whose bits may depend on the processor that folds it.

    What is made of a constant that counts by its recipe counts by its own recipe too.
    """
    inexact: set[ir.Node] = set()
    for node in foldable:
        rounds = node.op_type not in _EXACT and any(is_float(value) for value in node.outputs)
        rounds = rounds or any(value is not None and RECIPE in value.meta for value in node.inputs)
        if rounds or not inexact.isdisjoint(node.predecessors()):
            inexact.add(node)
    names = [name for name, value in frontier.items() if value.producer() in inexact]
    if not names:
        return {}
    digests = tensor_digests(graph)
    return {name: digests[name] for name in names}


def _inputs_known(node: ir.Node, foldable: dict[ir.Node, None]) -> bool:
    return all(
        value is None or is_constant(value) or (value.producer() in foldable and not value.is_graph_input())
        for value in node.inputs
    )


def _size_is_bounded(node: ir.Node) -> bool:
    sizes = [_elements(value) for value in node.outputs]
    given = sum(_elements(value) or 0 for value in node.inputs if value is not None)
    if node.op_type not in EXPANDING:
        return all(size is None or size <= max(MAX_FOLDED_ELEMENTS, given) for size in sizes)
    if all(size is not None and size <= max(MAX_EXPANDED_ELEMENTS, given) for size in sizes):
        return True
    small = all(size is not None and size <= MAX_FOLDED_ELEMENTS for size in sizes)
    return small and _becomes_weight(node)


def _elements(value: ir.Value) -> int | None:
    """Return the number of elements of a value, None where it is unknown."""
    shape = value.shape if value.const_value is None else value.const_value.shape
    if shape is None or any(not isinstance(dim, int) for dim in shape):
        return None
    return math.prod(shape.numpy())


def _leaves(value: ir.Value, foldable: dict[ir.Node, None]) -> bool:
    """Say whether a folded value is read outside the folded nodes; graph outputs keep their node."""
    if value.is_graph_output():
        return False
    return any(user not in foldable or _has_output(user) for user in value.consumers())


def _has_output(node: ir.Node) -> bool:
    return any(value.is_graph_output() for value in node.outputs)


def _evaluate(model: ir.Model, names: list[str]) -> dict[str, NDArray[np.generic]]:
    """Compute values that depend on constants alone, all of them in one session, or as many as can be computed."""
    arrays: dict[str, NDArray[np.generic]] = {}
    parts = [names]
    for _ in range(_MAX_ATTEMPTS):
        if not parts:
            break
        part = parts.pop()
        try:
            arrays |= _run(model, part)
        except ModelError:  # one of them cannot be computed: look for it among half of them
            middle = len(part) // 2
            parts += [half for half in (part[:middle], part[middle:]) if half and middle]
    return arrays


def _run(model: ir.Model, names: list[str]) -> dict[str, NDArray[np.generic]]:
    """Run the part of the model that makes these values; keeps those that come back as the tensors they are."""
    from qdq_cli.running.outputs import without_weights  # most models have nothing to fold, and load no runtime
    from qdq_cli.running.session import SessionOptions, Source, as_model_error, make_session

    part = ir.Model(ir.convenience.extract(model.graph, [], names), ir_version=model.ir_version)
    outputs = list(part.graph.outputs)
    part.graph.outputs[:] = [_in_numpy_type(part.graph, value) for value in outputs]
    proto, weights = without_weights(part)
    session = make_session(Source(proto.SerializeToString(), weights), SessionOptions(threads=1, optimize=False))
    with as_model_error("fold the model's constants"):
        arrays = session.run(None, {})
    found = {}
    for name, value, array in zip(names, outputs, arrays, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            continue  # a sequence, or strings
        if value.dtype is None or value.dtype in _SAME_IN_NUMPY:
            found[name] = array
        elif value.dtype == ir.DataType.BFLOAT16:
            found[name] = array.astype(value.dtype.numpy())
    return found


def _in_numpy_type(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Return the value, for BF16 (which ONNX Runtime does not hand out) widened to FP32, which loses nothing."""
    if value.dtype != ir.DataType.BFLOAT16:
        return value
    cast = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)})
    graph.append(cast)
    cast.outputs[0].name = f"{value.name}_widened"
    return cast.outputs[0]


def _replace_by_initializer(graph: ir.Graph, value: ir.Value, array: NDArray[np.generic], names: Names) -> ir.Value:
    name = value.name or ""
    value.name = names.value(f"{name}_computed")
    initializer = add_initializer(graph, name, array)
    ir.convenience.replace_all_uses_with(value, initializer)
    return initializer
