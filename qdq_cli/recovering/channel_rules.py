"""How each operator passes channel factors on (`channels`): a rule for each; every other one fixes its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from qdq_cli.model.bodies import places_of_bodies
from qdq_cli.model.linear import Linear, linear_of
from qdq_cli.model.nodes import (
    constant_at,
    constant_ints,
    input_at,
    int_attribute,
    ints_attribute,
    is_constant,
    static_dims,
    string_attribute,
)
from qdq_cli.recovering.channels import Channels, ChannelWalk, Ids


def scalable_channels(graph: ir.Graph) -> Channels:
    """Find the classes of a prepared graph, those in its bodies too: what crosses the edge of one keeps its values."""
    walk = ChannelWalk()
    for part in (graph, *(place.body for place in places_of_bodies(graph))):
        for node in part:
            _RULES.get(node.op_type, _pin_all)(walk, node) if not node.domain else _pin_all(walk, node)
        for value in part.outputs:
            walk.pin(value)
    return walk.channels()


def _own_constant(node: ir.Node, slot: int) -> ir.Value | None:
    """A constant operand that nothing else reads."""
    value = input_at(node, slot)
    if value is None or not is_constant(value) or len(value.uses()) != 1 or value.is_graph_output():
        return None
    return value


def _pin_all(walk: ChannelWalk, node: ir.Node) -> None:
    """An operator that does not pass factors on."""
    for value in node.inputs:
        walk.pin(value)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph().all_nodes():
                for value in inner.inputs:
                    walk.pin(value)


def _weighted(walk: ChannelWalk, node: ir.Node) -> None:
    linear, weight = linear_of(node), _own_constant(node, 1)
    data = input_at(node, 0)
    known = walk.find(data)
    axis = 1 if node.op_type.startswith("Conv") else (known[0] if known else 0)
    dims = static_dims(node.outputs[0])
    is_last = node.op_type.startswith("Conv") or (dims is not None and axis == len(dims) - 1)
    if linear is None or weight is None or linear.transposed_data or (known is not None and not is_last):
        _pin_all(walk, node)
        return
    ids = walk.get(data, axis) if known is not None else None
    if ids is not None:
        walk.scale(weight, _input_layout(linear, ids), divides=True)
    out_axis = 1 if node.op_type.startswith("Conv") else (None if dims is None else len(dims) - 1)
    if out_axis is None:
        return
    made = walk.fresh(linear.channels)
    walk.scale(weight, _output_layout(linear, made), divides=False)
    walk.put(node.outputs[0], out_axis, made)
    if node.op_type != "MatMul" and input_at(node, 2) is not None:
        _scale_addend(walk, node, 2, made)


def _scale_addend(walk: ChannelWalk, node: ir.Node, slot: int, ids: Ids, behind: int = 1) -> None:
    """Scale a bias along with what it is added to; where it cannot be, nothing is.

    `behind` is the channel axis, counted from the end: the one along which the bias holds its numbers.
    """
    value = _own_constant(node, slot)
    array = constant_at(node, slot)
    if array is not None and not np.any(array):
        return
    fits = array is not None and array.shape[-behind:][:1] == (ids.size,) and array.size == ids.size
    if value is None or array is None or array.ndim < behind or not fits:
        walk.pin(input_at(node, slot))
        walk.tie(ids, walk.fixed(ids.size))
        return
    walk.scale(value, ids.reshape(array.shape), divides=False)


def _output_layout(linear: Linear, ids: Ids) -> Ids:
    rest = (1,) * (len(linear.weight_shape) - 2)
    if linear.op_type == "Conv" or linear.transposed_weight:
        return ids.reshape(-1, 1, *rest)
    if linear.op_type == "ConvTranspose":
        return np.repeat(ids.reshape(linear.groups, -1), linear.inputs, axis=0).reshape(*linear.weight_shape[:2], *rest)
    return ids.reshape(1, -1)


def _input_layout(linear: Linear, ids: Ids) -> Ids:
    rest = (1,) * (len(linear.weight_shape) - 2)
    if linear.op_type == "Conv":
        outputs = linear.channels // linear.groups
        return np.repeat(ids.reshape(linear.groups, -1), outputs, axis=0).reshape(*linear.weight_shape[:2], *rest)
    if linear.op_type == "ConvTranspose" or not linear.transposed_weight:
        return ids.reshape(-1, 1, *rest)
    return ids.reshape(1, -1)


def _norm(walk: ChannelWalk, node: ir.Node) -> None:
    """LayerNormalization: what it reads keeps its values, what it makes is scaled with its gain and bias."""
    _pin_all(walk, node)
    gain, array, dims = _own_constant(node, 1), constant_at(node, 1), static_dims(node.outputs[0])
    if gain is None or array is None or dims is None or array.shape != dims[-1:]:
        return
    if int_attribute(node, "axis", -1) % len(dims) != len(dims) - 1:
        return
    made = walk.fresh(array.size)
    walk.scale(gain, made, divides=False)
    walk.is_norm(made)
    walk.put(node.outputs[0], len(dims) - 1, made)
    if input_at(node, 2) is not None:
        _scale_addend(walk, node, 2, made)


def _homogeneous_if(condition: Callable[[ir.Node, int], bool]) -> Callable[[ChannelWalk, ir.Node], None]:
    """The rule of a positively homogeneous operator that works channel by channel where a condition on it holds.

    The condition is asked with the channel axis. Further operands, as the slope of a PRelu, keep their values.
    """

    def rule(walk: ChannelWalk, node: ir.Node) -> None:
        known = walk.find(input_at(node, 0))
        for value in node.inputs[1:]:
            walk.pin(value)
        if known is not None and condition(node, known[0]):
            walk.put(node.outputs[0], *known)
        else:
            walk.pin(input_at(node, 0))

    return rule


def _clips_at_zero_alone(node: ir.Node, axis: int) -> bool:
    """Clip(0, inf) is Relu; with an upper bound, as ReLU6, it is not homogeneous."""
    low, high = constant_at(node, 1), constant_at(node, 2)
    return (
        low is not None
        and not np.any(low)
        and (input_at(node, 2) is None or (high is not None and bool(np.isinf(high))))
    )


def _pads_zeros(node: ir.Node, axis: int) -> bool:
    """Zeros, and none of them as further channels."""
    pads, fill = constant_ints(node, 1), constant_at(node, 2)
    zero = input_at(node, 2) is None or (fill is not None and not np.any(fill))
    plain = string_attribute(node, "mode", "constant") == "constant" and input_at(node, 3) is None
    return plain and zero and pads is not None and not pads[axis] and not pads[axis + len(pads) // 2]


def _resizes_space(node: ir.Node, axis: int) -> bool:
    before, after = static_dims(input_at(node, 0)), static_dims(node.outputs[0])
    keeps = axis == 1 and before is not None and after is not None and before[1] == after[1] is not None
    return keeps and string_attribute(node, "coordinate_transformation_mode", "") != "tf_crop_and_resize"


def _pools_space(node: ir.Node, axis: int) -> bool:
    """Channels before the axes that are pooled, and places that nobody asks for."""
    return axis < 2 and not any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def _add(walk: ChannelWalk, node: ir.Node) -> None:
    """Add and Sub: operands are scaled alike; a constant is scaled along."""
    constants = [slot for slot in (0, 1) if is_constant(input_at(node, slot))]
    if not constants:
        _tied(walk, node)
        return
    data = input_at(node, 1 - constants[0])
    known, rank = walk.find(data), len(static_dims(data) or ())
    if known is None:
        return
    if _keeps_channels(node, rank, known):
        _scale_addend(walk, node, constants[0], known[1], rank - known[0])
        walk.put(node.outputs[0], *known)
    else:
        _pin_all(walk, node)


def _keeps_channels(node: ir.Node, rank: int, known: tuple[int, Ids]) -> bool:
    """Whether what an operand of this rank is broadcast to has its channels, on the same axis."""
    dims, (axis, ids) = static_dims(node.outputs[0]), known
    return dims is not None and len(dims) == rank and dims[axis] == ids.size


def _tied(walk: ChannelWalk, node: ir.Node) -> None:
    """Operands of one shape (or one that is broadcast over space) are scaled alike: Add, Sub, Max, Min, Sum."""
    found = [walk.find(value) for value in node.inputs]
    dims = [static_dims(value) for value in node.inputs]
    first = found[0]
    alike = first is not None and all(
        one is not None and one[0] == first[0] and one[1].size == first[1].size for one in found
    )
    if not alike or first is None or any(shape is None or len(shape) != len(dims[0] or ()) for shape in dims):
        _pin_all(walk, node)
        return
    for one in found[1:]:
        if one is not None:
            walk.tie(first[1], one[1])
    walk.put(node.outputs[0], *first)


def _product(walk: ChannelWalk, node: ir.Node) -> None:
    """Mul: linear in each operand, so one of them is scaled and the other, a gate or a constant, keeps its values."""
    for slot in (0, 1):
        known, value = walk.find(input_at(node, slot)), input_at(node, slot)
        rank = len(static_dims(value) or ())
        if known is not None and _keeps_channels(node, rank, known) and not _is_gate(value):
            walk.pin(input_at(node, 1 - slot))
            walk.put(node.outputs[0], *known)
            return
    _pin_all(walk, node)


def _is_gate(value: ir.Value | None) -> bool:
    """One number a channel, broadcast over space."""
    dims = static_dims(value)
    return dims is not None and len(dims) > 2 and all(size == 1 for size in dims[2:])


def _quotient(walk: ChannelWalk, node: ir.Node) -> None:
    """Div by a constant; nothing else passes factors on."""
    if is_constant(input_at(node, 1)):
        _product(walk, node)
    else:
        _pin_all(walk, node)


def _concat(walk: ChannelWalk, node: ir.Node) -> None:
    found = [walk.find(value) for value in node.inputs]
    some = next((one for one in found if one is not None), None)
    dims = [static_dims(value) for value in node.inputs]
    if some is None:
        return
    axis = some[0]
    if any(shape is None or len(shape) <= axis for shape in dims) or any(one and one[0] != axis for one in found):
        _pin_all(walk, node)
        return
    if int_attribute(node, "axis", 0) % len(dims[0] or (1,)) != axis:
        _tied(walk, node)
        return
    sizes = [shape[axis] if shape is not None else None for shape in dims]
    if any(size is None for size in sizes):
        _pin_all(walk, node)
        return
    parts = [one[1] if one is not None else walk.fixed(size or 0) for one, size in zip(found, sizes, strict=True)]
    walk.put(node.outputs[0], axis, np.concatenate(parts))


def _split(walk: ChannelWalk, node: ir.Node) -> None:
    known, dims = walk.find(input_at(node, 0)), [static_dims(value) for value in node.outputs]
    if known is None:
        return
    axis, ids = known
    along = dims[0] is not None and int_attribute(node, "axis", 0) % len(dims[0]) == axis
    start = 0
    for value, shape in zip(node.outputs, dims, strict=True):
        size = shape[axis] if shape is not None else None
        if size is None:
            walk.pin(input_at(node, 0))
            return
        walk.put(value, axis, ids[start : start + size] if along else ids)
        start += size


def _slice(walk: ChannelWalk, node: ir.Node) -> None:
    known, dims = walk.find(input_at(node, 0)), static_dims(input_at(node, 0))
    starts, ends = constant_ints(node, 1), constant_ints(node, 2)
    if known is None or dims is None or starts is None or ends is None:
        _pin_all(walk, node)
        return
    axes = constant_ints(node, 3) if input_at(node, 3) is not None else tuple(range(len(starts)))
    steps = constant_ints(node, 4) if input_at(node, 4) is not None else (1,) * len(starts)
    if axes is None or steps is None:
        _pin_all(walk, node)
        return
    axis, ids = known
    for number, place in enumerate(axes):
        if place % len(dims) == axis:
            if steps[number] < 0:
                _pin_all(walk, node)
                return
            ids = ids[starts[number] : ends[number] : steps[number]]
    walk.put(node.outputs[0], axis, ids)


def _transpose(walk: ChannelWalk, node: ir.Node) -> None:
    known, order = walk.find(input_at(node, 0)), ints_attribute(node, "perm")
    if known is not None and order is not None:
        walk.put(node.outputs[0], order.index(known[0]), known[1])
    else:
        _pin_all(walk, node)


def _reshape(walk: ChannelWalk, node: ir.Node) -> None:
    """Channels stay together where their axis keeps its size and its place from the front or the back.

    Flattening [N, C, H, W] to [N, C * H * W] gives every channel H * W elements in a row.
    """
    known = walk.find(input_at(node, 0))
    before, after = static_dims(input_at(node, 0)), static_dims(node.outputs[0])
    if known is None or before is None or after is None:
        _pin_all(walk, node)
        return
    axis, ids = known
    if axis == len(before) - 1 and after[-1:] == (ids.size,):
        walk.put(node.outputs[0], len(after) - 1, ids)
    elif axis == 1 and len(after) > 2 and after[1] == ids.size and before[0] == after[0] is not None:
        walk.put(node.outputs[0], 1, ids)
    elif axis == 1 and len(after) == 2 and after[1] is not None and None not in before[2:]:
        elements = int(np.prod([size for size in before[2:] if size is not None]))
        if after[1] == ids.size * elements:
            walk.put(node.outputs[0], 1, np.repeat(ids, elements))
            return
        _pin_all(walk, node)
    else:
        _pin_all(walk, node)


def _reduce(walk: ChannelWalk, node: ir.Node) -> None:
    """A mean, sum or maximum over axes other than the channels."""
    known, dims = walk.find(input_at(node, 0)), static_dims(input_at(node, 0))
    axes = constant_ints(node, 1) if input_at(node, 1) is not None else ints_attribute(node, "axes")
    if known is None or dims is None or not axes:  # no axes at all are all axes
        _pin_all(walk, node)
        return
    reduced = {axis % len(dims) for axis in axes}
    if known[0] in reduced:
        _pin_all(walk, node)
        return
    gone = 0 if int_attribute(node, "keepdims", 1) else sum(axis < known[0] for axis in reduced)
    walk.put(node.outputs[0], known[0] - gone, known[1])


_ALWAYS = _homogeneous_if(lambda node, axis: True)
_POOL = _homogeneous_if(_pools_space)
_RULES: Mapping[str, Callable[[ChannelWalk, ir.Node], None]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _weighted),
    "LayerNormalization": _norm,
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Abs", "Neg", "Identity", "Dropout"), _ALWAYS),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _POOL),
    "Clip": _homogeneous_if(_clips_at_zero_alone),
    "Pad": _homogeneous_if(_pads_zeros),
    **dict.fromkeys(("Resize", "Upsample"), _homogeneous_if(_resizes_space)),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Max", "Min", "Sum"), _tied),
    "Mul": _product,
    "Div": _quotient,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduce),
}
"""How each operator passes factors on; every other one does not."""
