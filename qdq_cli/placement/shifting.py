"""Shift tensors, so that their values take all codes of a type whose zero point has to be 0.

TensorRT lays codes symmetrically around 0.0, so a tensor that is never negative, as behind a Relu, uses half of them. A
constant that is added to all of a tensor centres it. It costs nothing: it goes into the bias of what makes the tensor,
and with the weights of what reads it into the bias of that. The result is what a zero point would give, to the code
(but in the middle of two codes, where the zero point is odd). A Relu whose zero is the smallest code then cuts off what
saturates anyway, so it goes. A function behind a depthwise convolution, or a product of two tensors, has a kernel of
its own, in which an Add more costs nothing either.

This holds for any input, but not where a reader pads with zeros, which mean another number then: a constant does not
make up for that.

Source: zero points in sums, Jacob et al. 2017, arXiv 1712.05877, section 2.3; high biases absorbed by the next layer,
Nagel et al. 2019, arXiv 1906.04721, section 4.1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qparams import QParams
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.linear import linear_of
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    clip_bounds,
    constant_at,
    consumers,
    input_at,
    int_attribute,
    is_activation,
    is_constant,
    is_op,
    is_unpadded,
    name_of,
    only_consumer,
    string_attribute,
)
from qdq_cli.placement.bias_place import BiasPlace, bias_place, set_bias
from qdq_cli.placement.commuting import data_outputs, slots_of
from qdq_cli.placement.operators import commutes, is_depthwise, is_weighted
from qdq_cli.placement.topology import MAX_ACTIVATION_NODES, activation_inputs, is_pointwise, pointwise_chain

_CLIPS = ("Relu", "Clip")
_NORMS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization")
_BLIND = ("Shape", "Size")
"""Operators that read no values."""


@dataclass
class Region:
    """A tensor and all that has to be shifted with it.

    Args:
        values: Floats that are larger by the constant.
        clips: Every Relu and Clip between them.
        adders: What adds a constant to all that makes them: a node, and the slot of that constant, which may be empty.
        readers: Weighted operators that read them.
        partners: What is added to them elsewhere and takes the constant out again, and what makes it, as in `adders`.
        functions: Those of the values that a pointwise operator makes in a kernel of its own, which adds as well.
    """

    values: dict[ir.Value, None] = field(default_factory=dict)
    clips: dict[ir.Node, None] = field(default_factory=dict)
    adders: dict[tuple[ir.Node, int], None] = field(default_factory=dict)
    readers: dict[ir.Node, None] = field(default_factory=dict)
    partners: dict[ir.Value, tuple[ir.Node, int]] = field(default_factory=dict)
    functions: dict[ir.Value, None] = field(default_factory=dict)

    def amounts(self, amount: float) -> list[tuple[str, float]]:
        """Return the names of all tensors that become larger, and by how much where those of the region do by this."""
        moved = [(name_of(value), amount) for value in self.values if value not in self.functions]
        return [*moved, *((name_of(value), -amount) for value in self.partners)]


def region_of(value: ir.Value) -> Region | None:
    """Return what has to be shifted together with a tensor of a float graph; None where that cannot be done exactly."""
    region, waiting = Region(), [value]
    while waiting:
        each = waiting.pop()
        if each in region.values:
            continue
        region.values[each] = None
        near = _behind(each, region), _before(each, region)
        if each.is_graph_output() or None in near:
            return None
        waiting += [other for found in near if found is not None for other in found]
    return None if region.partners.keys() & region.values.keys() else region


def _before(value: ir.Value, region: Region) -> list[ir.Value] | None:
    """Return the values a shifted one is made from that are shifted too; None where nothing takes the shift."""
    maker = value.producer()
    if maker is None:
        return None
    if passing := _passed(maker):
        operands = [input_at(maker, slot) for slot in passing]
        return [each for each in operands if each is not None] if all(map(is_activation, operands)) else None
    slot = _constant_added(maker)
    if slot is not None:
        region.adders[maker, slot] = None
    elif _has_kernel(value):
        region.functions[value] = None
    else:
        return None
    return []


def _behind(value: ir.Value, region: Region) -> list[ir.Value] | None:
    """Return the values that are made from a shifted one and shifted with it; None where a reader sees the shift."""
    found: list[ir.Value] = []
    for node, slot in consumers(value):
        if node.graph is not value.graph:
            return None
        if is_op(node, *_CLIPS):
            region.clips[node] = None
        if slot in _passed(node):
            found += data_outputs(node)
        elif slot == 0 and _reads_evenly(node):
            region.readers[node] = None
        elif (partner := _partner(node, slot)) is not None:
            region.partners[partner[0]] = partner[1:]
        elif not is_op(node, *_BLIND):
            return None
    return found


def _passed(node: ir.Node) -> tuple[int, ...]:
    """Return the slots of a node whose shift its result has too; none where there are no such."""
    if is_op(node, *_CLIPS):
        return () if np.isnan(clip_bounds(node)).any() else (0,)
    if is_op(node, "GlobalAveragePool", "ReduceMean"):
        return (0,)
    if is_op(node, "AveragePool"):
        alone = is_unpadded(node) and not int_attribute(node, "ceil_mode", 0)
        return (0,) if alone or not int_attribute(node, "count_include_pad", 0) else ()
    fills = is_op(node, "Pad") and string_attribute(node, "mode", "constant") == "constant"
    return slots_of(node) if commutes(node) and not fills else ()


def _constant_added(node: ir.Node) -> int | None:
    """Return the slot of a constant that is added to all of a node's result, be it empty; None where there is none."""
    if is_op(node, "Add"):
        slots = [slot for slot in (0, 1) if is_constant(input_at(node, slot))]
        return slots[0] if len(slots) == 1 and _is_float(constant_at(node, slots[0])) else None
    if is_op(node, *_NORMS):
        return 2 if len(node.outputs) == 1 and _is_float(constant_at(node, 2)) else None
    linear = None if is_op(node, "MatMul") else linear_of(node)
    place = None if linear is None else bias_place(node, linear.channels)
    return None if place is None else place.slot


