"""Replace what is computed from shapes by constants, wherever the sizes it depends on are fixed.

Exporters write chunk(), split() and view() as Slices and Reshapes whose operands come from Shape. Every such operand is
a constant once the size is known, even where other sizes of the same tensor are not. Sizes count only as far as they
follow from the graph inputs, which a runtime enforces; what a file declares about inner tensors may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from qdq_cli.model.fingerprint import RECIPE, tensor_digests
from qdq_cli.model.inference import inferred_graph
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import int_attribute, is_constant, is_op
from qdq_cli.model.wire import to_proto, weights_left_out
from qdq_cli.preparing.branches import take_known_branches
from qdq_cli.preparing.fold import fold_constants

Known = NDArray[np.object_]
"""Integers of rank 0 or 1, None where one is not known."""

_Sizes = Mapping[str, Sequence[int | None]]
"""Tensor -> its sizes, None for those that are not fixed."""

_MAX_ROUNDS = 8
_MAX_ELEMENTS = 64
_INTEGERS = frozenset({ir.DataType.INT32, ir.DataType.INT64})


def fold_known(model: ir.Model, infer: Callable[[ir.Model], None]) -> int:
    """Fold constants, and what follows from fixed sizes, until nothing more is known; returns how many nodes went.

    Args:
        model: Its values have names, and types and shapes as far as they can be inferred.
        infer: Infers types and shapes again.
    """
    count = 0
    for _ in range(_MAX_ROUNDS):
        before = len(model.graph)
        known = _fold_likes(model.graph)
        fold_constants(model)  # first, for what is made of constants alone keeps its name
        known += take_known_branches(model.graph)
        if sizes := _fold_sizes(model):
            known += sizes
            fold_constants(model)
        if known:
            passes.RemoveUnusedNodesPass()(model)
        count += before - len(model.graph)
        if not known:
            break
        infer(model)
    return count


def _fold_likes(graph: ir.Graph) -> int:
    """Turn CastLike into Cast where the type is known: of its second operand nothing else is read."""
    count = 0
    for node in graph:
        like = node.inputs[1] if is_op(node, "CastLike") else None
        if like is not None and like.dtype not in (None, ir.DataType.UNDEFINED):
            node.op_type = "Cast"
            node.resize_inputs(1)
            node.attributes["to"] = ir.AttrInt64("to", int(like.dtype))
            count += 1
    return count


def _fold_sizes(model: ir.Model) -> int:
    """Replace every value that follows from fixed sizes by an initializer; returns how many there were."""
    if not any(is_op(node, "Shape", "Size") for node in model.graph):
        return 0
    known = _known_values(model.graph, _sizes(model))
    replaced = [
        value
        for value, elements in known.items()
        if value.dtype in _INTEGERS and _is_worth_replacing(value, elements, known)
    ]
    if not replaced:
        return 0
    names, digests = Names(model.graph), tensor_digests(model.graph)
    for value in replaced:
        array: NDArray[np.generic] = known[value].astype(np.int32 if value.dtype == ir.DataType.INT32 else np.int64)
        constant = add_initializer(model.graph, names.value(f"{value.name}_known"), array)
        constant.meta[RECIPE] = digests[value.name or ""]  # a calibration cache knows it by how it was computed
        ir.convenience.replace_all_uses_with(value, constant)
    return len(replaced)


def _is_worth_replacing(value: ir.Value, elements: Known, known: Mapping[ir.Value, Known]) -> bool:
    """Say whether a value is known whole and read by anything that is not replaced itself."""
    if value.producer() is None or value.is_graph_output() or not _is_whole(elements):
        return False
    replaced = (
        all(out in known and _is_whole(known[out]) and not out.is_graph_output() for out in user.outputs)
        for user in value.consumers()
    )
    return bool(value.uses()) and not all(replaced)


def _is_whole(elements: Known) -> bool:
    return all(element is not None for element in elements.reshape(-1))


def _sizes(model: ir.Model) -> _Sizes:
    """Infer the sizes of all tensors from the graph inputs alone."""
    with weights_left_out(model):
        proto = to_proto(model)
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = inferred_graph(proto)
    if inferred is None:
        return {}
    infos = (*inferred.input, *inferred.value_info, *inferred.output)
    return {
        info.name: [dim.dim_value if dim.HasField("dim_value") else None for dim in info.type.tensor_type.shape.dim]
        for info in infos
        if info.type.tensor_type.HasField("shape")
    }


def _known_values(graph: ir.Graph, sizes: _Sizes) -> dict[ir.Value, Known]:
    """Follow sizes through the operators that pick, join and add them up, in graph order."""
    known: dict[ir.Value, Known] = {}
    for node in graph:
        rule = _RULES.get(node.op_type) if is_op(node, node.op_type) else None
        if rule is None or not node.inputs:
            continue
        found = rule(node, [_operand(value, known, sizes) for value in node.inputs], sizes)
        if found is not None and found.size <= _MAX_ELEMENTS:
            known[node.outputs[0]] = found
    return known


def _operand(value: ir.Value | None, known: Mapping[ir.Value, Known], sizes: _Sizes) -> Known | None:
    if value is None or not is_constant(value) or value.const_value is None:
        return None if value is None else known.get(value)
    tensor = value.const_value
    if tensor.dtype not in _INTEGERS or tensor.size > _MAX_ELEMENTS or len(tensor.shape) > 1:
        return None
    return tensor.numpy().astype(object)


_Rule = Callable[[ir.Node, Sequence["Known | None"], _Sizes], "Known | None"]


def _sizes_of(node: ir.Node, sizes: _Sizes) -> Sequence[int | None] | None:
    value = node.inputs[0]
    if value is not None and is_constant(value) and value.const_value is not None:
        return [int(dim) for dim in value.const_value.shape.numpy()]
    return None if value is None else sizes.get(value.name or "")


def _shape(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    found = _sizes_of(node, sizes)
    if found is None:
        return None
    end = int_attribute(node, "end", len(found))
    return np.array(found[int_attribute(node, "start", 0) : end], dtype=object)


def _size(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    found = _sizes_of(node, sizes)
    if found is None or None in found:
        return None
    return np.array(int(np.prod(np.array(found, dtype=object))), dtype=object)


def _gather(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    data, indices = operands[:2]
    if data is None or indices is None or data.ndim != 1 or not _is_whole(indices):
        return None
    if any(not -len(data) <= index < len(data) for index in indices.reshape(-1)):
        return None
    return np.array(data[indices.astype(np.int64)], dtype=object)


def _slice(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    data = operands[0]
    bounds = [None if operand is None else operand.reshape(-1) for operand in operands[1:]]
    if data is None or data.ndim != 1 or len(bounds) < 2:
        return None
    given = [value is not None for value in node.inputs[1:]]
    if any(is_given and (bound is None or not _is_whole(bound)) for is_given, bound in zip(given, bounds, strict=True)):
        return None
    start, end, *rest = [None if bound is None or not bound.size else int(bound[0]) for bound in bounds]
    step = rest[1] if len(rest) > 1 and rest[1] is not None else 1
    return None if step <= 0 else data[start:end:step]


def _concat(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    """Join what is known; an operand of which only the length is known counts with that many unknown elements."""
    parts = []
    for value, operand in zip(node.inputs, operands, strict=True):
        part = _unknown_elements(value, sizes) if operand is None else operand
        if part is None or part.ndim != 1:
            return None
        parts.append(part)
    return np.concatenate(parts)


def _unknown_elements(value: ir.Value | None, sizes: _Sizes) -> Known | None:
    length = None if value is None else sizes.get(value.name or "")
    if length is None or len(length) != 1 or length[0] is None or length[0] > _MAX_ELEMENTS:
        return None
    return np.full(length[0], None, dtype=object)


def _flat(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    """Unsqueeze, Squeeze and Reshape between rank 0 and rank 1."""
    data, result = operands[0], sizes.get(node.outputs[0].name or "")
    if data is None or result is None or len(result) > 1 or (data.size != 1 and data.ndim != len(result)):
        return None
    return data.reshape(() if not result else (-1,))


def _same(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
    return operands[0] if node.outputs[0].dtype in _INTEGERS else None


def _pairwise(compute: Callable[[int, int], int | None]) -> _Rule:
    def rule(node: ir.Node, operands: Sequence[Known | None], sizes: _Sizes) -> Known | None:
        first, second = operands[:2]
        if first is None or second is None or (first.size != second.size and 1 not in (first.size, second.size)):
            return None
        one, other = np.broadcast_arrays(first, second)
        found = [
            None if a is None or b is None else compute(a, b)
            for a, b in zip(one.reshape(-1), other.reshape(-1), strict=True)
        ]
        return np.array(found, dtype=object).reshape(one.shape)

    return rule


def _quotient(a: int, b: int) -> int | None:
    """Divide as ONNX does, towards zero."""
    return None if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


_RULES: dict[str, _Rule] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    **dict.fromkeys(("Unsqueeze", "Squeeze", "Reshape"), _flat),
    **dict.fromkeys(("Cast", "Identity"), _same),
    "Add": _pairwise(lambda a, b: a + b),
    "Sub": _pairwise(lambda a, b: a - b),
    "Mul": _pairwise(lambda a, b: a * b),
    "Div": _pairwise(_quotient),
    "Min": _pairwise(min),
    "Max": _pairwise(max),
}
