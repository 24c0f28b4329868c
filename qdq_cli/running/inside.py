"""Hand out what the bodies of If, Loop and Scan compute: all values of all rounds, behind the node that holds the body.

A session hands out tensors of the main graph alone. So every tensor that is asked for leaves its body as one result
more, laid out flat, since its shape may differ from round to round, and a histogram does not care:

    If      the branch that is not taken gives no values;
    Loop    a sequence is carried along, and gets the tensor of each round; its parts are joined behind the Loop;
    Scan    the tensors of all rounds, stacked as Scan does it: what it scans has one shape in all of them.

Where only the smallest and the largest value are wanted, these two numbers leave in the tensor's place. Where tensors
are wanted as they are, the shape of each round leaves beside the values, and `rounds` puts them together again.

What is nested goes outward step by step. So one run observes everything, exactly and as often as it was computed, in
the memory that the rounds of one batch take, however many samples there are.

Source: ONNX operators If, Loop and Scan of opset 11 and above; sequences as what a Loop carries, Loop of opset 13.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from qdq_cli.model.bodies import HOLDERS
from qdq_cli.running.extremes import free_prefix


def hand_out_of_bodies(
    model: onnx.ModelProto,
    tensors: Collection[str],
    types: Mapping[str, int],
    extremes: Collection[str] = (),
    shapes: Collection[str] = (),
) -> Handed:
    """Let a model compute, in its main graph, the values of tensors in its bodies.

    Args:
        model: Changed in place; no two values in it have one name.
        tensors: Names; those that no body defines are passed over.
        types: Name -> element type (a number of ONNX's TensorProto), for those that a body defines.
        extremes: Names of what only the smallest and the largest value is wanted of; others are passed over too.
        shapes: Names of tensors whose shapes are wanted too.
    """
    asked = (tensors, extremes, shapes)
    wanted = {(name, form): types[name] for form in _Form for name in asked[form] if name in types}
    wanted |= dict.fromkeys([key for key in wanted if key[1] is _Form.SHAPES], int(onnx.TensorProto.INT64))
    found = _Opener(model.graph, wanted).open(model.graph) if wanted else []
    return Handed(*({flat.tensor[0]: flat.value for flat in found if flat.tensor[1] is form} for form in _Form))


def rounds(values: NDArray[Any], shapes: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield what a tensor of a body held, round by round.

    Args:
        values: All its values, one round behind the other.
        shapes: The rank and the sizes of each round, one behind the other.
    """
    start = 0
    for shape in shapes_of_rounds(shapes):
        size = math.prod(shape)
        yield values[start : start + size].reshape(shape)
        start += size


def shapes_of_rounds(shapes: NDArray[Any]) -> Iterator[tuple[int, ...]]:
    """Yield the shape that a tensor of a body had in each round; `shapes` is as for `rounds`."""
    place = 0
    while place < len(shapes):
        rank = int(shapes[place])
        yield tuple(map(int, shapes[place + 1 : place + 1 + rank]))
        place += 1 + rank


class Handed(NamedTuple):
    """What holds tensors of bodies in the main graph, in tensors of rank 1.

    Args:
        values: Tensor in a body -> what holds all its values.
        extremes: Tensor in a body -> what holds the smallest and the largest value of every round.
        shapes: Tensor in a body -> what holds its rank and sizes in every round.
    """

    values: dict[str, str]
    extremes: dict[str, str]
    shapes: dict[str, str]


class _Form(IntEnum):
    """In which form a tensor leaves its body."""

    VALUES = 0
    EXTREMES = 1
    SHAPES = 2


class _Flat(NamedTuple):
    """A tensor of a body on its way out: its name and form, its element type, and what holds it by now."""

    tensor: tuple[str, _Form]
    dtype: int
    value: str


class _Around(NamedTuple):
    """Nodes that go in front of and behind a holder."""

    before: list[onnx.NodeProto]
    behind: list[onnx.NodeProto]


class _Nodes(Protocol):
    """A list of nodes, or the field of a graph that holds them."""

    def append(self, node: onnx.NodeProto, /) -> None:
        """Add one at the end."""

    def __getitem__(self, place: int, /) -> onnx.NodeProto:
        """The node in one place."""


class _Opener:
    """Opens the bodies of one model.

    Args:
        graph: The main graph; gets the constants.
        wanted: Tensors and the form in which each leaves, with their element types.
    """

    def __init__(self, graph: onnx.GraphProto, wanted: Mapping[tuple[str, _Form], int]) -> None:
        self._initializers = graph.initializer
        self._wanted = wanted
        self._prefix = free_prefix(graph, "inside_")
        self._count = 0
        self._flat = self._constant(np.array([-1], np.int64))
        self._empties: dict[int, str] = {}

    def open(self, graph: onnx.GraphProto) -> list[_Flat]:
        """Open the bodies in a graph; returns the tensors in them, with what holds their values in this graph."""
        found: list[_Flat] = []
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            around = _Around([], [])
            if node.op_type in HOLDERS and not node.domain:
                found += self._open_holder(node, around)
            nodes += [*around.before, node, *around.behind]
        if len(nodes) != len(graph.node):
            copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
            del graph.node[:]
            graph.node.extend(copies)
        return found

    def _open_holder(self, holder: onnx.NodeProto, around: _Around) -> list[_Flat]:
        bodies = [attribute.g for attribute in holder.attribute if attribute.HasField("g")]
        inside = [self._of_body(body) for body in bodies]
        if not any(inside):
            return []
        if holder.op_type == "If":
            return self._leave_branches(holder, bodies, inside)
        leave = self._leave_loop if holder.op_type == "Loop" else self._leave_scan
        return leave(holder, bodies[0], inside[0], around)

    def _of_body(self, body: onnx.GraphProto) -> list[_Flat]:
        """Lay the tensors flat that a body defines, and those of the bodies in it."""
        found = self.open(body)
        defined = [value.name for value in body.input] + [name for node in body.node for name in node.output]
        for name in dict.fromkeys(defined):
            for form, laid in zip(_Form, (self._flattened, self._ends, self._shape), strict=True):
                if (name, form) in self._wanted:
                    found.append(_Flat((name, form), self._wanted[name, form], laid(body.node, name)))
        return found

    def _leave_branches(
        self, holder: onnx.NodeProto, branches: list[onnx.GraphProto], inside: list[list[_Flat]]
    ) -> list[_Flat]:
        found = []
        for taken, flats in zip(branches, inside, strict=True):
            for flat in flats:
                for branch in branches:
                    value = flat.value
                    if branch is not taken:
                        value = self._add(branch.node, "Identity", [self._empty(flat.dtype)])
                    branch.output.append(_flat_info(value, flat.dtype))
                holder.output.append(self._name())
                found.append(flat._replace(value=holder.output[-1]))
        return found

    def _leave_loop(
        self, holder: onnx.NodeProto, body: onnx.GraphProto, flats: list[_Flat], around: _Around
    ) -> list[_Flat]:
        found = []
        for flat in flats:
            carried = len(body.input) - 2  # behind the number of the round and the condition
            holder.input.extend([""] * (2 + carried - len(holder.input)))
            holder.input.append(self._add(around.before, "SequenceConstruct", [self._empty(flat.dtype)]))
            body.input.append(_sequence_info(self._name(), flat.dtype))
            grown = self._add(body.node, "SequenceInsert", [body.input[-1].name, flat.value])
            body.output.insert(1 + carried, _sequence_info(grown, flat.dtype))
            holder.output.insert(carried, self._name())
            joined = self._joined(around.behind, [holder.output[carried]], "ConcatFromSequence")
            found.append(flat._replace(value=joined))
        return found

    def _leave_scan(
        self, holder: onnx.NodeProto, body: onnx.GraphProto, flats: list[_Flat], around: _Around
    ) -> list[_Flat]:
        found = []
        for flat in flats:
            body.output.append(_flat_info(flat.value, flat.dtype))
            holder.output.append(self._name())
            for attribute in holder.attribute:
                if attribute.name in ("scan_output_axes", "scan_output_directions"):
                    attribute.ints.append(0)
            found.append(flat._replace(value=self._flattened(around.behind, holder.output[-1])))
        return found

    def _flattened(self, nodes: _Nodes, tensor: str) -> str:
        return self._add(nodes, "Reshape", [tensor, self._flat])

    def _ends(self, nodes: _Nodes, tensor: str) -> str:
        """The smallest and the largest value of a tensor; Inf and -Inf of an empty one."""
        ends = []
        for op_type in ("ReduceMin", "ReduceMax"):
            end = self._name()
            nodes.append(helper.make_node(op_type, [tensor], [end], name=end, keepdims=0))
            ends.append(self._flattened(nodes, end))
        return self._joined(nodes, ends)

    def _shape(self, nodes: _Nodes, tensor: str) -> str:
        """The rank of a tensor, and its sizes."""
        sizes = self._add(nodes, "Shape", [tensor])
        return self._joined(nodes, [self._add(nodes, "Shape", [sizes]), sizes])

    def _joined(self, nodes: _Nodes, parts: list[str], op_type: str = "Concat") -> str:
        result = self._add(nodes, op_type, parts)
        nodes[-1].attribute.append(helper.make_attribute("axis", 0))
        return result

    def _add(self, nodes: _Nodes, op_type: str, inputs: list[str]) -> str:
        result = self._name()
        nodes.append(helper.make_node(op_type, inputs, [result], name=result))
        return result

    def _empty(self, dtype: int) -> str:
        """The name of a constant of this element type that holds nothing."""
        if dtype not in self._empties:
            self._empties[dtype] = self._constant(np.zeros(0, helper.tensor_dtype_to_np_dtype(dtype)))
        return self._empties[dtype]

    def _constant(self, array: NDArray[Any]) -> str:
        name = self._name()
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"


def _flat_info(name: str, dtype: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, [None])


def _sequence_info(name: str, dtype: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_sequence_value_info(name, dtype, [None])
