"""The whole story on one page: load, prepare, plan, observe, choose, recover, rewrite, verify, save.

Each stage is a function elsewhere that takes and returns records; here they only get their order and their time. The
story has parts, which other commands tell with something of their own in between: `planning.open_model`, which runs
nothing and loads nothing that runs models, and here `open_samples`, `lay_groundwork`, `write_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from calibrators import Histogram
from qdq_cli.calibrating import calibration
from qdq_cli.calibrating.calibration import Observation
from qdq_cli.calibrating.calibration_data import Samples, open_data
from qdq_cli.calibrating.shifted import shift_gains
from qdq_cli.calibrating.spread_gains import spread_gains
from qdq_cli.calibrating.taken_out import judged, note_of_old_cache, shifted
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.data.doubts import tell_doubts
from qdq_cli.judging.aside import FEW_SAMPLES, split
from qdq_cli.judging.candidate import Candidate, quantized_model
from qdq_cli.model import files
from qdq_cli.model.integer_io import with_integer_io
from qdq_cli.model.nodes import makers_of
from qdq_cli.model.provenance import record_provenance, record_shifted
from qdq_cli.placement.plan import make_plan, observing, shrinkable
from qdq_cli.placement.rewrite import Rewritten
from qdq_cli.placement.target import Target
from qdq_cli.process.errors import DataError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing import verification
from qdq_cli.quantizing.destinations import check_outputs
from qdq_cli.quantizing.float_form import FloatForm
from qdq_cli.quantizing.float_rest import Finished, completed, in_float_type
from qdq_cli.quantizing.groundwork import (
    Groundwork,
    about_quiet,
    leave_float,
    recovered,
    with_quiet,
    with_steady,
    without_taken,
)
from qdq_cli.quantizing.keeping import keep_model, require_named
from qdq_cli.quantizing.opened import Opened, require_float
from qdq_cli.quantizing.page import quantize_page
from qdq_cli.quantizing.page_weights import weight_rows
from qdq_cli.quantizing.planned import (
    planned,
)
from qdq_cli.quantizing.planning import finish_plan, open_model
from qdq_cli.quantizing.report import Report, UnmetLimitError
from qdq_cli.quantizing.reporting import calibrated, finished, require_something_to_judge, why_nothing
from qdq_cli.quantizing.run import Outcome, Run
from qdq_cli.quantizing.seen import seen_section
from qdq_cli.quantizing.speed import require_samples_to_time
from qdq_cli.quantizing.writing import write_verified
from qdq_cli.running.execution import runs_as_told
from qdq_cli.screen.page import BoxRow, Section
from qdq_cli.screen.render import write_page
from qdq_cli.screen.sentences import count_text, some_of
from qdq_cli.targets.known import target_for

if TYPE_CHECKING:
    from qdq_cli.recovering.start import Start


@runs_as_told
def quantize_model(
    config: QuantizeConfig, listener: Listener = SILENT, target: Target | None = None, outcome: Outcome | None = None
) -> Report:
    """Quantize an FP32 or FP16 ONNX model with Q/DQ nodes, to INT8 for TensorRT unless another target is named.

    Args:
        config: What to do. `QuantizeConfig(model=Path("model.onnx"), data=DataConfig(calib=(Path("images"),)))` is
            enough for most models.
        listener: Told about progress and notes; silent by default.
        target: What to quantize for, where it is none of those that `config.target` can name.
        outcome: Gets what the run found besides its report.

    Returns:
        The report. The model is at `report.output` then, complete and checked; with `dry_run` no
        model is written.

    Raises:
        UnmetLimitError: A limit is not met. The error holds the report, and a page that was asked for is written.
        QdqError: What keeps the model from being finished; nothing is left under the output name then.
        CalibratorError: The ranges cannot be chosen from what was observed.
    """
    runtime = target or target_for(config.target, config.plan, config.cpu)
    run = Run(config, listener, runtime, outcome=outcome or Outcome())
    path = check_outputs(config, config.report)
    opened = open_model(run)
    files.check_data_target(opened.source, path)
    if config.dry_run:
        return finish_plan(run, opened)
    if opened.already_quantized:
        return _with_page(run, opened.prepared.model, {}, partial(keep_model, run, opened, path))
    require_float(opened)
    require_named(config)
    require_something_to_judge(config, planned(run, opened))
    later = config.exclude_after_recovery
    also = shrinkable(opened.prepared.model, run.target, config.plan) if later else ()
    work = lay_groundwork(run, opened, open_samples(run, opened), also)
    work = leave_float(run, work, later) if later else work
    require_something_to_judge(config, planned(run, work.opened))
    written = rewrite_model(run, work)
    write = partial(write_model, run, work, path, written)
    weights = () if config.report is None else weight_rows(work.floats, work.plan)
    seen = None if config.report is None else seen_section(work.samples)
    return _with_page(run, written.model, work.observed.histograms, write, weights, seen)


def _with_page(
    run: Run,
    model: ir.Model,
    histograms: Mapping[str, Histogram],
    write: Callable[[], Report],
    weights: tuple[BoxRow, ...] = (),
    seen: Section | None = None,
) -> Report:
    """Write the model, and the page about it where one was asked for, also where a limit is not met.

    Raises:
        UnmetLimitError: That is so; its hint says where the page is.
    """
    config, predictor = run.config, run.target.predictor
    if config.report is None:
        return write()
    layers = () if predictor is None else predictor.sections(model)
    page = partial(
        quantize_page, layers=layers, histograms=histograms, weights=weights, makers=makers_of(model.graph), seen=seen
    )
    try:
        report = write()
    except UnmetLimitError as error:
        write_page(page(error.report), config.report)
        hint = f"{error.hint} What was found is in {config.report}."
        raise UnmetLimitError(error.report, hint, undecided=error.undecided, slow=error.slow) from error
    run.outcome.page = page(report)
    write_page(run.outcome.page, config.report)
    return report


def open_samples(run: Run, opened: Opened) -> Samples | None:
    """Find the calibration data; None where none is given.

    Raises:
        UsageError: A limit is set, and there is nothing to hold against it.
        DataError: The data cannot be used, or looks unfit and the run is strict.
    """
    config = run.config
    with run.stage("load"):
        samples = open_data(opened.prepared.model, config.data, config.verify.samples)
    if samples is not None:
        tell_doubts(samples.every.doubts, run.warn, strict=config.data.strict)
        run.say(*samples.notes)
    verification.require_samples(config.verify, samples)
    require_samples_to_time(config, samples, run.target)
    return samples


def lay_groundwork(run: Run, opened: Opened, samples: Samples | None, also: Sequence[str] = ()) -> Groundwork:
    """Observe the plan's tensors and choose their ranges.

    Args:
        run: The run.
        opened: The model.
        samples: The calibration data, as `open_samples` found it.
        also: Tensors to observe besides, for plans that may take the place of this one.

    Raises:
        QdqError: The data cannot be used, or the model cannot be run.
    """
    config = run.config
    opened, observed = _observe(run, opened, samples, also)
    with run.stage("choose"):
        ranges = calibration.choose(opened.plan, observed, config.ranges, run.listener)
        known = opened.prepared.model, opened.plan, observed.histograms
        gains = spread_gains(*known, ranges.groups, opened.prepared.spread)
    work = Groundwork(opened, samples, observed, ranges, Candidate(opened.plan, ranges.groups), spread=gains)
    if steps := run.useful_steps(config.recover):
        return recover_accuracy(run, work, steps)
    with run.stage("choose"):
        return with_steady(run, work)


def recover_accuracy(run: Run, work: Groundwork, steps: Sequence[str]) -> Groundwork:
    """Take steps of recovery.

    Raises:
        DataError: There are no samples to recover on.
        QdqError: The model cannot be run.
    """
    from qdq_cli.recovering.recover import recover  # most runs do without, and without waiting for it

    samples = work.samples
    if samples is None:
        raise DataError(
            "Recovery has to run the model, and there are no samples.",
            "Give --calib too: a calibration cache holds ranges alone.",
        )
    with run.stage("recover"):
        found = recover(_start(run, work, samples), steps)
    if found.record.samples < FEW_SAMPLES:
        run.say(
            f"Recovery could set only {found.record.samples} of the samples aside to judge by: what helps so few may "
            f"not help others. Give {8 * FEW_SAMPLES} calibration samples or more."
        )
    if found.unseen:
        layers = count_text(len(found.unseen), "operator")
        run.say(
            f"Recovery leaves {layers} as calibration found {'it' if len(found.unseen) == 1 else 'them'}, in branches "
            f"that too few samples take: {some_of(found.unseen)}."
        )
    return replace(
        work,
        observed=replace(work.observed, histograms=found.histograms),
        ranges=recovered(work.ranges, found.candidate.ranges),
        candidate=found.candidate,
        recovery=found.record,
    )


def _start(run: Run, work: Groundwork, samples: Samples) -> Start:
    """Say what recovery starts from, and which samples it learns on and is judged by."""
    from qdq_cli.recovering.start import Start

    target = run.config.destination
    return Start(
        work.model,
        work.plan,
        work.ranges.groups,
        work.observed,
        samples,
        split(samples),
        run.config.ranges,
        run.listener,
        target.with_name(f"{target.name}.recovery"),
    )


def rewrite_model(run: Run, work: Groundwork) -> Finished:
    """Return the quantized model, which says where it comes from, its float rest in the type it is to have.

    Raises:
        ModelError: A weight holds NaN or Inf, or a tensor is BF16.
    """
    config = run.config
    with run.stage("rewrite"):
        written = quantized_model(work.model, work.candidate, weights=config.weight_form, form=config.form)
        steps = () if work.recovery is None else (step.step for step in work.recovery.steps)
        record_provenance(written.model, steps, run.target.name)
        record_shifted(written.model, written.shifted)
        if config.plan.integer_io and (left := with_integer_io(written.model)):
            run.warn(f"Stay float, though --integer-io is given: {some_of(left)}. No Q or DQ can stand there.")
    if work.opened.form is None:
        return Finished(written.model, written.notes)
    return _in_float_type(run, work, written, work.opened.form)


def _in_float_type(run: Run, work: Groundwork, written: Rewritten, form: FloatForm) -> Finished:
    """Give what is not quantized its float type; what an equalized model holds is observed first."""
    known = replace(work.observed, extremes={}) if work.candidate.base else work.observed
    with run.stage("observe"):
        observed = completed(work.floats, form, known, work.samples, run.listener)
    with run.stage("cast"):
        made = in_float_type(written.model, form, observed)
    return replace(made, notes=(*written.notes, *made.notes))


def write_model(run: Run, work: Groundwork, target: Path, written: Finished) -> Report:
    """Write the quantized model and verify it.

    Args:
        run: The run.
        work: What it was made from.
        target: Absolute path of the result.
        written: What `rewrite_model` made of it.

    Raises:
        UnmetLimitError: A limit is not met; nothing is left under the output name, as after every other error.
    """
    config, opened, samples, observed, ranges = run.config, work.opened, work.samples, work.observed, work.ranges
    run.say(*ranges.notes, *written.notes)
    run.outcome.plan = work.plan
    report = replace(
        finished(run, opened, written),
        calibration=calibrated(config, samples, observed, work.plan, ranges),
        recovery=work.recovery,
        spread=work.spread,
        steady=work.steady,
        shifted=shift_gains(work.plan, observed.histograms, ranges.groups, config.ranges.chooser),
        amax=tuple(kept.amax for kept in ranges.groups),
        chosen=ranges.chosen,
    )
    report, unmet = write_verified(run, work, written, (target, report))
    if not report.weighted_ops.quantized and unmet is None:
        run.warn(
            f"Nothing of {config.model} is quantized: {why_nothing(report)}. {config.destination} is a float model."
        )
    report = run.finish(report)
    if unmet is not None:
        raise UnmetLimitError(report, unmet.hint, undecided=unmet.undecided, slow=unmet.slow)
    return report


def _observe(run: Run, opened: Opened, samples: Samples | None, also: Sequence[str]) -> tuple[Opened, Observation]:
    """Observe the plan's tensors, and plan again without the operators that turn out not to bear INT8.

    Nearly dead channels are made larger before that is looked at, and in the model that is handed on; the cache is of
    the prepared model, as whoever fills it without this step has it.
    """
    model, plan, ranges = opened.prepared.model, opened.plan, run.config.ranges
    with run.stage("observe"):
        observed = calibration.observe(model, observing(plan, also), samples, ranges, run.listener)
    plan = without_taken(run, plan, *with_quiet(run, model, plan, observed)[:2])
    with run.stage("observe"):
        again = calibration.observe(model, observing(plan, also), samples, ranges, run.listener, observed)
    if observed.from_cache and not again.from_cache:  # the cache served the first plan alone, so all was run anew
        plan = make_plan(model, run.target, run.config.plan)
        plan = without_taken(run, plan, *with_quiet(run, model, plan, again)[:2])
    observed = again
    tell_doubts(observed.doubts, run.warn, strict=run.config.data.strict)
    with run.stage("observe"):
        placement = run.target, run.config.plan
        calibration.save_cache(model, observed, samples, ranges, placement)
    run.outcome.observed, run.outcome.samples, run.outcome.placement = observed, samples, placement
    run.say(*observed.notes, *note_of_old_cache(model, plan, observed))
    with run.stage("choose"):
        model, observed, spread = with_quiet(run, model, plan, observed)
        plan = judged(model, plan, observed, ranges)
        plan = shifted(model, plan, observed, run.config.plan, ranges)
    run.say(*about_quiet(spread))
    prepared = replace(opened.prepared, model=model, spread=(*opened.prepared.spread, *spread))
    return replace(opened, plan=plan, prepared=prepared), observed
