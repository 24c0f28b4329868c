"""`qdq sensitivity` on one page: calibrate, estimate every operator and scale group, measure them on request, rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibrators.ranks import rank_correlation
from qdq_cli.config.sensitivity import SensitivityConfig
from qdq_cli.judging.candidate import with_plan
from qdq_cli.placement.plan import Plan
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing.destinations import check_asides
from qdq_cli.quantizing.opened import require_float
from qdq_cli.quantizing.pipeline import open_samples
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.run import Run
from qdq_cli.running.execution import runs_as_told
from qdq_cli.running.few_samples import note_of_few
from qdq_cli.screen.render import write_page
from qdq_cli.sensitivity.by_type import asked_types, sensitivities_by_type
from qdq_cli.sensitivity.evaluate import check_command
from qdq_cli.sensitivity.measure import group_alone, noise_of, noisiest_runs, operators_alone
from qdq_cli.sensitivity.metric import Metric, metric_of
from qdq_cli.sensitivity.mix import units_of
from qdq_cli.sensitivity.page import sensitivity_page
from qdq_cli.sensitivity.record import GroupSensitivity, OperatorSensitivity, SensitivityReport, Together
from qdq_cli.sensitivity.stand import Stand, set_up
from qdq_cli.sensitivity.work import Work
from qdq_cli.targets.known import target_for_types

Numbers = NDArray[np.float64]
Item = TypeVar("Item")


@runs_as_told
def find_sensitivities(config: SensitivityConfig, listener: Listener = SILENT) -> SensitivityReport:
    """Say what each operator and each scale group of a model costs when it alone is quantized.

    Args:
        config: What to do.
        listener: Told about progress and notes; silent by default.

    Raises:
        QdqError: The model or the data cannot be used, or the user's program gives no number.
    """
    if config.evaluation is not None:
        check_command(config.evaluation)
    check_asides(config.quantize, config.report)
    asked = config.quantize
    kinds = asked_types(config)
    run = Run(asked, listener, target_for_types((*asked.plan.every_type, *kinds), asked.target, asked.plan, asked.cpu))
    if not config.quantize.data.has_samples:
        raise DataError("No calibration data was given.", "Give a folder of images or arrays with --calib.")
    opened = open_model(run)
    require_float(opened)
    units = units_of(opened.prepared.model, asked.target, kinds, asked.plan, asked.cpu)
    samples, metric = open_samples(run, opened), metric_of(run, opened, config.evaluation)
    stand = set_up(run, opened, samples, asked.plan)
    with run.stage("estimate"):
        runs = noisiest_runs(stand.trials, stand.candidate)
    operators, groups = operators_alone(stand.work.plan, stand.names), _groups(stand)
    estimated = _Measured(
        _measure(run, stand, "estimate", operators, runs), _measure(run, stand, "estimate", groups, runs)
    )
    exact = None
    if config.exact:
        exact = _Measured(
            _measure(run, stand, "measure", operators, None), _measure(run, stand, "measure", groups, None)
        )
    metrics = None if metric is None else _metrics(run, stand, metric, operators)
    by_type = sensitivities_by_type(run, stand, units, None if config.exact else runs) if units else ()
    report = replace(_report(run, stand, (estimated, exact, metrics), runs), by_type=by_type)
    if config.report is not None:
        write_page(sensitivity_page(report), config.report)
    return report


@dataclass(frozen=True)
class _Measured:
    """Noise of the operators and of the scale groups."""

    operators: Numbers
    groups: Numbers


@dataclass(frozen=True)
class _Metrics:
    """The user's metric: of the float model, with all quantized, with each operator quantized alone; and the drops."""

    float_value: float
    together: float
    alone: Numbers
    drops: Numbers


def _groups(stand: Stand) -> tuple[Plan, ...]:
    plan = stand.work.plan
    return tuple(group_alone(plan, number) for number in range(len(plan.groups)))


def _measure(run: Run, stand: Stand, stage: str, plans: tuple[Plan, ...], runs: tuple[int, ...] | None) -> Numbers:
    title = "estimating" if stage == "estimate" else "measuring"
    with run.stage(stage), run.listener.progress(title, len(plans)) as advance:
        return noise_of(stand.trials, stand.candidate, plans, runs, advance)