def _has_kernel(value: ir.Value) -> bool:
    """Say whether a pointwise operator computes a tensor by itself, and not at the end of a weighted one's kernel.

    Those of depthwise operators take in Relu and Clip alone (rules, P5), and none takes in a product of two tensors.
    """
    maker = value.producer()
    for node in _weighted_before(value):
        chain = pointwise_chain(node.outputs[0])
        if chain is not None and chain.result is value:
            return is_depthwise(node)
    return maker is not None and is_op(maker, "Mul") and len(activation_inputs(maker)) > 1


def _weighted_before(value: ir.Value) -> Iterator[ir.Node]:
    """Yield the weighted operators before a tensor that pointwise operators alone stand behind."""
    waiting, seen = [value.producer()], 0
    while waiting and seen < MAX_ACTIVATION_NODES:
        node, seen = waiting.pop(0), seen + 1
        if node is not None and is_weighted(node):
            yield node
        elif node is not None and is_pointwise(node):
            waiting += [read.producer() for read in activation_inputs(node)]


def _partner(node: ir.Node, slot: int) -> tuple[ir.Value, ir.Node, int] | None:
    """Return what an Add adds to one of its operands, and what makes that with a constant of its own, and its slot."""
    other = input_at(node, 1 - slot) if is_op(node, "Add") else None
    maker = None if other is None else other.producer()
    if other is None or maker is None or only_consumer(other) is None:
        return None
    place = _constant_added(maker)
    return None if place is None else (other, maker, place)


def _is_float(array: NDArray[np.generic] | None) -> bool:
    return array is not None and array.dtype.kind == "f"


def _reads_evenly(node: ir.Node) -> bool:
    """Say whether a constant in all of an operator's data is one in each channel of its result, which has a bias."""
    linear = linear_of(node)
    if linear is None or linear.transposed_data or linear.op_type == "ConvTranspose":
        return False
    return (linear.op_type != "Conv" or is_unpadded(node)) and bias_place(node, linear.channels) is not None


def shift_of(stored: QParams) -> float:
    """Return what is added to a tensor in place of its zero point, in its own units."""
    return float(stored.zero_point) * float(stored.scale)


