"""Run the measuring graph batch by batch, and say what it read: each tensor's distances, ranked, with their causes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from calibrators.metrics import SQNR_CEILING_DB, sqnr_of_ratio, sqnr_of_sums
from qdq_cli.comparing.bodies import Body, BodyRunner
from qdq_cli.comparing.causes import InputError, activation_cause, codes_cause, weight_cause
from qdq_cli.comparing.gauges import Gauge, PairGauges, Readings
from qdq_cli.comparing.profile import InputGauges, Profile, Row
from qdq_cli.comparing.record import Cause, ChannelErrors, LayerError, Layers, TensorDistance
from qdq_cli.data.batches import Batch
from qdq_cli.running.outputs import without_weights
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source

_OWN = 0.5
"""From this share on, the weights bring most of a layer's error."""

_OWN_DB = 10 * math.log10(_OWN)
"""The error of a layer itself is most of what has accumulated behind it where that is at most this much worse."""

_STANDS_OUT_DB = 10.0
"""A layer stands out that adds ten times the error of the median layer, for its signal."""

_RUINED = 0.25
"""From this noise for its signal on, a channel is called ruined."""

_NEAR_DB = 3.0
"""Layers whose SQNR is this near count as equally bad; the first of them is where the damage starts."""


class ProfileMeter:
    """Measures the tensors of a profile on one batch after another; keeps sums and extremes alone.

    Args:
        profile: What to measure.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.readings = Readings()
        self._runner: Runner | None = None
        if profile.rows:
            proto, weights = without_weights(profile.model)
            self._runner = Runner(Source(proto.SerializeToString(), weights))

    def observe(self, batch: Batch) -> None:
        """Run a batch.

        Raises:
            ModelError: The run failed.
        """
        if self._runner is not None:
            self.readings.observe(self.profile.gauges, self._runner.run(batch))


class LayerMeter:
    """Measures the tensors of two models, those in bodies too, on one batch after another.

    Args:
        main: What to measure in the main graph.
        bodies: What to measure in bodies, in the model's order.
        runner: Runs the models for what they hand these; None where there are none.

    Raises:
        ModelError: ONNX Runtime cannot load a graph.
    """

    def __init__(self, main: Profile, bodies: Sequence[Body] = (), runner: BodyRunner | None = None) -> None:
        self._main = ProfileMeter(main)
        self._bodies = bodies
        self._inside = [ProfileMeter(body.profile) for body in bodies]
        self._runner = runner

    def observe(self, batch: Batch) -> None:
        """Run a batch.

        Raises:
            ModelError: The run failed.
        """
        self._main.observe(batch)
        for number, fed in () if self._runner is None else self._runner.rounds(batch):
            self._inside[number].observe(fed)

    def layers(self) -> Layers:
        """Say what was measured; at least one batch has to be."""
        rows = self._rows()
        found = [_layer(row, place, readings) for place, (row, readings) in enumerate(rows) if readings]
        measured = [layer for layer in found if layer is not None]
        told = {layer.tensor for layer in measured}
        profiles = [self._main.profile, *(body.profile for body in self._bodies)]
        left_out = [tensor for profile in profiles for tensor in profile.left_out]
        unmatched = tuple(tensor for profile in profiles for tensor in profile.unmatched)
        return Layers(
            tensors=len(rows) + len(left_out) + len(unmatched),
            shared=len(rows) + len(left_out),
            start=_start(measured),
            ranked=tuple(sorted(measured, key=_rank)),
            not_compared=(*(row.match.tensor for row, _ in rows if row.match.tensor not in told), *left_out),
            unmatched=unmatched,
        )

    def _rows(self) -> list[tuple[Row, Readings]]:
        """Every row with its readings, in the model's order."""
        main = [(row, self._main.readings) for row in self._main.profile.rows]
        found, first = [], 0
        for body, meter in zip(self._bodies, self._inside, strict=True):
            found += [*main[first : body.before], *((row, meter.readings) for row in meter.profile.rows)]
            first = body.before
        return [*found, *main[first:]]


def _rank(layer: LayerError) -> tuple[float, float]:
    if layer.local is None:
        return (1000.0, layer.order)
    return (900.0 if layer.own_db is None else layer.own_db, layer.order)


