"""`qdq migrate`: parse, migrate, show what came of it."""

from __future__ import annotations

import click

from qdq_cli.commands.fields import options_of
from qdq_cli.commands.options import DATA, DISPLAY, MODEL, PLACEMENT, RUNNING, Params, command_of, data_of, record_of
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.screen import console

_SECTIONS: dict[str, tuple[click.Option, ...]] = {
    "Data": (*options_of(MigrateConfig, "cache"), *DATA),
    "Running": RUNNING,
    "What to quantize": PLACEMENT,
    "Output": options_of(MigrateConfig, "output", "float_type", "scale_type", "keep_io_types", "weights"),
    "Display": DISPLAY,
}


@command_of(_SECTIONS, (MODEL,))
def migrate(params: Params) -> None:
    """Write a model for TensorRT 11 from what an older build was made of.

    A float MODEL with the calibration table of its old build (--cache) gets Q/DQ by these ranges; a MODEL that holds
    Q/DQ keeps them, repaired where TensorRT 11 refuses them. What is not quantized becomes FP16, but for what would
    overflow or vanish. The report says what the table lacks, and what ran in INT8 before and does not any more.

    \b
    Examples:
      qdq migrate model.onnx --cache calibration.cache
      qdq migrate model.qdq.onnx
      qdq migrate model.onnx --cache calibration.cache --calib images/
    """
    from qdq_cli.migrating.migrate import migrate_model
    from qdq_cli.migrating.text import report_lines

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    report = migrate_model(config_of(params), screen)
    screen.result(report, lambda: report_lines(report, full=params["verbose"]))


def config_of(params: Params) -> MigrateConfig:
    """Build the configuration of a run from the parsed options."""
    given = {
        "data": data_of(params),
        "plan": record_of(PlanConfig, params),
    }
    return record_of(MigrateConfig, params, given)
