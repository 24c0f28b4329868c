"""A float model and the calibration table of its old build become a model with Q/DQ."""

from __future__ import annotations

from dataclasses import replace

from qdq_cli.calibrating.calibration import groups_to_observe
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.migrating.changes import changes
from qdq_cli.migrating.draft import Draft
from qdq_cli.migrating.names import Names
from qdq_cli.migrating.record import TableUse
from qdq_cli.migrating.table import Table, names_in
from qdq_cli.model import files
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.topology import float_tensors
from qdq_cli.process.errors import DataError
from qdq_cli.process.progress import Listener
from qdq_cli.quantizing.opened import Opened, require_float
from qdq_cli.quantizing.pipeline import lay_groundwork, open_samples, rewrite_model
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.report import WeightedOps
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.sentences import count_text, some_of
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.table import TENSORRT

FEWEST = 0.5
"""Least share of the scales that a table has to know for it to be taken as one of the model."""


def draft_from_table(source: files.ModelFile, config: MigrateConfig, table: Table, listener: Listener) -> Draft:
    """Quantize a float model by the ranges of a calibration table.

    Tensors that the table lacks are calibrated where there are samples; else what reads them stays float, as it did in
    the old build.

    Args:
        source: The float model; it is used up.
        config: What to do.
        table: The calibration table.
        listener: Told about progress and notes.

    Raises:
        QdqError: The table is of another model, or the model or the samples cannot be used.
    """
    names = names_in(table, source.model)
    given = {name: table.ranges[name] for name in names.matched}
    run = Run(config.quantizing(given), listener, TENSORRT)
    opened = open_model(run, source)
    require_float(opened)
    model = opened.prepared.model
    lacking = _lacking(opened.plan, run)
    _require_enough(table, opened.plan, lacking)
    if given.keys().isdisjoint(name for group in opened.plan.groups for name in group.tensors):  # nothing needs one
        run = replace(run, config=config.quantizing({}))
    samples = open_samples(run, opened)
    run, opened = (run, opened) if samples is not None or not lacking else _without(run, opened)
    work = lay_groundwork(run, opened, samples)
    made = rewrite_model(run, work).model
    tensors = frozenset(float_tensors(model.graph))
    seen = {**table.extremes(tensors), **work.observed.extremes}
    return Draft(
        model=made,
        floats=work.floats,
        weighted_ops=WeightedOps(work.plan.weighted, len(work.plan.quantized)),
        samples=samples,
        observed=replace(work.observed, extremes=seen),
        table=_use(
            table, names, () if samples is not None else lacking, run.config.plan.exclude[len(config.plan.exclude) :]
        ),
        changes=changes(model, given, work.plan, simulate(made)),
        notes=tuple(run.notes),
    )


def _use(table: Table, names: Names, lacking: tuple[str, ...], left: tuple[str, ...]) -> TableUse:
    return TableUse(
        file=str(table.file),
        header=table.header,
        ranges=len(table.ranges),
        matched=names.matched,
        importers=names.importers,
        unknown=names.unknown,
        lacking=lacking,
        left_float=left,
    )


def _lacking(plan: Plan, run: Run) -> tuple[str, ...]:
    """Return the tensors that need a range and have none."""
    return tuple(name for group in groups_to_observe(plan, run.config.ranges) for name in group.observed)


def _require_enough(table: Table, plan: Plan, lacking: tuple[str, ...]) -> None:
    """Refuse a table that knows few of the tensors that are quantized.

    Raises:
        DataError: That is so.
    """
    wanted = [name for group in plan.groups if group.known is None for name in group.observed]
    if len(wanted) - len(lacking) < FEWEST * len(wanted):
        raise DataError(
            f"{table.file} lacks {len(lacking)} of the {count_text(len(wanted), 'tensor')} that need a range, such as "
            f"{some_of(lacking)}.",
            "It was made for another model or another export of it. Give the one it was made for, or calibrate anew: "
            "qdq quantize MODEL --calib FOLDER --trt 11.",
        )


def _without(run: Run, opened: Opened) -> tuple[Run, Opened]:
    """Plan again, as often as it takes, without the operators that read what has no range."""
    model, plan, config = opened.prepared.model, opened.plan, run.config.plan
    while missing := groups_to_observe(plan, run.config.ranges):
        numbers = {plan.groups.index(group) for group in missing}
        readers = {use.node for target in plan.targets if target.group in numbers for use in target.uses}
        new = sorted(readers - set(config.exclude))
        if not new:
            break
        config = replace(config, exclude=(*config.exclude, *new))
        plan = make_plan(model, run.target, config)
    run = replace(run, config=replace(run.config, plan=config))
    return run, replace(opened, plan=plan)