def _start(layers: Iterable[LayerError]) -> str | None:
    """The first tensor in the model's order whose own error stands out and is most of what is there."""
    own = [(layer.own_db, layer) for layer in layers if layer.own_db is not None]
    if not own:
        return None
    limit = min(sqnr for sqnr, _ in own) + _NEAR_DB
    if len(own) > 1:
        limit = min(limit, statistics.median(sqnr for sqnr, _ in own) - _STANDS_OUT_DB)
    starting = (
        layer
        for sqnr, layer in sorted(own, key=lambda pair: pair[1].order)
        if sqnr <= min(limit, SQNR_CEILING_DB - 1) and layer.accumulated.sqnr_db >= sqnr + _OWN_DB
    )
    return next((layer.tensor for layer in starting), None)


def _layer(row: Row, place: int, readings: Readings) -> LayerError | None:
    accumulated = _distance(row.accumulated, readings)
    if accumulated is None:
        return None
    local = None if row.local is None else _distance(row.local, readings)
    signal, other = readings.number(row.accumulated.signal), readings.number(row.accumulated.other)
    return LayerError(
        tensor=row.match.tensor,
        node=row.node,
        op_type=row.op_type,
        order=place,
        accumulated=accumulated,
        local=local,
        dead=other == 0 < signal,
        cause=_cause(row, readings),
        feeds=row.feeds,
        channels=None if row.channels is None or local is None else _channels(row.channels, readings),
    )


def _channels(gauges: tuple[Gauge, Gauge], readings: Readings) -> ChannelErrors:
    """Take each channel's noise by its own signal; noise that is no number drowns it."""
    signal, noise = (readings.channels(gauge) for gauge in gauges)
    drowned = ~(noise < signal)
    ratio = np.where(drowned, noise != 0, noise / np.where(drowned, 1.0, signal))
    worst = int(np.lexsort((-noise, -ratio))[0])
    return ChannelErrors(
        count=int(ratio.size),
        sqnr_db=round(sqnr_of_ratio(float(ratio.mean())), 4),
        worst=worst,
        worst_sqnr_db=round(sqnr_of_sums(float(signal[worst]), float(np.nan_to_num(noise[worst], nan=np.inf))), 4),
        ruined=int(np.count_nonzero(ratio > _RUINED)),
    )


def _distance(pair: PairGauges, readings: Readings) -> TensorDistance | None:
    """Distances from sums; None where FP32 itself is not finite."""
    signal, other, noise = (readings.number(gauge) for gauge in (pair.signal, pair.other, pair.noise))
    if not math.isfinite(signal):
        return None
    if not (math.isfinite(noise) and math.isfinite(other)):
        return TensorDistance(sqnr_of_sums(signal, math.inf), 0.0, None)
    product = (signal + other - noise) / 2
    cosine = (1.0 if signal == other else 0.0) if signal == 0 or other == 0 else product / math.sqrt(signal * other)
    return TensorDistance(
        sqnr_db=round(sqnr_of_sums(signal, noise), 4),
        cosine=round(min(max(cosine, -1.0), 1.0), 6),
        max_error=readings.number(pair.peak),
    )


def _cause(row: Row, readings: Readings) -> Cause | None:
    noise = 0.0 if row.local is None else readings.number(row.local.noise)
    if row.local is None or noise == 0 or not math.isfinite(noise):
        return None
    if row.on_codes:
        return codes_cause(row.on_codes)
    share = 0.0 if row.by_weights is None else min(1.0, readings.number(row.by_weights) / noise)
    if share >= _OWN or (row.by_weights is not None and not row.inputs):
        return weight_cause(share, row.weights)
    return activation_cause(1 - share, [_input(gauges, readings) for gauges in row.inputs])


def _input(gauges: InputGauges, readings: Readings) -> InputError:
    channel, ratio = None, 0.0
    if gauges.channels is not None:
        amax = readings.channels(gauges.channels)
        positive = amax[amax > 0]
        if amax.size > 1 and positive.size:
            channel, ratio = int(amax.argmax()), float(amax.max() / np.median(positive))
    return InputError(
        tensor=gauges.tensor,
        signal=readings.number(gauges.signal),
        noise=readings.number(gauges.noise),
        clipped=0.0 if gauges.clipped is None else readings.number(gauges.clipped),
        low=readings.number(gauges.low),
        high=readings.number(gauges.high),
        range=gauges.range,
        channel=channel,
        ratio=ratio,
        vanished=0.0 if gauges.vanished is None else readings.number(gauges.vanished),
    )
