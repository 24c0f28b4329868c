"""The ranges of the channels of planned weights, as rows of box plots."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import NonFiniteError, QType, is_negligible, weight_amax
from qdq_cli.model.nodes import every_body
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.record import WeightTarget
from qdq_cli.screen.anchors import channels_of
from qdq_cli.screen.page import BoxRow
from qdq_cli.screen.sentences import count_text

FAR = 3.0
"""Quartile distances above the third quartile from which on a channel is an outlier.

Source: Tukey 1977, Exploratory Data Analysis, section 2D: "far out".
"""


def weight_rows(model: ir.Model, plan: Plan) -> tuple[BoxRow, ...]:
    """Measure amax of every channel of the constant operands of a plan; call it before the model is rewritten.

    Args:
        model: The prepared float model.
        plan: What will be quantized.

    Returns:
        A row for each weight, in the order of the plan, a weight with several readers once. Channels that are zero, or
        too small for a scale, do not count for the quantiles.
    """
    first_use = {target.tensor: target for target in reversed(plan.weights)}
    graphs = (model.graph, *every_body(model.graph))
    values = {name: value for graph in graphs for name, value in graph.initializers.items()}
    tensors = ((target, values[target.tensor].const_value) for target in reversed(first_use.values()))
    return tuple(
        _row(target, tensor.numpy(), plan.target.weights.qtype)
        for target, tensor in tensors
        if tensor is not None and tensor.size
    )


def _row(target: WeightTarget, array: NDArray[np.generic], qtype: QType) -> BoxRow:
    name, anchor = target.use.node, channels_of(target.use.node)
    try:
        amax = np.atleast_1d(weight_amax(array, target.axis)).astype(np.float64)
    except NonFiniteError:
        return BoxRow(name, (math.nan,) * 5, note="holds NaN or Inf", anchor=anchor)
    alive = np.flatnonzero(~is_negligible(amax, qtype=qtype))
    note = _note(target, amax.size, amax.size - alive.size)
    if not alive.size:
        return BoxRow(name, (0.0, 0.0, 0.0, 0.0, 0.0), note=note, anchor=anchor)
    least, first, median, third, most = np.quantile(amax[alive], (0, 0.25, 0.5, 0.75, 1)).tolist()
    far = [place for place in alive.tolist() if amax[place] > third + FAR * (third - first)]
    far.sort(key=lambda place: (-amax[place], place))
    outliers = tuple((f"channel {place}", float(amax[place])) for place in far)
    return BoxRow(name, (least, first, median, third, most), outliers, note, anchor)


def _note(target: WeightTarget, channels: int, zero: int) -> str:
    if target.axis is None:
        return "one scale"
    return count_text(channels, "channel") + (f", {zero} of them zero or next to it" if zero else "")
