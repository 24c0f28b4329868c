"""What making nearly dead channels larger, or folding constant ones, gained for the depthwise convolution behind them.

That is run by itself on pieces of its input (`readers`), quantized by the range that was chosen, as it is now and as it
would have been: channels that are 2^n times as large come in as they were and meet the weights that they had.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Histogram, Range
from qdq_cli.calibrating.readers import Floats, Layer, Reader, as_stored, noise_ratio, readers_of
from qdq_cli.calibrating.spread_record import SpreadGain
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.rounded import round_weight
from qdq_cli.preparing.dead_channels import Spreading


def spread_gains(
    model: ir.Model,
    plan: Plan,
    histograms: Mapping[str, Histogram],
    ranges: Sequence[Range],
    spreadings: Iterable[Spreading],
) -> tuple[SpreadGain, ...]:
    """Measure what every change of channels gained.

    Args:
        model: The float model with the changes.
        plan: What is quantized.
        histograms: Of its tensors, with their excerpts.
        ranges: One for each scale group.
        spreadings: The changes, in the order in which they were made; one operator may have several.
    """
    by_node: dict[str, list[Spreading]] = {}
    for spreading in spreadings:
        by_node.setdefault(spreading.operator, []).append(spreading)
    readers = {reader.node.name or "": reader for reader in readers_of(model, plan)} if by_node else {}
    kept = {use.node: ranges[target.group] for target in plan.targets for use in target.uses if not use.slot}
    return tuple(_gain(name, done, readers.get(name), kept, histograms) for name, done in by_node.items())


def _gain(
    name: str,
    done: Sequence[Spreading],
    reader: Reader | None,
    kept: Mapping[str, Range],
    histograms: Mapping[str, Histogram],
) -> SpreadGain:
    enlarged = np.any([each.factors != 1.0 for each in done], axis=0).sum()
    gain = SpreadGain(name, int(enlarged), sum(int((~np.isnan(each.constants)).sum()) for each in done))
    seen = None if reader is None else histograms.get(reader.tensor)
    if reader is None or seen is None or not seen.excerpts.pieces:
        return gain
    layer = reader.layer(seen.excerpts.pieces)
    before = replace(layer, rows=_rows_before(layer, done), weight=reader.matrices(done[0].weight))
    stored = kept[name], done[0].weight, layer.signal
    now = kept[name], reader.weight, layer.signal
    return replace(gain, before_db=_sqnr_db(before, reader, *stored), after_db=_sqnr_db(layer, reader, *now))


def _rows_before(layer: Layer, done: Sequence[Spreading]) -> Floats:
    """What the operator read before these changes, [channels, R, K]."""
    rows = layer.rows
    for each in reversed(done):
        constant = each.constants[:, None, None]
        rows = np.where(np.isnan(constant), rows / each.factors[:, None, None], constant).astype(np.float32)
    return rows


def _sqnr_db(
    layer: Layer, reader: Reader, kept: Range, weight: NDArray[np.generic], signal: NDArray[np.float64]
) -> float | None:
    """The SQNR of an operator's results; None where they are exact."""
    quantized = reader.matrices(round_weight(weight, reader.target.scheme))
    ratio = noise_ratio(layer.noise(as_stored(layer.rows, kept, reader.scheme), quantized), signal)
    return round(-10.0 * math.log10(ratio), 2) if ratio > 0 else None
