"""Recovery: change ranges, weights and biases of a quantized model, step by step, as long as its outputs gain.

Equalization comes first, because it changes what every later step looks at; then the layers are taken in portions whose
rows fit in memory, and every step works on a portion before the next one does. A change stays where the layer's own
output error falls on samples held back, and where the error of the model's outputs does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import onnx_ir as ir

from calibrators import Histogram, Range
from calibrators.metrics import sqnr_of_ratio
from qdq_cli.judging.candidate import Candidate
from qdq_cli.judging.trials import ABREAST, Trials
from qdq_cli.model.nodes import every_node
from qdq_cli.process.abreast import each
from qdq_cli.recovering.bench import Bench
from qdq_cli.recovering.changes import Change, Judge, changed
from qdq_cli.recovering.equalize import EQUALIZING, Equalized, equalize, repeat
from qdq_cli.recovering.journal import Journal, Progress
from qdq_cli.recovering.record import LayerGain, Recovery, StepGain
from qdq_cli.recovering.rows import Layer, layers_of, portions, rows_a_batch, take_rows
from qdq_cli.recovering.start import Start
from qdq_cli.recovering.steps import STEPS, fits
from qdq_cli.running.session import cores

_HELD_ROWS = 4096


@dataclass(frozen=True)
class Recovered:
    """A recovered model.

    Args:
        candidate: The best one found, on the equalized float model.
        histograms: Of every calibrated tensor, in the equalized model.
        record: What was done.
        unseen: Layers in branches that no sample to learn from takes, or none of those set aside: they were left alone.
    """

    candidate: Candidate
    histograms: Mapping[str, Histogram]
    record: Recovery
    unseen: tuple[str, ...] = ()


def recover(start: Start, steps: Sequence[str]) -> Recovered:
    """Recover accuracy; goes on where a run of the same kind was interrupted, and comes to the same result.

    Args:
        start: The model, its plan, its ranges and its samples.
        steps: Names out of `EQUALIZING` and `STEPS`; the order they are taken in is fixed.

    Raises:
        QdqError: The model cannot be run, or a sample cannot be used.
    """
    work = _Work(start.learning(), steps)
    equalized = work.equalize([step for step in EQUALIZING if step in steps])
    work.on_layers(equalized, [step for step in STEPS if step in steps])
    work.journal.remove()
    observed, chosen = start.observed, start.ranges
    if any(equalized.choice):
        observed = start.observe(equalized.model)
        chosen = start.choose(observed)
    kept = _of_all_samples(work.judge.candidate.ranges, equalized.ranges, chosen)
    candidate = replace(work.judge.candidate, ranges=kept, base=equalized.constants)
    return Recovered(candidate, observed.histograms, work.record(), tuple(work.unseen))


def _of_all_samples(found: Sequence[Range], learnt: Sequence[Range], chosen: Sequence[Range]) -> tuple[Range, ...]:
    """The ranges that calibration chooses from all samples, but for those that a step found."""
    return tuple(whole if mine == before else mine for mine, before, whole in zip(found, learnt, chosen, strict=True))


class _Work:
    """One run of recovery: the judge, what came of every step, and the journal that keeps both."""

    def __init__(self, start: Start, steps: Sequence[str]) -> None:
        self._start = start
        self._trials = Trials(start.model, start.split.load(start.split.judge))
        first = Candidate(start.plan, start.ranges)
        self.judge = Judge(self._trials, first)
        self._noise = self.judge.noise
        self._log = _Log()
        self.unseen: list[str] = []
        self.journal = Journal(start.journal, start.identity, *steps)
        self._known = self.journal.read(first)
        if self._known is not None:
            start.listener.note(f"Recovery goes on where it was interrupted ({start.journal}).")
            self.judge.take(self._known.candidate, self._known.noise)
            self._log = _Log(self._known.layers, self._known.gains)
            self.unseen += self._known.unseen

    def equalize(self, kinds: Sequence[str]) -> Equalized:
        """Take the steps that come first."""
        if self._known is not None:
            return repeat(self._start, kinds, self._known.choice)
        before = self.judge.noise
        equalized = equalize(self._start, self.judge, kinds)
        for step in kinds:
            verdicts = equalized.verdicts.get(step, ())
            after = verdicts[-1].after if verdicts else before
            self._log.add(step, before, after, [LayerGain(step, each.where, each.accepted) for each in verdicts])
            before = after
        self._keep(equalized, 0)
        return equalized

    def on_layers(self, equalized: Equalized, steps: Sequence[str]) -> None:
        """Take the layers portion by portion through the steps."""
        start = self._start
        found = portions(layers_of(equalized.model, start.plan)) if steps else []
        done = self._known.portions if self._known is not None else 0
        with start.listener.progress("recovering", len(found) * len(steps)) as advance:
            for number, portion in enumerate(found[done:], start=done):
                groups = _benches(start, equalized.model, portion)
                there = {bench.layer.node for benches in groups for bench in benches}
                self.unseen += [layer.node for layer in portion if layer.node not in there]
                for position, name in enumerate(steps):
                    before = self.judge.noise
                    gains = _take_step(name, groups, self.judge, start.free_groups)
                    self._log.add(name, before, self.judge.noise, gains)
                    advance(number * len(steps) + position + 1, len(found) * len(steps))
                self._keep(equalized, number + 1)

    def record(self) -> Recovery:
        """What was done."""
        before, after = _db(self._noise), _db(self.judge.noise)
        return Recovery(self._trials.samples, before, after, self._log.steps(), tuple(self._log.layers))

    def _keep(self, equalized: Equalized, portions_done: int) -> None:
        self.journal.write(
            Progress(
                self.judge.candidate,
                self.judge.noise,
                equalized.choice,
                portions_done,
                tuple(self._log.layers),
                self._log.gains,
                tuple(self.unseen),
            )
        )


def _benches(start: Start, model: ir.Model, portion: Sequence[Layer]) -> list[list[Bench]]:
    """Put the layers of a portion that run on benches, those that read one tensor together."""
    nodes = {node.name: node for node in every_node(model.graph)}
    learn, held = start.split.learn, start.split.judge
    rows = take_rows(model, portion, start.split.load(learn), rows_a_batch(portion, len(learn)))
    kept = take_rows(model, portion, start.split.load(held), rows_a_batch(portion, len(held), _HELD_ROWS))
    groups: dict[int | str, list[Bench]] = {}
    for layer in portion:
        if layer.node not in rows or layer.node not in kept:
            continue
        groups.setdefault(layer.beside, []).append(Bench(layer, nodes[layer.node], rows[layer.node], kept[layer.node]))
    return list(groups.values())


def _take_step(name: str, groups: Iterable[Sequence[Bench]], judge: Judge, free: frozenset[int]) -> list[LayerGain]:
    """Collect what helps layers on held-back samples, and let the judge decide on it."""
    candidate = judge.candidate

    def proposed(benches: Sequence[Bench]) -> list[tuple[Change, float, float]]:
        fitting = [bench for bench in benches if fits(name, bench.layer)]
        changes = STEPS[name](fitting, candidate) if fitting else []
        found = [change for change in changes if free.issuperset(change.ranges)]
        return [(change, *_local_errors(benches, change, candidate)) for change in found]

    found = [change for of_group in each(proposed, groups, min(ABREAST, cores())) for change in of_group]
    gains = {
        change.where: LayerGain(name, change.where, False, _db(before), _db(after)) for change, before, after in found
    }
    changes = [change for change, before, after in found if after < before]
    for verdict in judge.decide(changes):
        gain = gains[verdict.where]
        gains[verdict.where] = LayerGain(name, verdict.where, verdict.accepted, gain.before_db, gain.after_db)
    return list(gains.values())


def _local_errors(benches: Sequence[Bench], change: Change, candidate: Candidate) -> tuple[float, float]:
    """Error of the layers that a change concerns, on samples held back: without it and with it."""
    concerned = [bench for bench in benches if change.ranges or bench.layer.node == change.where]
    errors = [bench.held_errors(candidate, changed(candidate, [change])) for bench in concerned]
    return sum(before for before, _ in errors), sum(after for _, after in errors)


class _Log:
    """Gains as they come: of layers, and step -> (tried, accepted, gain in dB)."""

    def __init__(
        self, layers: Sequence[LayerGain] = (), gains: Mapping[str, tuple[int, int, float]] = MappingProxyType({})
    ) -> None:
        self.layers = list(layers)
        self.gains = dict(gains)

    def add(self, step: str, before: float, after: float, gains: Sequence[LayerGain]) -> None:
        """Add what a step did to some layers, and the noise of the model's outputs before and after."""
        self.layers += gains
        tried, accepted, gain_db = self.gains.get(step, (0, 0, 0.0))
        accepted += sum(gain.accepted for gain in gains)
        self.gains[step] = tried + len(gains), accepted, round(gain_db + _db(after) - _db(before), 4)

    def steps(self) -> tuple[StepGain, ...]:
        """The sums, step by step."""
        return tuple(StepGain(step, *found) for step, found in self.gains.items())


def _db(noise: float) -> float:
    """A noise-to-signal ratio as SQNR in dB, within +-200."""
    return round(sqnr_of_ratio(noise), 4)
