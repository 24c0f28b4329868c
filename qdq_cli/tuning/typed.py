"""Choose a type for every operator: the mix with the least predicted time on a GPU that meets a target.

The fastest mix is measured first, then recovered. Where that is not enough, the noise of every operator in each of its
types is estimated, and the cheapest changes of type are searched for: to another type, or to float.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import onnx_ir as ir

from qdq_cli.config.forms import QuantType
from qdq_cli.config.tune import TuneConfig
from qdq_cli.judging.aside import split
from qdq_cli.placement.plan import make_plan
from qdq_cli.process.errors import DataError
from qdq_cli.quantizing.groundwork import Groundwork, planned_again
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.pipeline import recover_accuracy, rewrite_model, write_model
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.sentences import FLOAT
from qdq_cli.sensitivity.by_type import noise_by_type
from qdq_cli.sensitivity.measure import Advance, noisiest_runs
from qdq_cli.sensitivity.mix import Kind, Mix, Unit, counts_of, uniform, units_of
from qdq_cli.sensitivity.stand import Stand, set_up
from qdq_cli.targets.known import target_for_types
from qdq_cli.tuning.asked import gpu_of, kept_aside
from qdq_cli.tuning.budget import FOR_NOTHING, Pair, cheapest_types
from qdq_cli.tuning.built import BuildMeter, build_meter
from qdq_cli.tuning.choosing import best, price, uneven
from qdq_cli.tuning.mix_time import Costs, MixClock, Start, fastest_mix, weighed
from qdq_cli.tuning.opening import open_for_tuning
from qdq_cli.tuning.points import PointMeter
from qdq_cli.tuning.record import Point, TuneReport, TypeChoice, TypedOperator, TypeSearch
from qdq_cli.tuning.search import MAX_MEASUREMENTS, FloatSet, Problem, search
from qdq_cli.tuning.typed_text import types_text

_MOST_MEASUREMENTS = 2 * MAX_MEASUREMENTS
"""Of two searches: each operator by itself, and neighbours together."""

_MOST_RECOVERIES = 2
"""Mixes that are recovered once one that meets the target is known: each takes as long as the first one did."""


def tune_types(run: Run, config: TuneConfig, kinds: Sequence[QuantType], target: Path) -> TuneReport:
    """Quantize a model so that it meets a target in the types that take the least time.

    Args:
        run: The run; without recovery until the fastest mix was measured.
        config: What to do.
        kinds: The types to choose from.
        target: Absolute path of the result.

    Raises:
        QdqError: What keeps the model from being finished, as in `quantize_model`.
    """
    plan, cpu = run.config.plan, run.config.cpu
    run.target = target_for_types(kinds, run.config.target, plan, cpu)
    opened, samples, metric = open_for_tuning(run, config, target)
    if samples is None:
        raise DataError("No calibration data was given.", "Give a folder of images or arrays with --calib.")
    with run.stage("judge"):
        parts = split(samples)
        batch = next(parts.load(parts.judge), None)
    model = opened.prepared.model
    with run.stage("plan"):
        units = units_of(model, run.config.target, kinds, plan, cpu)
    if not units:
        raise DataError("Nothing of this model is quantized.", "List the reasons with qdq quantize --dry-run -v.")
    clock, start = weighed(run, opened, (units, kinds), gpu_of(config), batch)
    opened = _planned_fastest(run, opened, clock, start, kinds)
    stand = set_up(run, opened, samples, plan)
    with run.stage("judge"):
        points = PointMeter(stand, config, metric)
    mixing = _Mixing(run, stand, points, config, clock, units, tuple(kinds), start, build_meter(stand, config), model)
    return mixing.write(mixing.search(), target)


def _planned_fastest(run: Run, opened: Opened, clock: MixClock, start: Start, kinds: Sequence[QuantType]) -> Opened:
    """Let the run be about the fastest mix, with the tables of all types, whose tensors are to be observed."""
    options = clock.options(start.fastest)
    run.target = target_for_types((options.type, *kinds), run.config.target, options, run.config.cpu)
    run.config = replace(run.config, plan=options)
    return replace(opened, plan=make_plan(opened.prepared.model, run.target, options))


@dataclass(frozen=True)
class _Change:
    """Another type for one operator than the one it has in the fastest mix."""

    unit: int
    place: int


@dataclass
class _Mixing:
    """One run: what was measured, what recovery made of it where it stays, and the estimates once they are needed."""

    run: Run
    stand: Stand
    points: PointMeter
    config: TuneConfig
    clock: MixClock
    units: tuple[Unit, ...]
    kinds: tuple[QuantType, ...]
    start: Start
    meter: BuildMeter | None
    prepared: ir.Model
    noise: Costs | None = None
    measured: dict[Mix, Point] = field(default_factory=dict)
    work: dict[Mix, Groundwork] = field(default_factory=dict)
    tried: set[Mix] = field(default_factory=set)
    _advance: Advance = field(default=lambda done, total: None)

    def search(self) -> dict[Mix, Point]:
        """Measure the fastest mix; where that misses the target, recover it; where that does not help, search."""
        self._without_ruined()
        first, gain_db = self._measure(self.start.fastest), 0.0
        if not first.met and self.config.quantize.recover:
            before, first = first, self._recovered(self.start.fastest)
            gain_db = first.sqnr_db - before.sqnr_db
        if first.met:
            return self.measured
        for kind in self.kinds:
            self._measure(uniform(self.units, kind))
        self._estimate()
        with (
            self.run.stage("search"),
            self.run.listener.progress("measuring variants", _MOST_MEASUREMENTS) as self._advance,
        ):
            search(self._problem(()))
            if self.meter is None and self.start.pairs:  # they are estimates too, so both ways count
                search(self._problem(self.start.pairs))
        self._recover_faster(gain_db)
        return self.measured

    def _without_ruined(self) -> None:
        """Take the types out that calibration showed operators not to bear, until the fastest mix has none of them."""
        for _ in self.kinds:
            there, fastest = set(self._work(self.start.fastest).plan.quantized), self.start.fastest
            borne = [kind is None or unit.name in there for unit, kind in zip(self.units, fastest, strict=True)]
            if all(borne):
                return
            self.units = tuple(
                unit if kept else replace(unit, kinds=tuple(one for one in unit.kinds if one is not kind))
                for unit, kind, kept in zip(self.units, fastest, borne, strict=True)
            )
            with self.run.stage("weigh"):
                self.start = fastest_mix(self.clock, self.units, self.kinds, lambda done, total: None)

    def _recovered(self, mix: Mix) -> Point:
        """Recover a mix and measure it; what that changed stays where it meets the target."""
        run = self._run_of(mix)
        run.config = replace(run.config, recover=self.config.quantize.recover)
        before, steps = self.measured[mix], run.useful_steps(run.config.recover)
        if not steps:
            return before
        work = recover_accuracy(run, self._work(mix), steps)
        after = self._point(mix, work)
        found = f"SQNR {decibels(before.sqnr_db)} before, {decibels(after.sqnr_db)} after"
        undone = "" if after.met else "; not enough, so it is undone"
        self.run.say(f"Recovery of {types_text(before.types)}: {found}{undone}.")
        if after.met:
            self.measured[mix], self.work[mix] = after, work
        return after

    def _recover_faster(self, gain_db: float) -> None:
        """Recover mixes that are faster than what meets the target, and miss it by no more than recovery gained."""
        for _ in range(_MOST_RECOVERIES if gain_db > 0 else 0):
            chosen = self._best()
            near = [
                mix
                for mix, point in self.measured.items()
                if point.excess_db is not None
                and point.excess_db <= gain_db
                and (not self.measured[chosen].met or self._cost(point) < self._cost(self.measured[chosen]))
                and mix not in self.tried
            ]
            if not near:
                return
            fastest = min(near, key=lambda mix: self._cost(self.measured[mix]))
            self.tried.add(fastest)
            self._recovered(fastest)

    def _best(self) -> Mix:
        return best(self.measured, _time, self._changed)

    def _cost(self, point: Point) -> tuple[float, float]:
        return price(point), _time(point)

    def _measure(self, mix: Mix) -> Point:
        if mix not in self.measured:
            self.measured[mix] = self._of(mix)
            self._advance(min(len(self.measured), _MOST_MEASUREMENTS), _MOST_MEASUREMENTS)
        return self.measured[mix]

    def _of(self, mix: Mix) -> Point:
        return self._point(mix, self._work(mix))

    def _point(self, mix: Mix, work: Groundwork) -> Point:
        names = tuple(unit.name for unit, kind in zip(self.units, mix, strict=True) if kind is None)
        point = self.points.of(names, work.candidate)
        types = counts_of(self.units, mix, work.plan.quantized, work.plan.weighted)
        point = replace(point, types=types, time_percent=self.clock.percent_of(work.plan))
        if self.meter is not None:
            point = replace(point, built_bytes=self.meter.bytes_of(work.plan))
            if self.meter.unbuilt:
                self.run.say(f"{self.meter.unbuilt} Predicted time decides where nothing is built.")
        return point

    def _work(self, mix: Mix) -> Groundwork:
        """Return the model with a mix: planned and its ranges chosen as `qdq quantize` does with the same options."""
        return planned_again(self._run_of(mix), self.work.get(mix, self.stand.work))

    def _run_of(self, mix: Mix) -> Run:
        config = replace(self.run.config, plan=self.clock.options(mix))
        return replace(self.run, config=config, target=self.clock.target(mix))

    def _estimate(self) -> None:
        """Estimate the noise of each operator alone, in each of its types; infinite where calibration took it out."""
        trials, total = self.stand.trials, sum(len(unit.kinds) - 1 for unit in self.units)
        with self.run.stage("estimate"), self.run.listener.progress("estimating", total) as advance:
            runs = noisiest_runs(trials, self._work(self.start.fastest).candidate)
            self.noise = noise_by_type(trials, self.units, self._work, runs, advance)

    @cached_property
    def _costs(self) -> Costs:
        """What each type costs each operator beside the fastest one, in percent: as built where that is known."""
        if self.meter is None:
            return self.start.costs
        names = [unit.name for unit in self.units]
        saved: dict[Kind, Mapping[str, float]] = {None: dict.fromkeys(names, 0.0)}
        for kind in self.kinds:
            saved[kind] = self.meter.lost_without(self._work(uniform(self.units, kind)).plan, names)
        rows = []
        for unit, row, own in zip(self.units, self.start.costs, self.start.fastest, strict=True):
            known = all(unit.name in saved[each] for each in unit.kinds)
            built = tuple(saved[own].get(unit.name, 0.0) - saved[each].get(unit.name, 0.0) for each in unit.kinds)
            rows.append(built if known else row)
        return tuple(rows)

    def _problem(self, pairs: Sequence[Pair]) -> Problem[Point]:
        """State the search in changes of type from the fastest mix on; `pairs` is what neighbours save."""
        assert self.noise is not None
        noise = self.noise
        taken = self._places(self.start.fastest)
        costs = [
            tuple(0.0 if place == own else max(0.0, cost) + FOR_NOTHING for place, cost in enumerate(row))
            for row, own in zip(self._costs, taken, strict=True)
        ]
        pairs = _capped(pairs, costs)
        changes = [
            _Change(number, place)
            for number, unit in enumerate(self.units)
            for place in range(len(unit.kinds))
            if place != taken[number]
        ]
        numbers = {change: position for position, change in enumerate(changes)}
        gains = tuple(max(0.0, noise[each.unit][taken[each.unit]] - noise[each.unit][each.place]) for each in changes)

        def pick(budget: float) -> FloatSet | None:
            chosen = cheapest_types(noise, costs, budget, pairs)
            if chosen is None or all(unit.kinds[place] is None for unit, place in zip(self.units, chosen, strict=True)):
                return None
            changed = enumerate(zip(chosen, taken, strict=True))
            return frozenset(numbers[_Change(number, place)] for number, (place, own) in changed if place != own)

        def measure(some: FloatSet) -> Point:
            places = list(taken)
            for number in some:
                places[changes[number].unit] = changes[number].place
            return self._measure(tuple(unit.kinds[place] for unit, place in zip(self.units, places, strict=True)))

        whole = sum(row[place] for row, place in zip(noise, taken, strict=True))
        return Problem(gains, tuple(costs[each.unit][each.place] for each in changes), pick, measure, whole)

    def _places(self, mix: Mix) -> tuple[int, ...]:
        return tuple(unit.kinds.index(kind) for unit, kind in zip(self.units, mix, strict=True))

    def write(self, measured: dict[Mix, Point], target: Path) -> TuneReport:
        """Write the fastest variant that meets the target, or else the best under another name; returns the report."""
        chosen = self._best()
        point = measured[chosen]
        self.run.say(*uneven(list(measured.values()), self.config.max_drop))
        run = self._run_of(chosen)
        if not point.met:
            run.config = kept_aside(run.config)
            target = run.config.destination.absolute()
        work = planned_again(run, self._as_written(run, chosen))
        written = write_model(run, work, target, rewrite_model(run, work))
        seconds = {**dataclasses.asdict(written.seconds), **self.run.clock.seconds()}
        return self._report(measured, chosen, written, seconds)

    def _as_written(self, run: Run, chosen: Mix) -> Groundwork:
        """Open the model again where the chosen types need no opset as new as the others do.

        What was observed is about a changed model where channels of that one were made larger: it stays then.
        """
        work, lowest = self.work.get(chosen, self.stand.work), run.target.lowest_opset
        raised = self.run.target.lowest_opset > lowest and work.opened.prepared.opset > lowest
        if not raised or work.model is not self.prepared:
            return work
        opened = open_model(run)
        known = work.observed.histograms.keys()
        return replace(work, opened=opened) if known >= set(opened.plan.observed) else work

    def _changed(self, mix: Mix) -> int:
        return sum(kind is not own for kind, own in zip(mix, self.start.fastest, strict=True))

    def _report(
        self, measured: dict[Mix, Point], chosen: Mix, written: Report, seconds: dict[str, float]
    ) -> TuneReport:
        frontier = sorted(measured.values(), key=lambda point: (price(point), _time(point), point.sqnr_db))
        report = self.points.report(frontier, measured[chosen], written, seconds, len(self.units))
        return replace(
            report,
            built=None if self.meter is None else self.meter.found(),
            search=TypeSearch(
                gpu_of(self.config).value,
                self.clock.device,
                tuple(kind.value for kind in self.kinds),
                self.clock.options(chosen).type.value,
                self.clock.options(chosen).type_of,
                tuple(self._operators(chosen)),
            ),
        )

    def _operators(self, chosen: Mix) -> Iterator[TypedOperator]:
        for number, (unit, kind) in enumerate(zip(self.units, chosen, strict=True)):
            noise = (None,) * len(unit.kinds) if self.noise is None else self.noise[number]
            rows = zip(unit.kinds, noise, self._costs[number], strict=True)
            choices = tuple(TypeChoice(_word(each), found, cost) for each, found, cost in rows if found != math.inf)
            yield TypedOperator(unit.name, unit.op_type, _word(kind), _word(self.start.fastest[number]), choices)


def _capped(pairs: Sequence[Pair], costs: Sequence[Sequence[float]]) -> tuple[Pair, ...]:
    """Let neighbours save half of what each of them costs alone at most: no change is made for what it saves."""
    found = []
    for pair in pairs:
        alone = sum(costs[unit][place] for unit, place in zip(pair.units, pair.places, strict=True))
        found.append(replace(pair, saving=min(pair.saving, alone / 2)))
    return tuple(found)


def _word(kind: Kind) -> str:
    return FLOAT if kind is None else kind.value


def _time(point: Point) -> float:
    return math.inf if point.time_percent is None else point.time_percent
