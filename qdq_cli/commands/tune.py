"""`qdq tune`: parse, search, show; then hold the result against its target."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.evaluation import EVAL, evaluation_of
from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.options import (
    DATA,
    MODEL,
    OUTPUT,
    PLACEMENT,
    RANGES,
    RECOVERY,
    REPORT,
    RUNNING,
    STRICT,
    Params,
    command_of,
    display,
)
from qdq_cli.commands.parsed import quantize_config
from qdq_cli.commands.shown import show_report
from qdq_cli.commands.spelling import spelled
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.process.startup import multiply_on_one_thread
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.tuning.record import TuneReport

_GOALS = (
    option_of(VerifyConfig, "min_sqnr", "Lowest SQNR of any output."),
    option_of(VerifyConfig, "min_agreement", "Lowest top-1 agreement of any output of class scores."),
)
_TARGET = (*_GOALS, *EVAL, *options_of(TuneConfig, "max_drop", "min_int8_macs"))
_RECOVER = click.Option(
    ["--recover/--no-recover"],
    default=True,
    help="Recover accuracy as qdq quantize --recover does before an operator is left float. [default: on]",
)
_WRITING = tuple(option for option in OUTPUT if option.name != "dry_run")
_VERIFYING = options_of(VerifyConfig, "samples")

_COST = options_of(TuneConfig, "gpu", "types", "cost")

_SECTIONS = {
    "Data": (*DATA, STRICT),
    "Running": RUNNING,
    "Measurement": _COST,
    "What to quantize": PLACEMENT,
    "Ranges": RANGES,
    "Recovery": (_RECOVER, *RECOVERY[1:]),
    "Output": (*_WRITING, REPORT),
    "Limits": (*_TARGET, *_VERIFYING),
    "Display": display("List every operator that is left float, and the plan."),
}


@command_of(_SECTIONS, (MODEL,))
def tune(params: Params) -> None:
    """Quantize a model and leave operators float until it meets a target.

    Of all choices that meet the target, the one is sought that keeps most work in INT8: the mean of the shares of
    multiply-accumulates and activation traffic, as qdq inspect predicts them; with --cost built, the one whose kernels
    move the fewest bytes when NVIDIA's compiler builds it; for targets on CPUs, the one that runs fastest on this one.
    Everything in INT8 is tried first, then with its accuracy recovered. With --gpu a type is chosen for every operator:
    the mix with the least predicted time on that GPU. Where no choice meets the target, the exit code is 5, and the
    best that was found is kept as MODEL.qdq.best.onnx.

    \b
    Examples:
      qdq tune model.onnx --calib images/ --min-sqnr 30
      qdq tune model.onnx --calib images/ --min-sqnr 30 --gpu sm89
      qdq tune model.onnx --calib images/ --min-agreement 99 --report page.html
      qdq tune model.onnx --calib images/ --max-drop 0.5 \\
        --eval "python eval.py {model}"
    """
    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    tune_and_show(screen, config_of(params), params)


def tune_and_show(screen: console.Console, config: TuneConfig, params: Params) -> None:
    """Tune a model and show what came out.

    Raises:
        LimitError: The target is not met; the best is kept, and has been shown.
    """
    if config.evaluation is None:  # the user's program would inherit it
        multiply_on_one_thread()
    from qdq_cli.tuning.tune import require_target, tune_model

    report = tune_model(config, screen)
    if not screen.as_json:
        show(screen, report, params)
    screen.result(report, tuple, lambda: require_target(report, config.report))


def config_of(params: Params) -> TuneConfig:
    """Build the configuration of a run from the parsed options."""
    return TuneConfig(
        quantize=quantize_config({**params, "dry_run": False, "report": None, "min_int8_macs": None}),
        evaluation=evaluation_of(params),
        max_drop=params["max_drop"],
        min_int8_macs=params["min_int8_macs"],
        report=params["report"],
        cost=params["cost"],
        gpu=params["gpu"],
        types=params["types"],
    )


def show(screen: console.Console, report: TuneReport, params: Params) -> None:
    """Show the frontier, the summary of what was written, and how to write it again."""
    from qdq_cli.tuning.text import command_lines, tune_lines

    screen.result(report, lambda: tune_lines(report, screen.paint, full=screen.verbose))
    show_report(screen, report.quantize)
    changed = report.left_float or report.search is not None or report.quantize.recovery is not None
    if changed or report.mha != bool(params["mha"]):
        screen.write(["", *command_lines(same_command(report, params))])


def same_command(report: TuneReport, params: Params) -> tuple[str, ...]:
    """The words of a `qdq quantize` that makes the same model."""
    options = [
        *DATA,
        *RUNNING,
        *RANGES,
        *PLACEMENT,
        *(option for option in _WRITING if option.name != "output"),
        *_VERIFYING,
    ]
    written = spelled(options, {**params, "mha": report.mha, **_types(report, params)})
    recovered = report.quantize.recovery is not None
    recovery = (spelled(RECOVERY[1:], params) or ("--recover",)) if recovered else ()
    exclude = "--exclude-after-recovery" if recovered and report.search is None else "--exclude"
    excluded = (f"{exclude} {shlex.quote(name)}" for name in report.frontier[report.chosen].left_float)
    output = (f"-o {shlex.quote(report.output)}",) if params["output"] is not None or not report.met else ()
    return ("qdq quantize", shlex.quote(report.model), *written, *recovery, *excluded, *output)


def _types(report: TuneReport, params: Params) -> Params:
    """The options of the types that were chosen; none where operators of one type were left float."""
    search = report.search
    return {} if search is None else {"type": search.type, "type_of": (*params["type_of"], *search.type_of)}
