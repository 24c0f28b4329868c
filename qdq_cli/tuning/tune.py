"""`qdq tune` on one page: calibrate, measure all in INT8, estimate the operators, search, write the best choice."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdq_cli.building.compiler import require_compiler
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.tune import BUILT, MEASURED, PREDICTED, TuneConfig
from qdq_cli.placement.plan import kept_float
from qdq_cli.process.errors import LimitError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing.destinations import check_outputs
from qdq_cli.quantizing.groundwork import leave_float
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.pipeline import recover_accuracy, rewrite_model, write_model
from qdq_cli.quantizing.planning import plan_of
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Outcome, Run
from qdq_cli.running.execution import runs_as_told
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.render import write_page
from qdq_cli.sensitivity.measure import Advance, noise_of, noisiest_runs, operators_alone
from qdq_cli.sensitivity.stand import Stand, set_up
from qdq_cli.sensitivity.work import Work
from qdq_cli.targets.known import target_for
from qdq_cli.timing.runtimes import missing
from qdq_cli.tuning.asked import kept_aside, require_sense, second_best, types_of
from qdq_cli.tuning.attention import most_with_products, needs_products, out_of_reach
from qdq_cli.tuning.budget import FOR_NOTHING, Floor, cheapest_float, quietest_float
from qdq_cli.tuning.built import BuildMeter, build_meter
from qdq_cli.tuning.choosing import best, price, uneven
from qdq_cli.tuning.opening import open_for_tuning
from qdq_cli.tuning.page import tune_page
from qdq_cli.tuning.points import PointMeter
from qdq_cli.tuning.record import LeftFloat, Point, TuneReport
from qdq_cli.tuning.search import MAX_MEASUREMENTS, FloatSet, Problem, search
from qdq_cli.tuning.text import unmet_text
from qdq_cli.tuning.timed import TimeMeter, require_runtime
from qdq_cli.tuning.typed import tune_types


@runs_as_told
def tune_model(config: TuneConfig, listener: Listener = SILENT, outcome: Outcome | None = None) -> TuneReport:
    """Quantize a model so that it meets a target, with as little as possible left float.

    Args:
        config: What to do.
        listener: Told about progress and notes; silent by default.
        outcome: Gets what the run found besides its report.

    Returns:
        The report. Where the target is not met, the best that was found is written to another file.

    Raises:
        LimitError: Less than `min_int8_macs` runs in INT8 even with everything quantized, products of two activations
            (`--mha`) included; where the rest does not suffice, these are taken in unasked.
        QdqError: What keeps the model from being finished, as in `quantize_model`.
    """
    require_sense(config)
    kinds = types_of(config)
    if len(kinds) == 1:
        config = replace(config, quantize=replace(config.quantize, plan=replace(config.quantize.plan, type=kinds[0])))
    if config.cost == BUILT:
        require_compiler()  # hours of calibration must not end at a compiler that is not there
    target = check_outputs(config.quantize, config.report)
    check_outputs(replace(config.quantize, output=second_best(config.quantize)), config.report)
    waiting = replace(config.quantize, recover=())  # until everything in INT8, or the fastest mix, was measured
    runtime = target_for(waiting.target, waiting.plan, waiting.cpu)
    run = Run(waiting, listener, runtime, outcome=outcome or Outcome())
    report = tune_types(run, config, kinds, target) if len(kinds) > 1 else _tuned(run, config, target)
    if config.report is not None:
        write_page(tune_page(report), config.report)
    return report


def _tuned(run: Run, config: TuneConfig, target: Path) -> TuneReport:
    """Leave operators float until the target is met."""
    config = replace(config, cost=_cost_of(config, run))
    opened, samples, metric = open_for_tuning(run, config, target)
    if samples is not None and needs_products(run, opened, samples, config.min_int8_macs):
        config, opened = _with_products(run, opened, config)
    stand = set_up(run, opened, samples)
    with run.stage("judge"):
        points = PointMeter(stand, config, metric)
    timed = TimeMeter(run, stand.work) if config.cost == MEASURED else None
    tuning = _Tuning(run, stand, points, config, build_meter(stand, config), timed)
    return tuning.write(tuning.search(), target)


def _cost_of(config: TuneConfig, run: Run) -> str:
    """Say what is kept low where nothing was asked for: time where the target runs on this machine, else lost work.

    Raises:
        UsageError: Time was asked for, and nothing runs the target's models here.
    """
    if config.cost == MEASURED:
        require_runtime(run)
    if config.cost is not None:
        return config.cost
    if install := missing(run.target.runtime):
        run.say(f"{run.target.title} is not installed, so variants are compared by predicted work: {install}")
    return MEASURED if run.target.runtime and not install else PREDICTED


def _with_products(run: Run, opened: Opened, config: TuneConfig) -> tuple[TuneConfig, Opened]:
    """Plan again with products of two activations quantized, as --mha does."""
    plan = replace(config.quantize.plan, mha=True)
    run.config = replace(run.config, plan=plan)
    planned = replace(opened, plan=plan_of(run, opened.prepared.model))
    return replace(config, quantize=replace(config.quantize, plan=plan)), planned


def require_target(report: TuneReport, page: Path | None = None) -> None:
    """Hold the report against its target.

    Args:
        report: The report.
        page: Where its page is, if there is one.

    Raises:
        LimitError: It is not met.
    """
    if report.met:
        return
    hint = "Ask for less, or try another --method; qdq sensitivity ranks the operators."
    hint = hint if page is None else f"{hint} What was found is in {page}."
    raise LimitError(unmet_text(report), hint, undecided=report.frontier[report.chosen].undecided(report.goal))


@dataclass
class _Tuning:
    """One run: what was measured, and the estimates once they are needed."""

    run: Run
    stand: Stand
    points: PointMeter
    config: TuneConfig
    meter: BuildMeter | None
    timed: TimeMeter | None = None
    shares: tuple[Work, ...] = ()
    noise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    adding_up: float | None = None
    _measured: int = 0
    _advance: Advance = field(default=lambda done, total: None)

    def search(self) -> dict[FloatSet, Point]:
        """Measure everything in INT8; where that misses the target, recover; where that does not help, search."""
        everything = self._measure(frozenset())
        self._require_floor(everything)
        steps = () if everything.met else self.run.useful_steps(self.config.quantize.recover)
        everything = self._recover(everything, steps) if steps else everything
        if everything.met:
            return {frozenset(): everything}
        self._estimate()
        noise = tuple(self.noise.tolist())
        cost = tuple(max(0.0, percent) + FOR_NOTHING for percent in self._costs())
        floor = self._floor()
        pick = partial(cheapest_float, noise, cost, floor=floor)
        with self.run.stage("search"), self._progress():
            measured = search(Problem(noise, cost, pick, lambda some: self._measure(some) if some else everything))
            if floor is not None and not any(point.met for point in measured.values()):
                quietest = quietest_float(noise, floor)
                if quietest is not None and quietest not in measured:
                    measured[quietest] = self._measure(quietest)
        return measured

    def _recover(self, before: Point, steps: Sequence[str]) -> Point:
        """Recover accuracy with everything in INT8; leaving float starts from there, unless that is worse."""
        former = self.stand
        self.run.config = self.config.quantize
        work = recover_accuracy(self.run, former.work, steps)
        self.run.config = replace(self.config.quantize, recover=())
        self.stand = replace(former, work=work)
        after = self._measure(frozenset())
        worse = ", the worse of the samples set aside and held back" if self.points.held_back else ""
        found = f"SQNR {decibels(before.sqnr_db)} before, {decibels(after.sqnr_db)} after{worse}"
        if after.shortfall < before.shortfall or after.sqnr_db > before.sqnr_db:
            self.run.say(f"Recovery with everything in {self.run.target.type_title}: {found}.")
            return after
        self.run.say(f"Recovery with everything in {self.run.target.type_title}: {found}; so it is undone.")
        self.stand = former
        return before

    def _measure(self, left_float: FloatSet) -> Point:
        names = tuple(self.stand.names[number] for number in sorted(left_float))
        variant = leave_float(self.run, self.stand.work, names)
        point = self.points.of(names, variant.candidate)
        if self.meter is not None:
            point = replace(point, built_bytes=self.meter.bytes_of(variant.plan))
            if self.meter.unbuilt:
                self.run.say(f"{self.meter.unbuilt} Quantized work as predicted decides where nothing is built.")
        if self.timed is not None:
            with self.run.stage("time"):
                point = replace(point, speed=self.timed.speed_of(variant))
        self._measured += 1
        self._advance(min(self._measured, MAX_MEASUREMENTS), MAX_MEASUREMENTS)
        return point

    def _costs(self) -> tuple[float, ...]:
        """What each operator costs where it stays float, in percent: of bytes as built where they are known."""
        predicted = tuple(share.percent for share in self.shares)
        if self.meter is None:
            return predicted
        built = self.meter.lost_without(self.stand.work.plan, self.stand.names)
        return tuple(built.get(name, share) for name, share in zip(self.stand.names, predicted, strict=True))

    @contextlib.contextmanager
    def _progress(self) -> Iterator[None]:
        with self.run.listener.progress("measuring variants", MAX_MEASUREMENTS) as self._advance:
            yield

    def _estimate(self) -> None:
        """Estimate the noise of each operator alone, and how well these noises add up."""
        stand, listener = self.stand, self.run.listener
        plans = operators_alone(stand.work.plan, stand.names)
        with self.run.stage("estimate"), listener.progress("estimating", len(plans)) as advance:
            runs = noisiest_runs(stand.trials, stand.candidate)
            self.noise = noise_of(stand.trials, stand.candidate, plans, runs, advance)
            together = stand.trials.measure(stand.candidate, only=runs).noise
        with self.run.stage("weigh"):
            self.shares = stand.meter.lost_without(stand.work.plan, self.run.config.plan, stand.names)
        self.adding_up = float(self.noise.sum()) / together if together > 0 else None

    def _floor(self) -> Floor | None:
        least = self.config.min_int8_macs
        return None if least is None else Floor([share.macs_percent for share in self.shares], least)

    def _require_floor(self, everything: Point) -> None:
        """Hold what is in INT8 after calibration, which may have found inputs that no range serves, to the floor."""
        least = self.config.min_int8_macs
        if least is not None and everything.quantized_macs_percent < least:
            most = most_with_products(self.stand.meter, kept_float(self.stand.work.plan, self.config.quantize.plan))
            raise out_of_reach(everything.quantized_macs_percent, most, least)

    def write(self, measured: dict[FloatSet, Point], target: Path) -> TuneReport:
        """Write the cheapest variant that meets the target, or else the best under another name; returns the report."""
        chosen = best(measured, lambda point: -point.quantized_work_percent, len)
        point = measured[chosen]
        self.run.say(*uneven(list(measured.values()), self.config.max_drop))
        config = self._config_of(point, target)
        variant = leave_float(self.run, self.stand.work, point.left_float)
        run = replace(self.run, config=config)
        written = write_model(run, variant, config.destination.absolute(), rewrite_model(run, variant))
        seconds = {**dataclasses.asdict(written.seconds), **self.run.clock.seconds()}
        return self._report(measured, chosen, written, seconds)

    def _config_of(self, point: Point, target: Path) -> QuantizeConfig:
        """How the chosen variant is written: without limits and under another name where it misses the target."""
        config = self.run.config
        plan = replace(config.plan, exclude=(*config.plan.exclude, *point.left_float))
        if point.met:
            return replace(config, plan=plan)
        return replace(kept_aside(config), plan=plan)

    def _report(
        self, measured: dict[FloatSet, Point], chosen: FloatSet, written: Report, seconds: dict[str, float]
    ) -> TuneReport:
        frontier = sorted(
            measured.values(), key=lambda point: (price(point), -point.quantized_work_percent, point.sqnr_db)
        )
        report = self.points.report(frontier, measured[chosen], written, seconds, len(self.stand.operators))
        built = None if self.meter is None else self.meter.found()
        return replace(report, adding_up=self.adding_up, left_float=self._left_float(chosen), built=built)

    def _left_float(self, chosen: FloatSet) -> tuple[LeftFloat, ...]:
        total = float(self.noise.sum()) or 1.0
        found = [
            LeftFloat(
                name=self.stand.names[number],
                op_type=self.stand.operators[number].op_type,
                noise=float(self.noise[number]),
                noise_percent=100.0 * float(self.noise[number]) / total,
                macs_percent=self.shares[number].macs_percent,
                traffic_percent=self.shares[number].traffic_percent,
            )
            for number in sorted(chosen)
        ]
        return tuple(sorted(found, key=lambda operator: -operator.noise))
