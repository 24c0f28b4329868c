"""Forms of operators, as questions about one node; the table of the importer asks them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import onnx_ir as ir

from qdq_cli.model.nodes import (
    constant_at,
    constant_ints,
    inner_graphs,
    input_at,
    int_attribute,
    ints_attribute,
    is_constant,
    is_op,
    rank,
    static_dims,
    string_attribute,
)
from qdq_cli.model.scales import holds_constant

Condition = Callable[[ir.Node], bool]

_HOPS = 64
"""Nodes that are looked back over for what a value is computed from; more of them stand for a shape computation."""

_ACTIVATIONS = frozenset(
    {"relu", "tanh", "sigmoid", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu", "softsign"}
    | {"softplus"}
)
_DEFAULT_ACTIVATIONS = {"GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "RNN": ("Tanh",)}

_NO_LIMIT = 2**31 - 1

LRN_WIDEST = 15
"""Widest window of a local response normalization; the narrowest is 1, and all are odd."""


def is_computed(slot: int) -> Condition:
    """Ask whether an input is anything but a constant of the model, or a constant behind Q and DQ."""
    return lambda node: (value := input_at(node, slot)) is not None and not holds_constant(value)


def is_data(slot: int) -> Condition:
    """Ask whether an input depends on the numbers that are put into the model, not on shapes and constants alone."""
    return lambda node: any(True for _ in _inputs_behind(input_at(node, slot)))


def is_float_data(slot: int) -> Condition:
    """Ask whether an input depends on floats that are put into the model; a shape may be made of integers alone."""
    return lambda node: any(
        value.dtype is not None and value.dtype.is_floating_point() for value in _inputs_behind(input_at(node, slot))
    )


def any_of(*conditions: Condition) -> Condition:
    """Ask whether one of several conditions holds."""
    return lambda node: any(condition(node) for condition in conditions)


def all_of(*conditions: Condition) -> Condition:
    """Ask whether several conditions hold together."""
    return lambda node: all(condition(node) for condition in conditions)


def has_input(slot: int) -> Condition:
    """Ask whether an optional input is there."""
    return lambda node: input_at(node, slot) is not None


def has_outputs(first: int) -> Condition:
    """Ask whether a node names outputs from a position on, read or not: the importer counts them."""
    return lambda node: any(value.name for value in node.outputs[first:])


def int_is_not(name: str, *allowed: int, default: int) -> Condition:
    """Ask whether an integer attribute is none of some values."""
    return lambda node: int_attribute(node, name, default) not in allowed


def text_is(name: str, *values: str, default: str = "") -> Condition:
    """Ask whether a text attribute is one of some values."""
    return lambda node: string_attribute(node, name, default) in values


def text_is_not(name: str, *allowed: str, default: str) -> Condition:
    """Ask whether a text attribute is none of some values."""
    return lambda node: string_attribute(node, name, default) not in allowed


def has_attribute(*names: str) -> Condition:
    """Ask whether a node has one of some attributes."""
    return lambda node: any(name in node.attributes for name in names)


def is_spread(node: ir.Node) -> bool:
    """Ask whether a node has dilations other than 1."""
    return any(size != 1 for size in ints_attribute(node, "dilations") or ())


def rank_above(most: int, slot: int = 0) -> Condition:
    """Ask whether an input has more dimensions than some number."""
    return lambda node: (rank(input_at(node, slot)) or 0) > most


def rank_is_not(*allowed: int, slot: int = 0) -> Condition:
    """Ask whether the number of dimensions of an input is known and none of some."""
    return lambda node: (found := rank(input_at(node, slot))) is not None and found not in allowed


def last_dimension(node: ir.Node) -> int | None:
    """Return the last dimension of the first input, where it is known."""
    dims = static_dims(input_at(node, 0))
    return dims[-1] if dims else None


def is_open(node: ir.Node) -> bool:
    """Ask whether a dimension of the first input is left open."""
    dims = static_dims(input_at(node, 0))
    return dims is not None and None in dims


def is_open_along_axis(node: ir.Node) -> bool:
    """Ask whether the dimension of the first input along `axis` is left open."""
    dims, axis = static_dims(input_at(node, 0)), int_attribute(node, "axis", -1)
    return bool(dims) and dims is not None and -len(dims) <= axis < len(dims) and dims[axis] is None


def trains(node: ir.Node) -> bool:
    """Ask whether a Dropout is one that drops, or may be."""
    mode = input_at(node, 2)
    known = constant_at(node, 2)
    return mode is not None and (known is None or bool(known.any()))


def drops_as_attribute(node: ir.Node) -> bool:
    """Ask whether a Dropout of opset 6 and below is one for training."""
    return "is_test" in node.attributes and int_attribute(node, "is_test", 0) == 0


def directions_differ(node: ir.Node) -> bool:
    """Ask whether the two directions of a recurrent operator have different activations."""
    if string_attribute(node, "direction", "forward") != "bidirectional":
        return False
    attribute = node.attributes.get("activations")
    names = [name.lower() for name in attribute.as_strings()] if attribute is not None else []
    half = len(_DEFAULT_ACTIVATIONS[node.op_type])
    return names[:half] != names[half:]


def is_unknown_activation(node: ir.Node) -> bool:
    """Ask whether a recurrent operator has an activation that no layer computes."""
    attribute = node.attributes.get("activations")
    return attribute is not None and any(name.lower() not in _ACTIVATIONS for name in attribute.as_strings())


def resizes_many(node: ir.Node) -> bool:
    """Ask whether a linear Resize changes more than the last three dimensions, or a cubic one more than two."""
    mode = string_attribute(node, "mode", "nearest")
    scales = constant_at(node, 2) if len(node.inputs) > 2 else constant_at(node, 1)
    if mode not in ("linear", "cubic") or scales is None or not scales.size or "axes" in node.attributes:
        return False
    kept = max(scales.size - (3 if mode == "linear" else 2), 0)
    return any(float(scale) != 1.0 for scale in scales.reshape(-1)[:kept])


def rounds_otherwise(node: ir.Node) -> bool:
    """Ask whether a nearest Resize by `tf_half_pixel_for_nn` rounds in another way than the one that is known."""
    return (
        string_attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_half_pixel_for_nn"
        and string_attribute(node, "nearest_mode", "round_prefer_floor") != "round_prefer_floor"
    )


def has_capitals(node: ir.Node) -> bool:
    """Ask whether the equation of an Einsum has letters other than small ones."""
    return any(letter.isalpha() and not letter.islower() for letter in string_attribute(node, "equation", ""))


def is_wide_einsum(node: ir.Node) -> bool:
    """Ask whether an Einsum has an ellipsis or a diagonal, or broadcasts one operand over another."""
    terms = string_attribute(node, "equation", "").replace(" ", "").partition("->")[0].split(",")
    if any("..." in term or len(set(term)) < len(term) for term in terms):
        return True
    sizes: dict[str, set[int]] = {}
    for slot, term in enumerate(terms):
        for letter, size in zip(term, static_dims(input_at(node, slot)) or (), strict=False):
            if size is not None:
                sizes.setdefault(letter, set()).add(size)
    return any(len(found) > 1 for found in sizes.values())


def takes_remainder_of_floats(node: ir.Node) -> bool:
    """Ask whether a Mod by floor, which is for integers, is on floats."""
    return is_of_floats(node) and int_attribute(node, "fmod", 0) == 0


def is_of_floats(node: ir.Node) -> bool:
    """Ask whether the first input is of floats."""
    value = input_at(node, 0)
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def is_on(*kinds: ir.DataType) -> Condition:
    """Ask whether the first input is of one of some types."""
    return lambda node: (value := input_at(node, 0)) is not None and value.dtype in kinds


def makes(*kinds: ir.DataType) -> Condition:
    """Ask whether the first output is of one of some types."""
    return lambda node: node.outputs[0].dtype in kinds


def is_even_or_wide(node: ir.Node) -> bool:
    """Ask whether the window of an LRN is even, or wider than a layer takes."""
    size = int_attribute(node, "size", 1)
    return size % 2 == 0 or size > LRN_WIDEST


def is_vector_by_stack(node: ir.Node) -> bool:
    """Ask whether a MatMul multiplies one vector by several matrices."""
    return rank(input_at(node, 0)) == 1 and (rank(input_at(node, 1)) or 0) > 2


def splits_past_the_end(node: ir.Node) -> bool:
    """Ask whether equal parts, rounded up, leave a last part of a Split with less than nothing."""
    parts, axis = int_attribute(node, "num_outputs", 0), int_attribute(node, "axis", 0)
    dims = static_dims(input_at(node, 0))
    size = dims[axis] if dims is not None and -len(dims) <= axis < len(dims) else None
    return bool(parts) and size is not None and (parts - 1) * math.ceil(size / parts) > size


def scales_each_channel(node: ir.Node) -> bool:
    """Ask whether a GroupNormalization has a scale for each channel, as since opset 21, not for each group."""
    dims = static_dims(input_at(node, 1))
    return bool(dims) and dims is not None and dims[0] != int_attribute(node, "num_groups", 0)


def has_values_of_another_size(node: ir.Node) -> bool:
    """Ask whether the keys and the values of an Attention differ in shape."""
    keys, values = static_dims(input_at(node, 1)), static_dims(input_at(node, 2))
    return bool(keys and values) and None not in (*(keys or ()), *(values or ())) and keys != values


def keeps_more_than(most: int) -> Condition:
    """Ask whether a TopK keeps more elements than some number."""
    return lambda node: any(number > most for number in constant_ints(node, 1) or ())


def branches_differ_in_rank(node: ir.Node) -> bool:
    """Ask whether an output of an If has another number of dimensions in each branch."""
    branches = [[rank(value) for value in body.outputs] for body in inner_graphs(node)]
    pairs = zip(*branches, strict=False) if len(branches) > 1 else ()
    return any(None not in ranks and len(set(ranks)) > 1 for ranks in pairs)


def scans_without_end(node: ir.Node) -> bool:
    """Ask whether a Loop stacks what each round gives, and nothing says how many rounds there are at most."""
    bodies = list(inner_graphs(node))
    stacks = bool(bodies) and len(bodies[0].outputs) > len(bodies[0].inputs) - 1
    return stacks and not _is_limited(node)


def reads_what_is_not_given(node: ir.Node) -> bool:
    """Ask whether the body of a Loop reads a condition, or the number of its round, that the Loop has not."""
    missing = (not _is_limited(node), input_at(node, 1) is None)
    return any(
        value.uses() and absent
        for body in inner_graphs(node)
        for value, absent in zip(body.inputs[:2], missing, strict=False)
    )


def _is_limited(node: ir.Node) -> bool:
    """Say whether a Loop has a number of rounds; exporters write one above 31 bits for none."""
    most = constant_ints(node, 0)
    return input_at(node, 0) is not None and (most is None or max(most, default=0) < _NO_LIMIT)


def grows(node: ir.Node) -> bool:
    """Ask whether a value that a Loop carries is known to leave its body in another shape than it came."""
    for body in inner_graphs(node):
        for before, after in zip(body.inputs[2:], body.outputs[1:], strict=False):
            concat = after.producer()
            if is_op(concat, "Concat") and concat is not None and before in concat.inputs and len(concat.inputs) > 1:
                return True
    return False


def _inputs_behind(value: ir.Value | None) -> Iterator[ir.Value]:
    """Yield the inputs of graphs whose numbers a value is made from; shapes of tensors are none."""
    work, seen = [value], 0
    while work and seen < _HOPS:
        found = work.pop()
        seen += 1
        if found is None or is_constant(found):
            continue
        producer = found.producer()
        if producer is None:
            yield found
        elif not is_op(producer, "Shape", "Size"):
            work += producer.inputs
