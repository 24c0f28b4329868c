"""What each predicted layer costs, from the shapes alone: multiply-accumulates and activation traffic.

A layer with an unknown dimension has no cost (None), and the summary says how many there are; `settle` makes dimensions
known. How often a body runs, the data decides: the layers in it count once, those of both branches of an If and of one
round of a Loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import onnx_ir as ir

from qdq_cli.placement.operators import count_weighted
from qdq_cli.placement.sizes import Sizes
from qdq_cli.placement.target import OperatorTable
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.preparing.settle import give_shapes, settle_one_sample, settle_shapes
from qdq_cli.process.progress import stepping
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
    with stepping(2) as step:
        clone = model.clone()
        give_shapes(clone, shapes)
        if shapes:
            infer_shapes(clone)
        settle_one_sample(clone)
        step()
        found = measure(clone, operators=operators)
        step()
    return found


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
    with stepping(3) as step:
        settle_shapes(model)
        sizes = Sizes(model)
        step()
        simulation = simulate_in_place(model, deconv_absorbs_q=deconv_absorbs_q, weighted=weighted, operators=operators)
        step()
        cost = price(sizes, simulation)
        step()
    return simulation, cost


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
