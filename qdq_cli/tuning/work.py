"""How much of a network's work a plan puts into INT8: multiply-accumulates and activation traffic, as predicted.

One number serves as the cost of leaving an operator float: the mean of its share of the multiply-accumulates and its
share of the activation traffic, in percent. The one stands for networks that are bound by arithmetic, the other for
those bound by memory; shares of a whole can be added where multiply-accumulates and bytes cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.graph.plan import Plan
from qdq_cli.tensorrt.cost import Cost, LayerCost, cost_of
from qdq_cli.tensorrt.draft import draft
from qdq_cli.tensorrt.simulate import simulate


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
        shapes: Tensor -> its shape in a run; others keep what inference knows of them.
    """

    def __init__(self, model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._model = model.clone()
        for value in _values(self._model):
            shape = shapes.get(value.name or "")
            value.shape = value.shape if shape is None else ir.Shape(list(shape))

    def of(self, plan: Plan) -> Work:
        """The work that a plan puts into INT8."""
        cost = self._predict(plan)[1]
        return Work(cost.int8_macs_percent or 0.0, cost.int8_traffic_percent or 0.0)

    def by_operator(self, plan: Plan, operators: Sequence[str]) -> tuple[Work, ...]:
        """The share that each operator has in the INT8 work of a plan.

        That of a residual Add or a pooling is the traffic of what it reads as INT8. An operator whose shapes are
        unknown has no share; where that holds for all of them, they count alike.
        """
        drafted, cost = self._predict(plan)
        layers = {layer.name: layer for layer in cost.layers}
        elements = _elements(drafted)
        reads = dict.fromkeys(operators, 0)
        for target in plan.targets:
            for use in target.uses:
                if use.node in reads:
                    reads[use.node] += elements.get(target.tensor, 0)
        found = tuple(_share(layers.get(name), reads[name], cost) for name in operators)
        if any(share.percent for share in found):
            return found
        return (Work(0.0, 100.0 / max(1, len(found))),) * len(found)

    def _predict(self, plan: Plan) -> tuple[ir.Model, Cost]:
        drafted = draft(self._model, plan)
        return drafted, cost_of(drafted, simulate(drafted))


def _share(layer: LayerCost | None, read: int, cost: Cost) -> Work:
    """The share of an operator: that of the layer it leads, or of what it reads where it is part of another's."""
    macs = 0 if layer is None else layer.macs or 0
    moved = read if layer is None else layer.int8_elements or 0
    return Work(100.0 * macs / max(1, cost.macs), 100.0 * moved / max(1, cost.traffic_elements))


def _elements(model: ir.Model) -> dict[str, int]:
    return {
        value.name or "": math.prod(value.shape.numpy())
        for value in _values(model)
        if value.shape is not None and value.shape.is_static()
    }


def _values(model: ir.Model) -> list[ir.Value]:
    return [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
