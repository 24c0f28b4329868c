"""The ranges of the channels of planned weights, as rows of box plots."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.graph.plan import Plan, WeightTarget
from qdq_cli.pages.page import BoxRow

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
        A row for each weight, in the order of the plan, a weight with several readers once. Channels that are zero do
        not count for the quantiles.
    """
    first_use = {target.tensor: target for target in reversed(plan.weights)}
    values = model.graph.initializers
    rows = []
    for target in reversed(first_use.values()):
        tensor = values[target.tensor].const_value if target.tensor in values else None
        if tensor is not None and tensor.size:
            rows.append(_row(target, _channel_amax(np.asarray(tensor.numpy()), target.axis)))
    return tuple(rows)


def _channel_amax(array: NDArray[np.generic], axis: int | None) -> NDArray[np.float64]:
    """Largest absolute value of each slice along the axis, or of the whole; nothing as large as the weight is made."""
    others = None if axis is None else tuple(place for place in range(array.ndim) if place != axis)
    return np.atleast_1d(np.maximum(array.max(axis=others), -array.min(axis=others))).astype(np.float64)


def _row(target: WeightTarget, amax: NDArray[np.float64]) -> BoxRow:
    label = target.use.node
    alive = np.flatnonzero(amax > 0)
    if not alive.size:
        return BoxRow(label, (0.0, 0.0, 0.0, 0.0, 0.0), note="all zero")
    least, first, median, third, most = (float(value) for value in np.quantile(amax[alive], (0, 0.25, 0.5, 0.75, 1)))
    far = [place for place in alive.tolist() if amax[place] > third + FAR * (third - first)]
    far.sort(key=lambda place: (-amax[place], place))
    outliers = tuple((f"channel {place}", float(amax[place])) for place in far)
    return BoxRow(label, (least, first, median, third, most), outliers, _note(target, amax.size, alive.size))


def _note(target: WeightTarget, channels: int, alive: int) -> str:
    if target.axis is None:
        return "one scale"
    zero = f", {channels - alive} of them zero" if alive < channels else ""
    return f"{channels} channel{'' if channels == 1 else 's'}{zero}"
