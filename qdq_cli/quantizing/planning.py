"""The first half of the story, which runs nothing: load, prepare, plan; a dry run ends here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from qdq_cli.model import files
from qdq_cli.model.nodes import makers_of
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.placement.draft import draft
from qdq_cli.placement.optimized import warnings_about
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.target import Target
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import UsageError
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.planned import (
    form_of,
    note_of_opset,
    planned,
    quantized_in_part,
    release_of,
    require_floats,
    require_form,
)
from qdq_cli.quantizing.refused import refused_of, warning_of_refusals
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Run
from qdq_cli.running.unknown import notes_about
from qdq_cli.targets.known import written_for


def open_model(run: Run, source: files.ModelFile | None = None) -> Opened:
    """Load, prepare and plan.

    Args:
        run: The run.
        source: The model where it is loaded already; it is used up.

    Raises:
        QdqError: The model cannot be used, or an option names something that is not there.
    """
    config = run.config
    if config.exclude_after_recovery and not config.recover:
        raise UsageError(
            "--exclude-after-recovery needs --recover or --recover-step.",
            "Without recovery, --exclude leaves an operator float.",
        )
    require_form(config, run.target)
    with run.stage("load"):
        source = source or files.load(config.model)
        quantized = holds_quantization(source.model)
    with run.stage("prepare"):
        runs = not (config.ranges.manual or config.ranges.imported) or config.data.has_samples
        prepared = prepare(source.model, source.proto, lowest=run.target.lowest_opset, runs=runs, copy=False)
    run.say(*prepared.notes, *notes_about(prepared.unknown))
    source = replace(source, model=prepared.model, proto=None)  # the file as it was read is used up
    plan = plan_of(run, prepared.model)
    if quantized and _is_for_another(prepared.model, run.target):
        plan = replace(plan, quantized=(), weights=())  # what it left float, it left so for the other one
    if quantized and not plan.quantized:  # pairs around no new INT8 operator would be kernels for nothing
        plan = replace(plan, targets=(), groups=(), candidates=())
    run.say(*(quantized_in_part(plan) if quantized and plan.quantized else ()))
    opset = prepared.opset_before if quantized and not plan.quantized else prepared.opset
    form, refused = form_of(run, prepared), refused_of(run, prepared.model)
    opened = Opened(source, prepared, None, plan, quantized, refused, form)
    opened = replace(opened, trt=release_of(run, opened, opset))
    run.outcome.model, run.outcome.plan = prepared.model, plan
    run.say(*note_of_opset(opened))
    require_floats(opened, run.target)
    run.warn(*warning_of_refusals(opened))
    run.warn(*(warnings_about(prepared.model, run.target) if plan.quantized or config.dry_run else ()))
    return opened


def _is_for_another(model: ir.Model, target: Target) -> bool:
    """Say whether the file of a model says that it was written for another target."""
    written = written_for(model)
    return written is not None and written.name != target.name


def plan_of(run: Run, model: ir.Model) -> Plan:
    """Plan a prepared model by the options of the run.

    Raises:
        UsageError: An option names something that is not there.
    """
    config = run.config
    with run.stage("plan"):
        plan = make_plan(model, run.target, config.plan)
        if config.exclude_after_recovery:  # checked before recovery takes its time
            written = make_plan(model, run.target, config.plan_written)
            plan = written if config.dry_run else plan
    run.say(*plan.notes, *([run.target.note] if run.target.note and plan.quantized else []))
    return plan


def finish_plan(run: Run, opened: Opened) -> Report:
    """End a dry run: return its report, and write its page, if one was asked for, with the layers of a draft."""
    report, config = planned(run, opened), run.config
    if opened.form is not None:
        from qdq_cli.quantizing.float_rest import planned_rest  # few ask for FP16, and it loads what runs models

        report = replace(report, float_rest=planned_rest(opened.prepared.model, opened.form))
    report = run.finish(report)
    if config.report is not None:
        _write_plan_page(run, opened, report, config.report)
    return report


def _write_plan_page(run: Run, opened: Opened, report: Report, path: Path) -> None:
    from qdq_cli.quantizing.page import quantize_page  # most dry runs write no page
    from qdq_cli.quantizing.page_weights import weight_rows
    from qdq_cli.screen.render import write_page

    model, plan, predictor = opened.prepared.model, opened.plan, run.target.predictor
    layers = () if predictor is None else predictor.sections(draft(model, plan, form=run.config.form))
    write_page(quantize_page(report, layers, {}, weight_rows(model, plan), makers_of(model.graph)), path)
