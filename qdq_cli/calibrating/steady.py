"""What rounding does to channels that hardly move, and to their weights, goes into the bias behind them.

A channel that stays near one value is rounded to one code, or two: always by nearly the same amount. Behind a batch
norm that was folded, large weights multiply it, and their own rounding multiplies the value: errors that never change
are left in the results. They are known from the pieces that calibration keeps, and a bias takes them out again. Making
such a channel constant, its weight zero, would do no better: that loses what the channel still says, this does not.

Source: correction of the mean error of a layer, Nagel et al. 2019, arXiv 1906.04721, section 4.2, here of inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Histogram, Range, qparams_of
from qdq_cli.calibrating.readers import Floats, Reader, as_stored, readers_of
from qdq_cli.calibrating.spread_record import SteadyGain
from qdq_cli.placement.bias_place import bias_place
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.rounded import round_weight

LEAST_PIECES = 8
"""Samples that have to show a channel before it is called steady."""

LEAST_GAIN = 10 ** (1.0 / 10)
"""So much less noise there must be in the results, one decibel, for a bias to be changed."""


@dataclass(frozen=True)
class Steady:
    """Biases that make up for the rounding of channels that hardly move.

    Args:
        biases: Weighted node -> its bias, shape [output channels].
        gains: What that gained, in the plan's order.
    """

    biases: Mapping[str, NDArray[np.float64]]
    gains: tuple[SteadyGain, ...] = ()


def steady_biases(model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram], ranges: Sequence[Range]) -> Steady:
    """Find the operators whose results steady channels of their input spoil, and the biases that make up for it.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        histograms: Of its tensors, with their excerpts.
        ranges: One for each scale group.
    """
    group_of = {use.node: target.group for target in plan.targets for use in target.uses if not use.slot}
    biases, gains = {}, []
    for reader in readers_of(model, plan):
        seen, name = histograms.get(reader.tensor), reader.node.name or ""
        place = bias_place(reader.node, reader.linear.channels)
        if seen is None or place is None or len(seen.excerpts.pieces) < LEAST_PIECES or reader.linear.gain != 1.0:
            continue
        found = _offset(reader, seen.excerpts.pieces, ranges[group_of[name]])
        if found is not None:
            offset, gain = found
            biases[name] = place.value - offset.reshape(-1)
            gains.append(gain)
    return Steady(biases, tuple(gains))


def _offset(reader: Reader, pieces: Sequence[Floats], kept: Range) -> tuple[NDArray[np.float64], SteadyGain] | None:
    """Return what steady channels add to each result of an operator, [groups, O]; None where it is not worth a bias."""
    layer, step = reader.layer(pieces), float(qparams_of(kept, reader.scheme).scale)
    steady = layer.rows.std(axis=1, dtype=np.float64) < step
    if not steady.any():
        return None
    stored = as_stored(layer.rows, kept, reader.scheme)
    weight = reader.matrices(round_weight(reader.weight, reader.target.scheme))
    still = (np.where(steady, each.mean(axis=1, dtype=np.float64), 0.0)[:, None] for each in (stored, layer.rows))
    offset = np.matmul(next(still), weight) - np.matmul(next(still), layer.weight)
    noise = np.matmul(stored, weight) - np.matmul(layer.rows, layer.weight)
    before, after = (float(np.square(each, dtype=np.float64).sum()) for each in (noise, noise - offset))
    signal = float(layer.signal.sum())
    if not 0 < after * LEAST_GAIN < before or not signal:
        return None
    told = (round(10.0 * math.log10(signal / energy), 2) for energy in (before, after))
    return offset[:, 0], SteadyGain(reader.node.name or "", *told)
