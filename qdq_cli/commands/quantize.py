"""`qdq quantize`: parse, run the pipeline, show the report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.fields import options_of
from qdq_cli.commands.options import (
    DATA,
    DISPLAY,
    EXCLUDE_AFTER_RECOVERY,
    MODEL,
    OUTPUT,
    PLACEMENT,
    RANGES,
    RECOVERY,
    REPORT,
    RUNNING,
    STRICT,
    VERIFY,
    Params,
    command_of,
)
from qdq_cli.commands.parsed import quantize_config
from qdq_cli.commands.shown import show_report
from qdq_cli.commands.views import FORMAT, JUNIT_FILE, check_format, shown, views_of
from qdq_cli.config.build import GPUS
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.recovery import DEFAULT_RECOVERY
from qdq_cli.process.errors import QdqError
from qdq_cli.process.startup import multiply_on_one_thread
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.quantizing.report import Report
    from qdq_cli.screen.page import Page

_TUNE = click.Option(
    ["--tune"],
    is_flag=True,
    help="Leave operators float where --min-sqnr or --min-agreement asks for it, instead of failing; as qdq tune does.",
)

_BUILD = click.Option(
    ["--build"],
    type=click.Choice(GPUS),
    help="Build the result with NVIDIA's compiler for this GPU, where that is installed, as qdq build --against does.",
)

_SECTIONS = {
    "Data": (*DATA, STRICT),
    "Running": RUNNING,
    "What to quantize": PLACEMENT,
    "Ranges": RANGES,
    "Recovery": (*RECOVERY, EXCLUDE_AFTER_RECOVERY),
    "Output": (*OUTPUT, REPORT, FORMAT, *options_of(QuantizeConfig, "gpu", "time"), _BUILD),
    "Limits": (*VERIFY, *options_of(QuantizeConfig, "min_int8_macs", "min_speedup"), _TUNE),
    "Display": DISPLAY,
}


@command_of(_SECTIONS, (MODEL, JUNIT_FILE))
def quantize(params: Params) -> None:
    """Quantize an FP32 ONNX model to INT8 with Q/DQ nodes.

    MODEL is calibrated on the samples of --calib and written with Q/DQ pairs where the runtime of --target fuses them
    best: NVIDIA TensorRT, or ONNX Runtime or OpenVINO on a CPU. The input is never changed.

    \b
    Examples:
      qdq quantize model.onnx --calib images/
      qdq quantize model.onnx --calib arrays.npz --cache model.qcal --min-sqnr 20
      qdq quantize model.onnx --calib images/ --target onnxruntime --recover
      qdq quantize model.onnx --type int4-weights --dry-run
    """
    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    config = quantize_config(params)
    check_format(params, "quantize")
    if params["build"] is not None and (params["tune"] or config.dry_run):
        raise click.UsageError("--build is for a result that is written once; qdq build takes the others.")
    if params["format_"] != "text" and (params["tune"] or config.dry_run):
        other = "qdq inspect MODEL --format" if config.dry_run else "a run of qdq quantize with the options found"
        raise click.UsageError(f"--format is for a result that is written; {other} tells services of this one.")
    if params["tune"] and config.min_speedup is not None:
        raise click.UsageError("--tune does not search for speed: leave --min-speedup out, and see what it finds.")
    if params["tune"]:
        _tune(config, screen, params)
        return
    if config.dry_run and _is_fused(config):
        _show_plan_on_cpu(config, screen)
        return
    if config.dry_run:
        _show_plan(config, screen)
        return
    _quantize(config, screen, params)


def _quantize(config: QuantizeConfig, screen: console.Console, params: Params) -> None:
    """Quantize the model and show the report, where a limit is not met too.

    Raises:
        UnmetLimitError: That is so; with --json the report is part of the error's document.
    """
    multiply_on_one_thread()
    from qdq_cli.quantizing.pipeline import quantize_model
    from qdq_cli.quantizing.report import UnmetLimitError
    from qdq_cli.quantizing.run import Outcome

    gpu = params["build"]
    if gpu is not None:
        from qdq_cli.building.compiler import require_compiler

        require_compiler()  # hours of calibration must not end at a compiler that is not there
    outcome = Outcome()
    try:
        report = quantize_model(config, screen, outcome=outcome)
    except UnmetLimitError as error:
        if not screen.as_json:
            _show(screen, error.report, params)
        raise
    if gpu is None:
        _show(screen, report, params)
    else:
        _show_built(config, screen, (report, outcome.page), params)


def _show(screen: console.Console, report: Report, params: Params) -> None:
    """Show a report for people, or as the build service wants it."""
    from qdq_cli.quantizing.told import told_of_report

    lines = shown(screen, params, lambda: views_of(lambda: told_of_report(report)), tuple)
    if params["format_"] in ("text", "junit"):
        show_report(screen, report)
    else:
        screen.result(report, lambda: lines)


def _show_built(
    config: QuantizeConfig, screen: console.Console, done: tuple[Report, Page | None], params: Params
) -> None:
    """Build the result, and show that behind the report; also on the page, where there is one.

    Raises:
        QdqError: The compiler fails; the report has been shown, or is part of the error's document.
    """
    from qdq_cli.building.reported import built_result
    from qdq_cli.building.text import block_lines

    report, page = done
    try:
        report, build = built_result(report, config, params["build"], screen, page)
    except QdqError as error:
        error.found = report
        if not screen.as_json:
            _show(screen, report, params)
        raise
    _show(screen, report, params)
    if not screen.as_json and params["format_"] == "text":
        screen.write(block_lines(build, screen.paint))


def _tune(config: QuantizeConfig, screen: console.Console, params: Params) -> None:
    """Do what `qdq tune` does.

    Raises:
        click.UsageError: A dry run is asked for, which cannot measure anything.
    """
    from qdq_cli.commands.tune import tune_and_show
    from qdq_cli.config.tune import TuneConfig

    if config.dry_run:
        raise click.UsageError("--tune has to run the model, which --dry-run does not.")
    tuned = replace(config, report=None, min_int8_macs=None, recover=config.recover or DEFAULT_RECOVERY)
    tune_and_show(screen, TuneConfig(tuned, min_int8_macs=config.min_int8_macs, report=config.report), params)


def _show_plan(config: QuantizeConfig, screen: console.Console) -> None:
    """Show what `qdq inspect` shows of a model without Q/DQ, and hold it against the limit that needs no samples.

    Raises:
        LimitError: Too little would run in INT8.
    """
    from qdq_cli.config.inspect import Gates
    from qdq_cli.inspecting.inspect import inspect_plan, require_gates
    from qdq_cli.inspecting.text import summary_lines

    inspection = inspect_plan(config, screen)
    lines = partial(summary_lines, inspection, screen.paint, full=screen.verbose)
    screen.result(inspection, lines, lambda: require_gates(inspection, Gates(min_int8_macs=config.min_int8_macs)))


def _is_fused(config: QuantizeConfig) -> bool:
    """Say whether it is known which operators the target puts on integers."""
    from qdq_cli.targets.known import TARGETS

    return TARGETS[config.target].fuse is not None


def _show_plan_on_cpu(config: QuantizeConfig, screen: console.Console) -> None:
    """Show the plan, and what becomes of its result on the CPU."""
    from qdq_cli.config.inspect import Gates
    from qdq_cli.inspecting.on_cpu import fused_lines, inspect_plan_on_cpu, require_cpu_gates
    from qdq_cli.quantizing.plan_text import plan_lines
    from qdq_cli.quantizing.summary import summary_lines

    found, width = inspect_plan_on_cpu(config, screen), screen.width()

    def lines() -> list[str]:
        shown = [] if found.plan is None else summary_lines(found.plan, width, screen.bold)
        plan = plan_lines(found.plan, width, full=True) if found.plan is not None and screen.verbose else []
        return [*shown, "", "predicted for the result:", *fused_lines(found, full=screen.verbose), *plan]

    gates = Gates(min_int8_macs=config.min_int8_macs)
    screen.result(found, lines, lambda: require_cpu_gates(found, gates))
