"""How large the tensors of a model are and what its products cost, from the shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx_ir as ir

from qdq_cli.model.bodies import places_of_bodies
from qdq_cli.model.foreign import hides_product
from qdq_cli.model.nodes import input_at, int_attribute, is_op, string_attribute
from qdq_cli.model.scales import is_pair_half
from qdq_cli.placement.operators import counts_as_weighted


class Sizes:
    """Shapes, float widths and multiply-accumulates of a model, by tensor and node name.

    Args:
        model: A model with inferred shapes; what happens to its graph afterwards changes nothing here.
    """

    def __init__(self, model: ir.Model) -> None:
        graph = model.graph
        bodies = [place.body for place in places_of_bodies(graph)]
        nodes = [node for part in (graph, *bodies) for node in part if not is_pair_half(node)]  # layers name no codes
        counts = {node.name or "": _macs(node) for node in nodes if counts_as_weighted(node)}
        self._macs: Mapping[str, int | None] = counts
        made = [value for node in nodes for value in node.outputs]
        values = (*graph.inputs, *(value for body in bodies for value in body.inputs), *made)
        self.ends = frozenset(value.name or "" for value in (*graph.inputs, *graph.outputs))
        self._values = {value.name or "": (value.shape, value.const_value, value.dtype) for value in values}

    def macs(self, node: str) -> int | None:
        """Return the multiply-accumulates of a node; 0 for one without products, None where shapes are unknown."""
        return self._macs.get(node, 0)

    def elements(self, tensor: str) -> int | None:
        """Return the number of elements of a tensor, or None."""
        shape, data, _ = self._values.get(tensor, _UNKNOWN)
        dims = _known_dims(shape, data)
        return None if dims is None else math.prod(dims)

    def dtype(self, tensor: str) -> ir.DataType | None:
        """Return the element type of a tensor in the model; None where it is unknown."""
        return self._values.get(tensor, _UNKNOWN)[2]


_UNKNOWN = (None, None, None)


def _dims(value: ir.Value | None) -> tuple[int, ...] | None:
    return None if value is None else _known_dims(value.shape, value.const_value)


def _known_dims(shape: ir.Shape | None, data: ir.TensorProtocol | None) -> tuple[int, ...] | None:
    """Return the dimensions of a value, or None where one is unknown."""
    if shape is None:
        return None if data is None else tuple(data.shape.numpy())
    known = tuple(dim for dim in shape if isinstance(dim, int))
    return known if len(known) == shape.rank() else None


def _macs(node: ir.Node) -> int | None:
    """Return the multiply-accumulates of a node that forms products."""
    if hides_product(node):
        return None
    if is_op(node, "Einsum"):
        return _einsum_macs(node)
    data, weight, result = (_dims(value) for value in (input_at(node, 0), input_at(node, 1), node.outputs[0]))
    if is_op(node, "Conv"):
        return None if weight is None or result is None else math.prod(result) * math.prod(weight[1:])
    if is_op(node, "ConvTranspose"):
        return None if weight is None or data is None else math.prod(data) * math.prod(weight[1:])
    if data is None or result is None or not data:
        return None
    return math.prod(result) * data[0 if int_attribute(node, "transA", 0) and len(data) == 2 else -1]


def _einsum_macs(node: ir.Node) -> int | None:
    """Return a product for each combination of indices, and one more for each operand behind the second.

    A single operand is summed or moved, which multiplies nothing.
    """
    shapes = [_dims(value) for value in node.inputs]
    terms = string_attribute(node, "equation", "").replace(" ", "").partition("->")[0].split(",")
    if None in shapes or len(terms) != len(shapes):
        return None
    sizes: dict[str, int] = {}
    for term, dims in zip(terms, shapes, strict=True):
        for index, size in _index_sizes(term, dims or ()):
            sizes[index] = max(size, sizes.get(index, 1))  # an ellipsis broadcasts
    return math.prod(sizes.values()) * (len(terms) - 1)


def _index_sizes(term: str, dims: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Yield the indices of one operand and their sizes; what an ellipsis stands for is numbered from the right."""
    first, dots, last = term.partition("...")
    spread = dims[len(first) : len(dims) - len(last)] if dots else ()
    yield from zip(first, dims, strict=False)
    yield from zip(last, dims[len(dims) - len(last) :], strict=False)
    yield from ((f"...{place}", size) for place, size in enumerate(reversed(spread)))
