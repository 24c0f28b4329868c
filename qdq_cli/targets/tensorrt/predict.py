"""What TensorRT is predicted to make of a model, in the numbers and the section of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir

from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.tensorrt.cost import cost_of, weigh
from qdq_cli.targets.tensorrt.cost_record import Cost
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.registers import never_stored
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import Simulation

if TYPE_CHECKING:
    from qdq_cli.screen.page import Section


class TensorRTPredictor:
    """The simulator, as what is common to all targets asks it.

    Args:
        operators: What the builder does with each operator.
    """

    def __init__(self, operators: OperatorTable = OPERATORS) -> None:
        self._operators = operators

    def work(self, model: ir.Model) -> tuple[float, float]:
        """Say how much of the work runs in INT8; see `placement.prediction`."""
        cost = cost_of(model, simulate(model, operators=self._operators))
        return cost.known_macs_percent or 0.0, cost.quantized_traffic_percent or 0.0

    def predict(self, model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> Prediction:
        """Predict for one sample; see `placement.prediction`."""
        return prediction_of(*weigh(model, shapes, self._operators))

    def sections(self, model: ir.Model) -> tuple[Section, ...]:
        """Show the graph and the layers of a model."""
        from qdq_cli.targets.tensorrt.page_layers import predicted_sections  # most runs draw no page

        return predicted_sections(model, self._operators)

    def never_stored(self, model: ir.Model) -> frozenset[str]:
        """Name the tensors that never leave a kernel; see `placement.prediction`."""
        return never_stored(model, self._operators)


def prediction_of(simulation: Simulation, cost: Cost) -> Prediction:
    """Return what the simulator says TensorRT will do with the result, in numbers (section 4.6)."""
    return Prediction(
        quantized_layers=simulation.weighted_quantized,
        weighted_layers=simulation.weighted_total,
        standalone=len(simulation.removable),
        boundary=len(simulation.boundaries),
        reasons=dict(simulation.reasons),
        quantized_macs_percent=cost.quantized_macs_percent,
        quantized_traffic_percent=cost.quantized_traffic_percent,
        unknown_costs=cost.unknown,
        weights_alone=sum(layer.weight is not None and layer.weight.alone for layer in simulation.layers),
    )
