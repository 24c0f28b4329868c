"""What each predicted layer costs, from the shapes alone: multiply-accumulates and activation traffic.

A layer with an unknown dimension has no cost (None), and the summary says how many there are; `settle` makes dimensions
known. How often a body runs, the data decides: the layer of an If, Loop or Scan counts the products of each of its
bodies once, both branches of an If and one pass of a Loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.foreign import hides_product
from qdq_cli.model.nodes import inner_graphs, input_at, int_attribute, is_op, string_attribute
from qdq_cli.model.scales import is_pair_half
from qdq_cli.placement.operators import count_weighted, counts_as_weighted
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.preparing.settle import give_shapes, settle_one_sample, settle_shapes
from qdq_cli.targets.tensorrt.simulate import simulate_in_place
from qdq_cli.targets.tensorrt.simulation import ElementType, Layer, Simulation, Standalone

_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer, or of one stand-alone Q or DQ.

    Args:
        name: The layer's name, or the first ONNX node of a stand-alone kernel.
        macs: Multiply-accumulates; 0 for a layer without products, None where shapes are unknown or an optimizer's
            operator hides them. For If, Loop and Scan, those of each body once.
        quantized_elements: Activation elements read and written as INT8.
        float_elements: Activation elements read and written as FP32 or FP16.
        size_bytes: Both in bytes.
    """

    name: str
    macs: int | None
    quantized_elements: int | None
    float_elements: int | None
    size_bytes: int | None


@dataclass(frozen=True)
class Cost:
    """Cost of a whole simulation.

    Args:
        layers: One entry for each layer, in the simulation's order.
        standalone: One entry for each stand-alone Q or DQ, in the simulation's order.
        macs: Multiply-accumulates of all weighted operators and Einsums with known shapes.
        quantized_macs: Those that run in INT8.
        traffic_elements: Activation elements read and written by all kernels.
        quantized_traffic_elements: Those that are INT8.
        unknown: Layers without cost because a dimension is not known.
        every_product: Whether all layers that form products run in INT8 (True), none does (False), or some do (None).
    """

    layers: tuple[LayerCost, ...]
    standalone: tuple[LayerCost, ...]
    macs: int
    quantized_macs: int
    traffic_elements: int
    quantized_traffic_elements: int
    unknown: int
    every_product: bool | None = None

    @property
    def unknown_macs(self) -> int:
        """Layers whose multiply-accumulates are not known."""
        return sum(entry.macs is None for entry in self.layers)

    @property
    def quantized_macs_percent(self) -> float | None:
        """Share of the multiply-accumulates in INT8; None without any, or where unknown ones would change it."""
        if self.unknown_macs:
            return None if self.every_product is None else 100.0 * self.every_product
        return self.known_macs_percent

    @property
    def known_macs_percent(self) -> float | None:
        """Share of the known multiply-accumulates in INT8; None where none are known."""
        return 100 * self.quantized_macs / self.macs if self.macs else None

    @property
    def quantized_traffic_percent(self) -> float | None:
        """Share of the activation traffic in INT8, counted in elements."""
        return 100 * self.quantized_traffic_elements / self.traffic_elements if self.traffic_elements else None


def cost_of(model: ir.Model, simulation: Simulation) -> Cost:
    """Measure the layers of a simulation.

    Args:
        model: The model that was simulated, with inferred shapes.
        simulation: Its simulation.
    """
    return price(Sizes(model), simulation)


def weigh(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Simulation, Cost]:
    """Simulate a model, and measure its layers for one sample; the model is left as it is.

    Args:
        model: Any ONNX model with inferred shapes.
        shapes: Graph input -> the shape of one sample, where the model leaves dimensions open.
    """
    clone = model.clone()
    give_shapes(clone, shapes)
    if shapes:
        infer_shapes(clone)
    settle_one_sample(clone)
    return measure(clone)


