"""`qdq quantize`: parse, run the pipeline, show the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from qdq_cli import console
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
    VERIFY,
    Params,
    command_of,
    record_of,
)
from qdq_cli.config import (
    DEFAULT_RECOVERY,
    DataConfig,
    Form,
    PlanConfig,
    QuantizeConfig,
    RangeConfig,
    TensorRT,
    VerifyConfig,
    WeightForm,
)
from qdq_cli.data.preprocess import Overrides
from qdq_cli.tuning.config import TuneConfig

_TUNE = click.Option(
    ["--tune"],
    is_flag=True,
    help="Leave operators float where --min-sqnr or --min-agreement asks for it, instead of failing; as qdq tune does.",
)

_SECTIONS = {
    "Calibration data": DATA,
    "Ranges": RANGES,
    "Placement": PLACEMENT,
    "Recovery": (*RECOVERY, EXCLUDE_AFTER_RECOVERY),
    "Output": (*OUTPUT, REPORT),
    "Verification": (*VERIFY, _TUNE),
    "Display": DISPLAY,
}


@command_of(_SECTIONS, (MODEL,))
def quantize(params: Params) -> None:
    """Quantize an FP32 ONNX model to INT8 with Q/DQ nodes.

    MODEL is calibrated on the samples of --calib and written with QuantizeLinear/DequantizeLinear pairs where TensorRT
    fuses them best; the input is never changed.

    \b
    Examples:
      qdq quantize model.onnx --calib images/
      qdq quantize model.onnx --calib arrays.npz --cache model.qcal --min-sqnr 20
      qdq quantize model.onnx --calib images/ --recover
      qdq quantize model.onnx --dry-run
    """
    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    config = config_of(params)
    if params["tune"]:
        _tune(config, screen, params)
        return
    if config.dry_run:
        _show_plan(config, screen)
        return
    _quantize(config, screen)


def _quantize(config: QuantizeConfig, screen: console.Console) -> None:
    """Quantize the model and show the report, where a limit is not met too.

    Raises:
        UnmetLimitError: That is so.
    """
    from qdq_cli.pipeline import quantize_model
    from qdq_cli.report import UnmetLimitError

    try:
        report = quantize_model(config, screen)
    except UnmetLimitError as error:
        screen.show(error.report)
        raise
    screen.show(report)


def _tune(config: QuantizeConfig, screen: console.Console, params: Params) -> None:
    """Do what `qdq tune` does.

    Raises:
        click.UsageError: A dry run is asked for, which cannot measure anything.
    """
    from qdq_cli.commands.tune import tune_and_show

    if config.dry_run:
        raise click.UsageError("--tune has to run the model, which --dry-run does not.")
    tuned = replace(config, report=None, recover=config.recover or DEFAULT_RECOVERY)
    tune_and_show(screen, TuneConfig(tuned, report=config.report), params)


def _show_plan(config: QuantizeConfig, screen: console.Console) -> None:
    """Show what `qdq inspect` shows of a model without Q/DQ."""
    from qdq_cli.inspection.inspect import inspect_plan
    from qdq_cli.inspection.text import summary_lines

    inspection = inspect_plan(config, screen)
    screen.result(inspection, lambda: summary_lines(inspection, screen.paint, full=screen.verbose))


def config_of(params: Params) -> QuantizeConfig:
    """Build the configuration of a run from the parsed options."""
    trt = params["trt"]
    return QuantizeConfig(
        model=params["model"],
        output=params["output"],
        data=record_of(DataConfig, params, {"overrides": record_of(Overrides, params)}),
        plan=record_of(PlanConfig, params),
        ranges=record_of(RangeConfig, params, given_ranges(params)),
        verify=record_of(VerifyConfig, params, {"samples": params["verify"]}),
        trt=None if trt is None else TensorRT(trt),
        weights=WeightForm(params["weights"]),
        form=Form(params["form"]),
        dry_run=params["dry_run"],
        report=params["report"],
        recover=recovery_of(params),
        exclude_after_recovery=params.get("exclude_after_recovery", ()),
    )


def recovery_of(params: Params) -> tuple[str, ...]:
    """The steps of recovery that were asked for: those named, else the default ones where `--recover` is given."""
    return tuple(params["recover_step"]) or (DEFAULT_RECOVERY if params["recover"] else ())


def given_ranges(params: Params) -> dict[str, Mapping[str, float]]:
    """The ranges of the command line and of the file."""
    file: Path | None = params["ranges"]
    if file is None:
        return {"manual": dict(params["range_"])}
    from qdq_cli.data.ranges import read_ranges

    return {"manual": dict(params["range_"]), "imported": read_ranges(file)}
