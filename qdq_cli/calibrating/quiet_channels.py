"""Make nearly dead channels in front of depthwise convolutions as large as the others, by what calibration saw of them.

`preparing.dead_channels` does so where a proof bounds a channel. Behind a plain Relu, and wherever the graph's input is
near, nothing does. But a bound only says how far a channel may be enlarged: convolutions and a Relu pass a power of two
on without changing a bit, for any input. So the pieces of the tensor that calibration kept tell the factor. A Clip is
passed too: where it clips such a channel earlier than before, the range of the tensor has clipped it already.

The noise of a channel's rounding falls by the square of its factor, and nothing else of the quantized model changes as
long as the channel stays inside the range. Therefore a channel has to be steady: one that is zero nearly everywhere and
large where it finds something looks quiet too, and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Histogram, ScaleGroup
from calibrators.excerpts import Excerpts
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at
from qdq_cli.model.provenance import SPREAD
from qdq_cli.placement.plan import Plan
from qdq_cli.preparing.dead_channels import MOST_FACTOR, Place, Spreading, enlarge, is_exact, places_in

LEAST_FACTOR = 8.0
"""Channels that have less room are left alone: three bits are a channel with two codes."""

LEAST_PIECES = 8
"""Samples that have to show a channel before it is called quiet."""

HEADROOM = 2.0
"""So many times as large as was seen of it a channel may become before it reaches the largest one."""

STEADY = 1 / 8
"""A quarter of a steady channel's values are at least this share of its largest."""


@dataclass(frozen=True)
class Enlarged:
    """A model with its quiet channels as large as the others, and what was seen of it.

    Args:
        model: Computes what the prepared model does; that itself where nothing was done.
        histograms: Tensor -> what calibration saw, its pieces as this model has them.
        spread: What was done, one for each depthwise convolution behind.
    """

    model: ir.Model
    histograms: Mapping[str, Histogram]
    spread: tuple[Spreading, ...] = ()

    @property
    def channels(self) -> int:
        """How many channels were made larger."""
        return sum(int((each.factors != 1.0).sum()) for each in self.spread)

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the depthwise convolutions behind them."""
        return tuple(each.operator for each in self.spread)


def with_quiet_enlarged(
    model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram], groups: Sequence[ScaleGroup]
) -> Enlarged:
    """Return the model with the quiet channels of quantized tensors made larger.

    Args:
        model: The prepared float model; left as it is.
        plan: What is quantized.
        histograms: Of its tensors, with their excerpts.
        groups: Those of its scale groups whose range calibration chooses.
    """
    free = set(groups)
    chosen = {target.tensor for target in plan.targets if plan.groups[target.group] in free}
    found = {}
    for number, (_, place) in enumerate(places_in(model)):
        tensor = place.reader.inputs[0]
        seen = histograms.get(tensor.name or "") if tensor is not None and tensor.name in chosen else None
        factors = None if seen is None else _factors(place, seen.excerpts)
        if factors is not None and (factors != 1.0).any():
            found[number] = factors
    return _enlarged(model, histograms, found) if found else Enlarged(model, histograms)


def _factors(place: Place, excerpts: Excerpts) -> NDArray[np.float64] | None:
    """Return the power of two for each channel, 1.0 for those that stay; None where too little is known."""
    pieces = [np.abs(piece.reshape(*piece.shape[:2], -1)) for piece in excerpts.pieces if piece.ndim > 2]
    if len(pieces) < LEAST_PIECES or len({piece.shape[:2] for piece in pieces}) != 1:
        return None
    values = np.concatenate([piece.swapaxes(0, 1).reshape(piece.shape[1], -1) for piece in pieces], axis=1)
    largest = values.max(axis=1).astype(np.float64)
    steady = (largest > 0) & (np.quantile(values, 0.75, axis=1) >= STEADY * largest)
    room = float(largest.max()) / (HEADROOM * np.where(steady, largest, np.inf))
    powers = np.exp2(np.floor(np.log2(np.maximum(room, 1.0))))
    powers = np.where(powers >= LEAST_FACTOR, np.minimum(powers, MOST_FACTOR), 1.0)
    return np.where(is_exact(place, powers), powers, 1.0)


def _enlarged(
    model: ir.Model, histograms: Mapping[str, Histogram], found: Mapping[int, NDArray[np.float64]]
) -> Enlarged:
    copy = model.clone()
    names, changed, done = Names(copy.graph), dict(histograms), []
    places = places_in(copy)
    for number, factors in found.items():
        graph, place = places[number]
        none = np.full(len(factors), np.nan)
        done.append(Spreading(place.reader.name or "", factors, none, np.asarray(constant_at(place.reader, 1))))
        enlarge(graph, place, factors, names)
        tensor = str(place.reader.inputs[0].name)  # type: ignore[union-attr]  # it was observed
        changed[tensor] = histograms[tensor].with_excerpts(histograms[tensor].excerpts.scaled(factors))
    operators = [each.operator for each in done]
    before = copy.metadata_props.get(SPREAD)
    copy.metadata_props[SPREAD] = ", ".join(dict.fromkeys([*(before.split(", ") if before else ()), *operators]))
    return Enlarged(copy, changed, tuple(done))
