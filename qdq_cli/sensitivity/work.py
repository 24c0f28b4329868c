"""How much of a network's work a plan puts into INT8: multiply-accumulates and activation traffic, as predicted.

One number serves as the cost of leaving an operator float: the mean of its share of the multiply-accumulates and its
share of the activation traffic, in percent. The one stands for networks that are bound by arithmetic, the other for
those bound by memory; shares of a whole can be added where multiply-accumulates and bytes cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import every_body, every_node
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import Plan, kept_float, make_plan
from qdq_cli.placement.target import Target
from qdq_cli.process.errors import UsageError


@dataclass(frozen=True)
class Work:
    """Shares of the work that is done in INT8, of a network or of one operator.

    Args:
        macs_percent: Of the multiply-accumulates; 0 for a network without any.
        traffic_percent: Of the activation elements that kernels read and write.
    """

    macs_percent: float
    traffic_percent: float

    @property
    def percent(self) -> float:
        """The mean of both."""
        return (self.macs_percent + self.traffic_percent) / 2


class WorkMeter:
    """Predicts the INT8 work of plans of one model.

    Args:
        model: The prepared float model; left as it is.
        shapes: Tensor, in bodies too -> its shape in a run; others keep what inference knows of them.
        target: What plans are made for.

    Raises:
        UsageError: Nobody predicts what that makes of a model.
    """

    def __init__(self, model: ir.Model, shapes: Mapping[str, tuple[int, ...]], target: Target) -> None:
        if target.predictor is None:
            raise UsageError(
                f"What operators cost in {target.title} is not predicted, so nothing stands against accuracy.",
                "Quantize for tensorrt or tensorrt-rtx, or name what stays float: --exclude.",
            )
        self._target, self._predictor = target, target.predictor
        self._planned = model
        self._model = model.clone()
        graph = self._model.graph
        inputs = (value for part in (graph, *every_body(graph)) for value in part.inputs)
        for value in (*inputs, *(value for node in every_node(graph) for value in node.outputs)):
            shape = shapes.get(value.name or "")
            value.shape = value.shape if shape is None else ir.Shape(list(shape))

    @property
    def model(self) -> ir.Model:
        """The prepared float model that plans are made from."""
        return self._planned

    def of(self, plan: Plan) -> Work:
        """The work that a plan puts into INT8."""
        return Work(*self._predictor.work(draft(self._model, plan)))

    def drafted(self, plan: Plan | None) -> ir.Model:
        """A copy of the model with the Q/DQ of a plan, or none, in the shapes of a run; its scales are placeholders."""
        return self._model.clone() if plan is None else draft(self._model, plan)

    def planned(self, config: PlanConfig) -> Work:
        """The work that the plan of these options puts into INT8."""
        return self.of(make_plan(self._planned, self._target, config))

    def lost_without(self, plan: Plan, config: PlanConfig, operators: Sequence[str]) -> tuple[Work, ...]:
        """The work that INT8 loses where each operator alone is left float, with all that follows from it.

        A fused residual Add takes more than itself out of INT8, an operator between two float ones less than nothing:
        shares may be below 0.

        Args:
            plan: What is quantized.
            config: What it was planned from.
            operators: Names of nodes.
        """
        whole = self.of(plan)
        config = kept_float(plan, config)
        parts = []
        for name in operators:
            smaller = replace(config, exclude=(*config.exclude, name))
            rest = self.planned(smaller)
            parts.append(Work(whole.macs_percent - rest.macs_percent, whole.traffic_percent - rest.traffic_percent))
        return tuple(parts)
