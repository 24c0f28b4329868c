"""`qdq calibrate`: parse, observe, show; after Ctrl-C or SIGTERM what was finished is kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qdq_cli.commands.fields import options_of
from qdq_cli.commands.options import (
    EVERY_SAMPLE,
    MODEL,
    PLACEMENT,
    RUNNING,
    STRICT,
    Params,
    command_of,
    data_of,
    display,
    record_of,
)
from qdq_cli.commands.spelling import spelled
from qdq_cli.config.calibrate import CalibrateConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.process.errors import InterruptedRunError
from qdq_cli.process.interrupts import stop_on_signals
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.calibrating.calibrate import CalibrationReport

_CACHE = options_of(CalibrateConfig, "output", "target", "append", "every_target", "all_tensors")
_SHARES = options_of(CalibrateConfig, "shard", "dask")

_SECTIONS = {
    "Data": (*EVERY_SAMPLE, STRICT),
    "Running": RUNNING,
    "What to quantize": PLACEMENT,
    "Output": (*_CACHE, *_SHARES),
    "Display": display("List every tensor that is observed."),
}


@command_of(_SECTIONS, (MODEL,))
def calibrate(params: Params) -> None:
    """Observe a model's tensors on samples and write the calibration cache.

    The cache holds a histogram of every tensor that qdq quantize needs a range for. It is small, holds no sample, and
    fits every export of the same network: quantize the model from it anywhere, with any method. Every sample given is
    observed. Ctrl-C keeps what is finished; the same command with --append goes on from there.

    \b
    Examples:
      qdq calibrate model.onnx --calib images/
      qdq calibrate model.onnx --calib more-images/ --append
      qdq calibrate model.onnx --calib images/ --shard 2/8 -o 2-of-8.qcal
      qdq calibrate model.onnx --calib images/ --all-tensors -o all.qcal
    """
    from qdq_cli.cache.text import calibration_lines
    from qdq_cli.calibrating.calibrate import calibrate_model

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    with stop_on_signals() as stop:
        report = calibrate_model(config_of(params), screen, stop)
    options = spelled((*options_of(CalibrateConfig, "target"), *PLACEMENT), params)
    lines = partial(calibration_lines, report, full=screen.verbose, options=options)
    screen.result(report, lines, lambda: _require_whole(report))


def _require_whole(report: CalibrationReport) -> None:
    """Say that a run was ended early.

    Raises:
        InterruptedRunError: That is so; what was finished is kept.
    """
    if report.interrupted:
        left = "others" if report.samples.left is None else report.samples.left
        raise InterruptedRunError(
            f"Interrupted: {report.output} holds {report.samples.cache} samples; {left} to go.",
            "The same command with --append goes on from there.",
        )


def config_of(params: Params) -> CalibrateConfig:
    """Build the configuration of a run from the parsed options."""
    data = data_of(params)
    return record_of(CalibrateConfig, params, {"data": data, "plan": record_of(PlanConfig, params)})
