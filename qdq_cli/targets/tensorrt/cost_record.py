"""What layers and networks cost, as frozen records, and how the cost of layers adds up by type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import LayerKind, Simulation


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer, or of one stand-alone Q or DQ.

    Args:
        name: The layer's name, or the first ONNX node of a stand-alone kernel.
        macs: Multiply-accumulates; 0 for a layer without products, None where shapes are unknown or an optimizer's
            operator hides them. For If, Loop and Scan, those of each body once.
        quantized_elements: Activation elements read and written as codes: INT8, FP8, MXFP8 or NVFP4.
        float_elements: The other ones, such as FP32 or FP16.
        size_bytes: Both in bytes.
        bytes_by_type: The same by type; empty where it is unknown.
    """

    name: str
    macs: int | None
    quantized_elements: int | None
    float_elements: int | None
    size_bytes: int | None
    bytes_by_type: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TypeCost:
    """What there is of one type in an engine.

    Args:
        type: The type.
        kernels: Kernels that compute in it, stand-alone Q/DQ left out.
        weighted_ops: Weighted operators that do.
        standalone: Stand-alone Q and DQ of its codes.
        weights_alone: Weighted operators that compute in float and store their weights in it.
        macs: Multiply-accumulates in it, of known shapes.
        traffic_bytes: Activations that kernels read and write in it.
        weight_bytes: Constant weights stored in it.
    """

    type: str
    kernels: int
    weighted_ops: int
    standalone: int
    weights_alone: int
    macs: int
    traffic_bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class Cost:
    """Cost of a whole simulation.

    Args:
        layers: One entry for each layer, in the simulation's order.
        standalone: One entry for each stand-alone Q or DQ, in the simulation's order.
        macs: Multiply-accumulates of all weighted operators and Einsums with known shapes.
        quantized_macs: Those that run on codes: INT8, FP8, MXFP8 or NVFP4.
        traffic_elements: Activation elements read and written by all kernels.
        quantized_traffic_elements: Those that are codes.
        unknown: Layers without cost because a dimension is not known.
        every_product: Whether all layers that form products run on codes (True), none does (False), or some do (None).
        by_type: What there is of each type.
        rest_bytes: Activations of floats in FP32 that kernels hand to each other: those that the network takes and
            returns are left out.
    """

    layers: tuple[LayerCost, ...]
    standalone: tuple[LayerCost, ...]
    macs: int
    quantized_macs: int
    traffic_elements: int
    quantized_traffic_elements: int
    unknown: int
    every_product: bool | None = None
    by_type: tuple[TypeCost, ...] = ()
    rest_bytes: int = 0

    @property
    def unknown_macs(self) -> int:
        """Layers whose multiply-accumulates are not known."""
        return sum(entry.macs is None for entry in self.layers)

    @property
    def quantized_macs_percent(self) -> float | None:
        """Share of the multiply-accumulates on codes; None without any, or where unknown ones would change it."""
        if self.unknown_macs:
            return None if self.every_product is None else 100.0 * self.every_product
        return self.known_macs_percent

    @property
    def known_macs_percent(self) -> float | None:
        """Share of the known multiply-accumulates on codes; None where none are known."""
        return 100 * self.quantized_macs / self.macs if self.macs else None

    @property
    def quantized_traffic_percent(self) -> float | None:
        """Share of the activation traffic in codes, counted in elements."""
        return 100 * self.quantized_traffic_elements / self.traffic_elements if self.traffic_elements else None


def by_type(
    simulation: Simulation, layers: tuple[LayerCost, ...], standalone: tuple[LayerCost, ...]
) -> tuple[TypeCost, ...]:
    """Add everything up by type, in the order of `Precision`."""
    counts = {name: Counter[str]() for name in (item.name for item in fields(TypeCost))}
    for layer, cost in zip(simulation.layers, layers, strict=True):
        kind = layer.precision.value
        counts["kernels"][kind] += 1
        counts["macs"][kind] += cost.macs or 0
        if layer.kind is LayerKind.WEIGHTED:
            counts["weighted_ops"][kind] += 1
        if layer.weight is not None:
            counts["weights_alone"][layer.weight.precision.value] += layer.weight.alone
            counts["weight_bytes"][layer.weight.precision.value] += layer.weight.size_bytes or 0
    counts["standalone"].update(found.precision.value for found in simulation.standalone)
    for cost in (*layers, *standalone):
        counts["traffic_bytes"].update(cost.bytes_by_type)
    names = [precision.value for precision in Precision if any(found[precision.value] for found in counts.values())]
    return tuple(
        TypeCost(type=name, **{key: found[name] for key, found in counts.items() if key != "type"}) for name in names
    )