def shift(
    graph: ir.Graph,
    region: Region,
    amount: float,
    weight_of: Callable[[ir.Node], NDArray[np.generic]],
    names: Names,
) -> dict[str, ir.Value]:
    """Add a constant to all values of a region, and take it out of what its readers compute.

    Args:
        graph: The graph of the region; its clips are left for `end_clips`.
        region: As `region_of` found it.
        amount: What is added, in the tensors' units.
        weight_of: The weight of a reader as the quantized model has it.
        names: The names of the graph.

    Returns:
        Name -> what is read in place of a value that stays as it is, and now has an Add behind it.
    """
    for sign, places in ((1.0, region.adders), (-1.0, region.partners.values())):
        for node, slot in places:
            constant = constant_at(node, slot)
            former = np.zeros(_channels(node)) if constant is None else np.asarray(constant, np.float64)
            bias = (former + sign * amount).astype(_dtype(node.outputs[0]))
            set_bias(BiasPlace(node, slot, former), bias, names)
    for node in region.readers:
        linear = linear_of(node)
        place = None if linear is None else bias_place(node, linear.channels)
        if linear is None or place is None:
            raise ValueError(f"node '{node.name}' has no place for a bias")
        sums = linear.gain * linear.matrices(weight_of(node)).sum(axis=1).reshape(-1)
        set_bias(place, (place.value - amount * sums).astype(_dtype(node.outputs[0])), names)
    return {name_of(value): _added(graph, value, amount, names) for value in region.functions}


def _added(graph: ir.Graph, value: ir.Value, amount: float, names: Names) -> ir.Value:
    """Put an Add behind what an activation function makes, and return its result, which all readers have instead."""
    readers, maker = list(consumers(value)), value.producer()
    assert maker is not None  # a function of the graph
    constant = add_initializer(graph, names.value(f"{value.name}_shift"), np.asarray(amount, _dtype(value)))
    node = ir.Node("", "Add", [value, constant], name=names.node(f"{value.name}_Add"))
    result = node.outputs[0]
    result.name, result.type, result.shape = names.value(f"{value.name}_shifted"), value.type, value.shape
    graph.insert_after(maker, node)
    for reader, slot in readers:
        reader.replace_input_with(slot, result)
    return result


def _channels(node: ir.Node) -> int:
    linear = linear_of(node)
    assert linear is not None  # nothing else has a bias that may be missing
    return linear.channels


def _dtype(value: ir.Value) -> np.dtype[np.generic]:
    return np.dtype((value.dtype or ir.DataType.FLOAT).numpy())


def end_clips(graph: ir.Graph, region: Region, amount: float, stored: QParams, names: Names) -> None:
    """Shift the bounds of the clips of a region, and drop those that cut off nothing but what saturates.

    Args:
        graph: The graph of the region, with its Q and DQ.
        region: As `shift` was given it. Its values get other names: they are not what they are in the float model.
        amount: As there.
        stored: The scale of the quantized tensors; their zero point is 0.
        names: The names of the graph.
    """
    for value in (*region.values, *region.partners):
        if value not in region.functions:
            value.name = names.value(f"{name_of(value)}_shifted")
    for clip in region.clips:
        source, result = clip.inputs[0], clip.outputs[0]
        quantized = all(is_op(node, "QuantizeLinear") for node, _ in consumers(result))
        if source is not None and quantized and saturates(clip, amount, stored):
            result.replace_all_uses_with(source)
            graph.remove(clip, safe=True)
        else:
            _set_bounds(graph, clip, amount, names)


def saturates(clip: ir.Node, amount: float, stored: QParams) -> bool:
    """Say whether all that a Relu or Clip cuts off of a shifted tensor has the code of its bound anyway."""
    scale, qtype = float(stored.scale), stored.qtype
    low, high = ((bound + amount) / scale for bound in clip_bounds(clip))
    return bool(np.rint(low) <= qtype.qmin and np.rint(high) >= qtype.qmax)


def _set_bounds(graph: ir.Graph, clip: ir.Node, amount: float, names: Names) -> None:
    """Let a Relu or Clip cut off where its values have been shifted to."""
    bounds = [bound + amount for bound in clip_bounds(clip)]
    clip.op_type = "Clip"
    clip.resize_inputs(3 if np.isfinite(bounds[1]) else 2)
    for slot, bound in enumerate(bounds, 1):
        if np.isfinite(bound):
            array = np.asarray(bound, _dtype(clip.outputs[0]))
            clip.replace_input_with(slot, add_initializer(graph, names.value(f"{clip.name}_bound"), array))