def _metrics(run: Run, stand: Stand, metric: Metric, plans: tuple[Plan, ...]) -> _Metrics:
    with run.stage("evaluate"), run.listener.progress("evaluating", len(plans) + 1) as advance:
        together = metric.of(stand.candidate)
        advance(1, len(plans) + 1)
        alone = []
        for number, plan in enumerate(plans):
            alone.append(metric.of(with_plan(stand.candidate, plan, stand.candidate.ranges)))
            advance(number + 2, len(plans) + 1)
    drops = [metric.drop(value) for value in alone]
    return _Metrics(metric.float_value, together, np.array(alone), np.array(drops))


def _report(
    run: Run, stand: Stand, found: tuple[_Measured, _Measured | None, _Metrics | None], runs: tuple[int, ...]
) -> SensitivityReport:
    estimated, exact, metrics = found
    best = exact or estimated
    with run.stage("measure"):
        outcome = stand.trials.measure(stand.candidate)
        together = outcome if exact else stand.trials.measure(stand.candidate, only=runs)
    with run.stage("weigh"):
        work = stand.meter.lost_without(stand.work.plan, run.config.plan, stand.names)
    operators = _operators((stand, work), estimated, exact, metrics)
    groups = _group_records(stand, estimated, exact)
    return SensitivityReport(
        schema_version=SCHEMA_VERSION,
        model=str(run.config.model),
        samples=stand.trials.samples,
        estimate_samples=stand.trials.samples_of(runs),
        operators=_ranked(operators, best.operators if metrics is None else metrics.drops, best.operators),
        groups=_ranked(groups, best.groups, best.groups),
        together=Together(
            noise=together.noise,
            sum=float(best.operators.sum()),
            sqnr_db=outcome.worst_sqnr_db,
            metric=None if metrics is None else metrics.together,
            float_metric=None if metrics is None else metrics.float_value,
        ),
        rank_correlation=None if exact is None else rank_correlation(estimated.operators, exact.operators),
        group_rank_correlation=None if exact is None else rank_correlation(estimated.groups, exact.groups),
        metric_rank_correlation=None if metrics is None else rank_correlation(best.operators, metrics.drops),
        seconds=run.clock.seconds(),
        target=run.target.name,
        activation_type=run.target.activation_type,
        weight_type=run.target.weight_type,
        notes=tuple(run.notes),
        few=note_of_few(stand.work.observed.samples),
    )


def _operators(
    ground: tuple[Stand, tuple[Work, ...]], estimated: _Measured, exact: _Measured | None, metrics: _Metrics | None
) -> list[OperatorSensitivity]:
    stand, shares = ground
    best = (exact or estimated).operators
    total = float(best.sum()) or 1.0
    return [
        OperatorSensitivity(
            name=node.name or "",
            op_type=node.op_type,
            noise=float(estimated.operators[number]),
            noise_percent=100.0 * float(best[number]) / total,
            exact_noise=None if exact is None else float(exact.operators[number]),
            metric=None if metrics is None else float(metrics.alone[number]),
            drop=None if metrics is None else float(metrics.drops[number]),
            macs_percent=share.macs_percent,
            traffic_percent=share.traffic_percent,
        )
        for number, (node, share) in enumerate(zip(stand.operators, shares, strict=True))
    ]


def _group_records(stand: Stand, estimated: _Measured, exact: _Measured | None) -> list[GroupSensitivity]:
    return [
        GroupSensitivity(
            tensors=group.tensors,
            amax=kept.amax,
            noise=float(estimated.groups[number]),
            exact_noise=None if exact is None else float(exact.groups[number]),
        )
        for number, (group, kept) in enumerate(zip(stand.work.plan.groups, stand.candidate.ranges, strict=True))
    ]


def _ranked(items: list[Item], first: Numbers, second: Numbers) -> tuple[Item, ...]:
    """Order things by two numbers, largest first; what is equal keeps its place."""
    order = sorted(range(len(items)), key=lambda number: (-first[number], -second[number]))
    return tuple(items[number] for number in order)