def measure(model: ir.Model, *, deconv_absorbs_q: bool = False) -> tuple[Simulation, Cost]:
    """Settle a model's shapes, simulate and price it; it is taken apart on the way, and not to be used afterwards.

    Args:
        model: A sorted model with its shapes inferred, of one sample.
        deconv_absorbs_q: As for `simulate`.
    """
    weighted = count_weighted(model)
    settle_shapes(model)
    sizes = Sizes(model)
    simulation = simulate_in_place(model, deconv_absorbs_q=deconv_absorbs_q, weighted=weighted)
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
    )


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
        self._macs: Mapping[str, int | None] = {node.name or "": _macs(node) for node in graph if _forms_products(node)}
        made = [value for node in graph if not is_pair_half(node) for value in node.outputs]  # layers name no codes
        values = (*graph.inputs, *made)
        self._values = {value.name or "": (value.shape, value.const_value, value.dtype in _HALF) for value in values}

    def macs(self, node: str) -> int | None:
        """Return the multiply-accumulates of a node; 0 for one without products, None where shapes are unknown."""
        return self._macs.get(node, 0)

    def elements(self, tensor: str) -> int | None:
        """Return the number of elements of a tensor, or None."""
        shape, data, _ = self._values.get(tensor, _UNKNOWN)
        dims = _known_dims(shape, data)
        return None if dims is None else math.prod(dims)

    def float_bytes(self, tensor: str) -> int:
        """Return the bytes of an element of a tensor where it is float."""
        return 2 if self._values.get(tensor, _UNKNOWN)[2] else 4


_UNKNOWN = (None, None, False)


def _dims(value: ir.Value | None) -> tuple[int, ...] | None:
    return None if value is None else _known_dims(value.shape, value.const_value)


def _known_dims(shape: ir.Shape | None, data: ir.TensorProtocol | None) -> tuple[int, ...] | None:
    """Return the dimensions of a value, or None where one is unknown."""
    if shape is None:
        return None if data is None else tuple(data.shape.numpy())
    known = tuple(dim for dim in shape if isinstance(dim, int))
    return known if len(known) == shape.rank() else None


def _layer_cost(layer: Layer, sizes: Sizes) -> LayerCost:
    ends = [(operand.tensor, operand.type) for operand in layer.inputs] + [
        (tensor, layer.output_type) for tensor in layer.outputs
    ]
    return _cost(layer.name, sizes.macs(layer.name), ends, sizes)


def _standalone_cost(found: Standalone, sizes: Sizes) -> LayerCost:
    ends = [(found.tensor, ElementType.FLOAT), (found.tensor, ElementType.INT8)]
    return _cost(found.nodes[0], 0, ends, sizes)


def _cost(name: str, macs: int | None, ends: list[tuple[str, ElementType]], sizes: Sizes) -> LayerCost:
    counted = [(sizes.elements(tensor), kind, sizes.float_bytes(tensor)) for tensor, kind in ends]
    if any(count is None for count, _, _ in counted):
        return LayerCost(name, macs, None, None, None)
    int8 = sum(count or 0 for count, kind, _ in counted if kind is ElementType.INT8)
    floats = [(count or 0, width) for count, kind, width in counted if kind is ElementType.FLOAT]
    size = int8 + sum(count * width for count, width in floats)
    return LayerCost(name, macs, int8, sum(count for count, _ in floats), size)


def _forms_products(node: ir.Node) -> bool:
    """Say whether a node multiplies and accumulates, itself or in a body."""
    return counts_as_weighted(node) or any(map(_forms_products, _in_bodies(node)))


def _in_bodies(node: ir.Node) -> Iterator[ir.Node]:
    if is_op(node, "If", "Loop", "Scan"):
        yield from (inner for body in inner_graphs(node) for inner in body)


def _macs(node: ir.Node) -> int | None:
    """Return the multiply-accumulates of a node that forms products; of one with bodies, those of each body once."""
    if bodies := [inner for inner in _in_bodies(node) if _forms_products(inner)]:
        counts = [_macs(inner) for inner in bodies]
        return None if None in counts else _total(counts)
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
