"""What a runtime on CPUs is predicted to make of a model, from what is known of it operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx_ir as ir

from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.fused_work import Fuse, FusedWork, of_one_sample, weigh_fused

if TYPE_CHECKING:
    from qdq_cli.screen.page import Section


class FusionPredictor:
    """Predicts by the operators that a runtime puts on integers; see `placement.prediction`.

    Args:
        title: Name of the runtime.
        fuse: What it makes of a model.
        operators: What it does with each operator.
        bodies: Whether it computes on integers in the bodies of If, Loop and Scan too.
    """

    def __init__(self, title: str, fuse: Fuse, operators: OperatorTable, *, bodies: bool = True) -> None:
        self._title, self._fuse, self._operators, self._bodies = title, fuse, operators, bodies

    def work(self, model: ir.Model) -> tuple[float, float]:
        """Say how much of the work is on integers."""
        found = weigh_fused(model, self._fuse, self._operators, bodies=self._bodies)
        return found.known_macs_percent, found.traffic_percent or 0.0

    def predict(self, model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> Prediction:
        """Predict for one sample."""
        return prediction_of(self.weighed(model, shapes))

    def weighed(self, model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> FusedWork:
        """Say what each operator costs for one sample; `shapes` as for `predict`."""
        return weigh_fused(of_one_sample(model, shapes), self._fuse, self._operators, bodies=self._bodies)

    def sections(self, model: ir.Model) -> tuple[Section, ...]:
        """Show the graph and the operators of a model."""
        from qdq_cli.targets.page_fusions import fused_sections  # most runs draw no page

        return fused_sections(self._title, self.weighed(model, {}), model)

    def never_stored(self, model: ir.Model) -> frozenset[str]:
        """Name no tensor: beside integers floats are FP32 here, which nothing is cast for."""
        return frozenset()


def prediction_of(found: FusedWork) -> Prediction:
    """Return what was weighed in the numbers of a report; what keeps Q and DQ has no codes here."""
    return Prediction(
        quantized_layers=found.weighted_on_codes,
        weighted_layers=found.weighted,
        standalone=sum(not entry.boundary for entry, _ in found.alone),
        boundary=sum(entry.boundary for entry, _ in found.alone),
        reasons={},
        quantized_macs_percent=found.macs_percent,
        quantized_traffic_percent=found.traffic_percent,
        unknown_costs=found.unknown,
        weights_alone=sum(each.weights_alone for each in found.operators),
    )
