"""Gauges: sums and extremes that a graph takes of its own tensors, so that a run hands out numbers, no activations.

Memory is then what ONNX Runtime needs for a run, however many tensors are compared and samples seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.comparing.graft import Graft
from qdq_cli.model.opset import opset_of

_AXES_ARE_INPUTS = 18
"""Opset since which ReduceMax takes its axes as an operand."""


class Fold(Enum):
    """How the readings of several runs become one."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Gauge:
    """One number of a tensor, or one a channel: the name of the graph output that gives it, and how runs add up."""

    output: str
    fold: Fold


@dataclass(frozen=True)
class PairGauges:
    """Sums over a tensor and what stands for it: enough for SQNR, cosine and the largest error.

    Args:
        signal: Sum of reference**2.
        other: Sum of other**2.
        noise: Sum of (reference - other)**2.
        peak: Largest abs(reference - other).
    """

    signal: Gauge
    other: Gauge
    noise: Gauge
    peak: Gauge


class GaugedGraph:
    """Adds gauges to a graph under growth; each is there once, however often it is asked for.

    Args:
        graft: The graph; its outputs become the gauges.
    """

    def __init__(self, graft: Graft) -> None:
        self._graft = graft
        self._opset = opset_of(graft.model)
        self._floats: dict[ir.Value, ir.Value] = {}
        self._made: dict[tuple[str, ir.Value], Gauge] = {}
        self._axes: dict[tuple[int, ...], ir.Value] = {}
        graft.model.graph.outputs.clear()

    def pair(self, reference: ir.Value, other: ir.Value) -> PairGauges:
        """Gauge the difference of two tensors of equal shape."""
        error = self.difference(reference, other)
        peak = self._graft.add("Abs", [error], [], f"gauge/{other.name}/abs")
        return PairGauges(
            signal=self.squares(reference),
            other=self.squares(other),
            noise=self.squares(error),
            peak=self._reduced("ReduceMax", peak, Fold.MAX),
        )

    def difference(self, reference: ir.Value, other: ir.Value) -> ir.Value:
        """Add reference - other, in FP32."""
        return self._graft.add("Sub", [self.as_float(reference), self.as_float(other)], [], f"gauge/{other.name}/error")

    def outside(self, value: ir.Value, low: float, high: float) -> ir.Value:
        """Add value - clip(value, low, high), in FP32."""
        source = self.as_float(value)
        kept = self._graft.clip(source, (low, high), f"gauge/{value.name}/inside")
        return self._graft.add("Sub", [source, kept], [], f"gauge/{value.name}/outside")

    def vanished(self, value: ir.Value, image: ir.Value) -> ir.Value:
        """Add value where its image is 0, and 0 elsewhere, in FP32."""
        source, name = self.as_float(value), f"gauge/{image.name}/vanished"
        kept = self._graft.add("Cast", [image], [ir.AttrInt64("to", int(ir.DataType.BOOL))], f"{name}/kept")
        zero = self._graft.constant(ir.Tensor(np.zeros((), np.float32)), f"{name}/zero")
        return self._graft.add("Where", [kept, zero, source], [], name)

    @property
    def gauges(self) -> dict[str, Gauge]:
        """Graph output -> gauge."""
        return {gauge.output: gauge for gauge in self._made.values()}

    def squares(self, value: ir.Value) -> Gauge:
        """Gauge the sum of squares."""
        return self._reduced("ReduceSumSquare", value, Fold.SUM)

    def highest(self, value: ir.Value) -> Gauge:
        """Gauge the largest element."""
        return self._reduced("ReduceMax", value, Fold.MAX)

    def lowest(self, value: ir.Value) -> Gauge:
        """Gauge the smallest element."""
        return self._reduced("ReduceMin", value, Fold.MIN)

    def channel_amax(self, value: ir.Value, rank: int, axis: int) -> Gauge:
        """Gauge the largest absolute value of each slice along an axis; shape [C]."""
        if (f"ReduceMax {axis}", value) in self._made:
            return self._made[f"ReduceMax {axis}", value]
        absolute = self._graft.add("Abs", [self.as_float(value)], [], f"gauge/{value.name}/abs")
        return self._by_channel("ReduceMax", value, absolute, (rank, axis), Fold.MAX)

    def channel_squares(self, value: ir.Value, rank: int, axis: int) -> Gauge:
        """Gauge the sum of squares of each slice along an axis; shape [C]."""
        return self._by_channel("ReduceSumSquare", value, self.as_float(value), (rank, axis), Fold.SUM)

    def as_float(self, value: ir.Value) -> ir.Value:
        """The tensor in FP32, in which sums are taken."""
        if value.dtype in (None, ir.DataType.FLOAT):
            return value
        if value not in self._floats:
            to = ir.AttrInt64("to", int(ir.DataType.FLOAT))
            self._floats[value] = self._graft.add("Cast", [value], [to], f"gauge/{value.name}/float")
        return self._floats[value]

    def _reduced(self, op_type: str, value: ir.Value, fold: Fold) -> Gauge:
        key = (op_type, value)
        if key not in self._made:
            name = f"gauge/{value.name}/{op_type}"
            keep = ir.AttrInt64("keepdims", 0)
            self._made[key] = self._output(self._graft.add(op_type, [self.as_float(value)], [keep], name), fold)
        return self._made[key]

    def _by_channel(self, op_type: str, value: ir.Value, source: ir.Value, place: tuple[int, int], fold: Fold) -> Gauge:
        """Reduce each slice of a tensor along an axis; `source` is what is reduced, in the place of `value`."""
        rank, axis = place
        key = (f"{op_type} {axis}", value)
        if key not in self._made:
            others = tuple(number for number in range(rank) if number != axis)
            inputs, attributes = [source], [ir.AttrInt64("keepdims", 0)]
            if self._opset >= _AXES_ARE_INPUTS:
                inputs.append(self._axes_operand(others))
            else:
                attributes.append(ir.AttrInt64s("axes", others))
            name = f"gauge/{value.name}/{op_type}/channels"
            self._made[key] = self._output(self._graft.add(op_type, inputs, attributes, name), fold)
        return self._made[key]

    def _axes_operand(self, axes: tuple[int, ...]) -> ir.Value:
        if axes not in self._axes:
            self._axes[axes] = self._graft.constant(ir.Tensor(np.asarray(axes, np.int64)), "gauge/axes")
        return self._axes[axes]

    def _output(self, value: ir.Value, fold: Fold) -> Gauge:
        value.type = ir.TensorType(ir.DataType.FLOAT)
        self._graft.model.graph.outputs.append(value)
        return Gauge(value.name or "", fold)


_FOLDS = {Fold.SUM: np.add, Fold.MAX: np.maximum, Fold.MIN: np.minimum}


class Readings:
    """What the gauges of all runs so far say; one number, or one a channel, for each gauge."""

    def __init__(self) -> None:
        self._values: dict[Gauge, NDArray[np.float64]] = {}

    def __bool__(self) -> bool:
        """Whether anything was read."""
        return bool(self._values)

    def observe(self, gauges: Mapping[str, Gauge], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Add what one run gave: graph output -> reading."""
        for name, array in outputs.items():
            gauge, reading = gauges[name], np.asarray(array, np.float64)
            before = self._values.get(gauge)
            self._values[gauge] = reading if before is None else _FOLDS[gauge.fold](before, reading)

    def number(self, gauge: Gauge) -> float:
        """The reading of a gauge that gives one number; NaN where it met NaN."""
        return float(self._values[gauge])

    def channels(self, gauge: Gauge) -> NDArray[np.float64]:
        """The reading of a gauge that gives one number a channel; shape [C]."""
        return self._values[gauge]
