"""What each predicted layer costs, from the shapes alone: multiply-accumulates and activation traffic.

A layer with an unknown dimension has no cost (None), and the summary says how many there are; `settle` makes dimensions
known. How often a body runs, the data decides: the layers in it count once, those of both branches of an If and of one
round of a Loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import onnx_ir as ir

from qdq_cli.model.bodies import places_of_bodies
from qdq_cli.model.foreign import hides_product
from qdq_cli.model.nodes import input_at, int_attribute, is_op, string_attribute
from qdq_cli.model.scales import is_pair_half
from qdq_cli.placement.operators import count_weighted, counts_as_weighted
from qdq_cli.placement.target import OperatorTable
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.preparing.settle import give_shapes, settle_one_sample, settle_shapes
from qdq_cli.targets.tensorrt.cost_record import Cost, LayerCost, by_type
from qdq_cli.targets.tensorrt.onnx_types import bits_of, precision_of
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulate import simulate_in_place
from qdq_cli.targets.tensorrt.simulation import Layer, Simulation, Standalone


def cost_of(model: ir.Model, simulation: Simulation) -> Cost:
    """Measure the layers of a simulation.

    Args:
        model: The model that was simulated, with inferred shapes.
        simulation: Its simulation.
    """
    return price(Sizes(model), simulation)


def weigh(
    model: ir.Model, shapes: Mapping[str, tuple[int, ...]], operators: OperatorTable = OPERATORS
) -> tuple[Simulation, Cost]:
    """Simulate a model, and measure its layers for one sample; the model is left as it is.

    Args:
        model: Any ONNX model with inferred shapes.
        shapes: Graph input -> the shape of one sample, where the model leaves dimensions open.
        operators: As for `simulate`.
    """
    clone = model.clone()
    give_shapes(clone, shapes)
    if shapes:
        infer_shapes(clone)
    settle_one_sample(clone)
    return measure(clone, operators=operators)


def measure(
    model: ir.Model, *, deconv_absorbs_q: bool = False, operators: OperatorTable = OPERATORS
) -> tuple[Simulation, Cost]:
    """Settle a model's shapes, simulate and price it; it is taken apart on the way, and not to be used afterwards.

    Args:
        model: A sorted model with its shapes inferred, of one sample.
        deconv_absorbs_q: As for `simulate`.
        operators: As for `simulate`.
    """
    weighted = count_weighted(model)
    settle_shapes(model)
    sizes = Sizes(model)
    simulation = simulate_in_place(model, deconv_absorbs_q=deconv_absorbs_q, weighted=weighted, operators=operators)
    return simulation, price(sizes, simulation)


def price(sizes: Sizes, simulation: Simulation) -> Cost:
    """Measure the layers of a simulation by the sizes of its model, which itself may be gone by then."""
    layers = tuple(_layer_cost(layer, sizes) for layer in simulation.layers)
    standalone = tuple(_standalone_cost(found, sizes) for found in simulation.standalone)
    everything = (*layers, *standalone)
    int8 = _total(entry.quantized_elements for entry in everything)
    return Cost(
        layers=layers,
        standalone=standalone,
        macs=_total(entry.macs for entry in layers),
        quantized_macs=_total(
            entry.macs for entry, layer in zip(layers, simulation.layers, strict=True) if layer.quantized
        ),
        traffic_elements=int8 + _total(entry.float_elements for entry in everything),
        quantized_traffic_elements=int8,
        unknown=sum(entry.size_bytes is None or entry.macs is None for entry in everything),
        every_product=_every_product(layers, simulation),
        by_type=by_type(simulation, layers, standalone),
        rest_bytes=_rest_bytes(simulation, sizes),
    )


def _rest_bytes(simulation: Simulation, sizes: Sizes) -> int:
    ends = [end for layer in simulation.layers for end in _ends(layer)]
    ends += [(found.tensor, found.float_precision) for found in simulation.standalone]
    inner = (tensor for tensor, precision in ends if not precision.is_quantized and tensor not in sizes.ends)
    floats = (tensor for tensor in inner if precision_of(sizes.dtype(tensor)) is Precision.FP32)
    return _total(sizes.elements(tensor) for tensor in floats) * int(Precision.FP32.bits) // 8


def _every_product(layers: tuple[LayerCost, ...], simulation: Simulation) -> bool | None:
    pairs = zip(layers, simulation.layers, strict=True)
    kinds = {layer.quantized for entry, layer in pairs if entry.macs is None or entry.macs}
    return kinds.pop() if len(kinds) == 1 else None


def _total(numbers: Iterable[int | None]) -> int:
    return sum(number for number in numbers if number is not None)


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


def _layer_cost(layer: Layer, sizes: Sizes) -> LayerCost:
    return _cost(layer.name, sizes.macs(layer.name), _ends(layer), sizes)


def _ends(layer: Layer) -> list[tuple[str, Precision]]:
    """Return the tensors that a layer reads and writes, each with the type it does so in."""
    ends = [(operand.tensor, operand.precision) for operand in layer.inputs]
    return ends + [(tensor, layer.output_precision) for tensor in layer.outputs]


def _standalone_cost(found: Standalone, sizes: Sizes) -> LayerCost:
    return _cost(found.nodes[0], 0, [(found.tensor, Precision.FP32), (found.tensor, found.precision)], sizes)


def _cost(name: str, macs: int | None, ends: list[tuple[str, Precision]], sizes: Sizes) -> LayerCost:
    """Measure what is read and written; floats have the type of the tensor in the model."""
    codes = floats = 0
    sizes_of: dict[str, float] = {}
    for tensor, passed_as in ends:
        count = sizes.elements(tensor)
        if count is None:
            return LayerCost(name, macs, None, None, None)
        if passed_as.is_quantized:
            codes, kind, bits = codes + count, passed_as, passed_as.bits
        else:
            dtype = sizes.dtype(tensor)
            floats, kind, bits = floats + count, precision_of(dtype), bits_of(dtype)
        sizes_of[kind.value] = sizes_of.get(kind.value, 0) + count * bits / 8
    sizes_by_type = {kind: math.ceil(size) for kind, size in sizes_of.items()}
    return LayerCost(name, macs, codes, floats, sum(sizes_by_type.values()), sizes_by_type)


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
