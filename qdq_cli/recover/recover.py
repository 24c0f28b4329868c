"""Recovery: change ranges, weights and biases of a quantized model, step by step, as long as its outputs gain.

Equalization comes first, because it changes what every later step looks at; then the layers are taken in portions whose
rows fit in memory, and every step works on a portion before the next one does. A change stays where the layer's own
output error falls on samples held back, and where the error of the model's outputs does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Histogram
from qdq_cli.recover.bench import Bench
from qdq_cli.recover.candidate import Candidate
from qdq_cli.recover.changes import Change, Judge, changed
from qdq_cli.recover.equalize import Equalized, equalize
from qdq_cli.recover.record import LayerGain, Recovery, StepGain
from qdq_cli.recover.rows import Layer, layers_of, portions, rows_a_batch, take_rows
from qdq_cli.recover.start import Start
from qdq_cli.recover.steps import STEPS
from qdq_cli.recover.trials import Trials

EQUALIZING = ("equalize", "smooth")
"""The steps that come before all others."""

_HELD_ROWS = 4096


@dataclass(frozen=True)
class Recovered:
    """A recovered model.

    Args:
        candidate: The best one found.
        base: Initializer -> values of the equalized float model, which computes what the prepared model does; a layer
            that is to stay float takes its weight from here.
        histograms: Of every calibrated tensor, in the equalized model.
        record: What was done.
    """

    candidate: Candidate
    base: Mapping[str, NDArray[np.floating]]
    histograms: Mapping[str, Histogram]
    record: Recovery


def recover(start: Start, steps: Sequence[str]) -> Recovered:
    """Recover accuracy.

    Args:
        start: The model, its plan, its ranges and its samples.
        steps: Names out of `EQUALIZING` and `STEPS`; the order they are taken in is fixed.

    Raises:
        QdqError: The model cannot be run, or a sample cannot be used.
    """
    trials = Trials(start.model, start.split.load(start.split.judge))
    judge = Judge(trials, Candidate(start.plan, start.amax))
    noise = judge.noise
    log = _Log()
    first = [step for step in EQUALIZING if step in steps]
    with start.listener.progress("recovering", 1) as advance:
        equalized = equalize(start, judge, first)
        advance(1, 1)
    if first:
        log.add(
            "+".join(first),
            noise,
            judge.noise,
            [LayerGain("equalize", v.where, v.accepted) for v in equalized.verdicts],
        )
    _work_on_layers(start, equalized, judge, [step for step in STEPS if step in steps], log)
    record = Recovery(trials.samples, _db(noise), _db(judge.noise), log.steps(), tuple(log.layers))
    return Recovered(judge.candidate, equalized.constants, equalized.histograms, record)


def _work_on_layers(start: Start, equalized: Equalized, judge: Judge, steps: Sequence[str], log: _Log) -> None:
    """Take the layers portion by portion through the steps."""
    found = portions(layers_of(equalized.model, start.plan)) if steps else []
    with start.listener.progress("recovering layers", len(found) * len(steps)) as advance:
        for number, portion in enumerate(found):
            groups = _benches(start, equalized.model, portion)
            for position, name in enumerate(steps):
                before = judge.noise
                gains = _take_step(name, groups, judge, start.free_groups)
                log.add(name, before, judge.noise, gains)
                advance(number * len(steps) + position + 1, len(found) * len(steps))


def _benches(start: Start, model: ir.Model, portion: Sequence[Layer]) -> list[list[Bench]]:
    """Put the layers of a portion on benches, those that read one tensor together."""
    nodes = {node.name: node for node in model.graph}
    learn, held = start.split.learn, start.split.judge
    rows = take_rows(model, portion, start.split.load(learn), rows_a_batch(portion, len(learn)))
    kept = take_rows(model, portion, start.split.load(held), max(1, _HELD_ROWS // max(1, len(held))))
    groups: dict[int, list[Bench]] = {}
    for layer in portion:
        groups.setdefault(layer.group, []).append(Bench(layer, nodes[layer.node], rows[layer.node], kept[layer.node]))
    return list(groups.values())


def _take_step(name: str, groups: Iterable[Sequence[Bench]], judge: Judge, free: frozenset[int]) -> list[LayerGain]:
    """Collect what helps layers on held-back samples, and let the judge decide on it."""
    changes: list[Change] = []
    gains: dict[str, LayerGain] = {}
    for benches in groups:
        for change in STEPS[name](benches, judge.candidate):
            if not free.issuperset(change.amax):
                continue
            before, after = _local_errors(benches, change, judge.candidate)
            gains[change.where] = LayerGain(name, change.where, False, _db(before), _db(after))
            if after < before:
                changes.append(change)
    for verdict in judge.decide(changes):
        gain = gains[verdict.where]
        gains[verdict.where] = LayerGain(name, verdict.where, verdict.accepted, gain.before_db, gain.after_db)
    return list(gains.values())


def _local_errors(benches: Sequence[Bench], change: Change, candidate: Candidate) -> tuple[float, float]:
    """Error of the layers that a change concerns, on samples held back: without it and with it."""
    concerned = [bench for bench in benches if change.amax or bench.layer.node == change.where]
    new = changed(candidate, [change])
    before = sum(bench.held_error(candidate) for bench in concerned)
    return before, sum(bench.held_error(new) for bench in concerned)


class _Log:
    """Gains as they come."""

    def __init__(self) -> None:
        self.layers: list[LayerGain] = []
        self._gains: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    def add(self, step: str, before: float, after: float, gains: Sequence[LayerGain]) -> None:
        """Add what a step did to some layers, and the noise of the model's outputs before and after."""
        self.layers += gains
        tried, accepted = self._counts.get(step, (0, 0))
        self._counts[step] = tried + len(gains), accepted + sum(gain.accepted for gain in gains)
        self._gains[step] = self._gains.get(step, 0.0) + _db(after) - _db(before)

    def steps(self) -> tuple[StepGain, ...]:
        """The sums, step by step."""
        return tuple(StepGain(step, *counts, round(self._gains[step], 4)) for step, counts in self._counts.items())


_CEILING_DB = 200.0


def _db(noise: float) -> float:
    """A noise-to-signal ratio as SQNR in dB, at most 200."""
    return round(min(-10.0 * math.log10(noise), _CEILING_DB), 4) if noise > 0 else _CEILING_DB
