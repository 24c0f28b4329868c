"""How long a GPU takes for a model at least: a roofline over the kernels that are predicted.

Each kernel takes as long as its products or its memory traffic do at the peak of the GPU, and kernels follow one
another. No kernel reaches its peak, so this is no time to be measured; it compares forms of one model.

Source: Williams, Waterman and Patterson 2009, doi 10.1145/1498765.1498785 (the roofline model).
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.config.forms import Gpu
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.tensorrt.cost import cost_of
from qdq_cli.targets.tensorrt.cost_record import LayerCost
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.rates import RATES
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import Stored


class Roofline:
    """Predicts times for a target of NVIDIA's; see `placement.target.SecondsOf`.

    Args:
        operators: The operators that have kernels on codes.
    """

    def __init__(self, operators: OperatorTable) -> None:
        self._operators = operators

    def device(self, gpu: Gpu) -> str:
        """Name the device whose rates stand for those of a GPU."""
        return RATES[gpu].device

    def __call__(self, model: ir.Model, gpu: Gpu, *, half: bool) -> float:
        """Return the seconds of one inference."""
        simulation = simulate(model, operators=self._operators)
        cost, rates = cost_of(model, simulation), RATES[gpu]
        found = 0.0
        for layer, entry in zip(simulation.layers, cost.layers, strict=True):
            size = _traffic(entry, half=half) + _weight(layer.weight, half=half)
            precision = Precision.FP16 if half and layer.precision is Precision.FP32 else layer.precision
            found += rates.seconds(precision, entry.macs or 0, size)
        return found + sum(rates.seconds(Precision.FP16, 0, _traffic(entry, half=half)) for entry in cost.standalone)


def _traffic(entry: LayerCost, *, half: bool) -> float:
    """Return the bytes of activations; what the file holds in FP32 may run in 16 bits."""
    return sum(size * _share(kind, half=half) for kind, size in entry.bytes_by_type.items())


def _weight(weight: Stored | None, *, half: bool) -> float:
    """Return the bytes of a weight; what is made float first is read as codes, and written and read in float."""
    if weight is None:
        return 0.0
    size = (weight.size_bytes or 0) * _share(weight.precision.value, half=half)
    if not weight.made_float:
        return size
    floats = Precision.FP16 if half else Precision.FP32
    return size * (1.0 + 2.0 * floats.bits / weight.precision.bits)


def _share(kind: str, *, half: bool) -> float:
    return 0.5 if half and kind == Precision.FP32.value else 1.0
