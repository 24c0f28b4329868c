"""`qdq fix`: parse, repair, show what was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.fields import option_of
from qdq_cli.commands.options import DISPLAY, MODEL, THREADS, Params, command_of, record_of
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.fix import FixConfig
from qdq_cli.screen import console

if TYPE_CHECKING:
    from calibrators import Range

_OUTPUT = (
    option_of(FixConfig, "output"),
    click.Option(
        ["--ranges"],
        type=FILE_PATH,
        metavar="FILE",
        help="Ranges for residual branches whose tensor has no Q: a calibration cache, another tool's table, or JSON "
        "{tensor: amax}.",
    ),
    option_of(FixConfig, "plugins"),
    option_of(FixConfig, "samples"),
)


@command_of({"Running": THREADS, "Output": _OUTPUT, "Display": DISPLAY}, (MODEL,))
def fix(params: Params) -> None:
    """Repair what TensorRT refuses or cannot fuse in a Q/DQ model.

    MODEL may come from any tool. Missing zero points and axes, quantized biases and UINT8 around 128 are repaired, and
    pairs moved or taken away where they keep kernels from fusing. What was trained stays: no weight changes, every
    repair is listed with its rule, and the outputs before and after are compared.

    \b
    Examples:
      qdq fix model.qdq.onnx
      qdq fix model.qdq.onnx -o repaired.onnx --ranges model.qcal
    """
    from qdq_cli.fixing.fix import fix_model
    from qdq_cli.fixing.text import report_lines

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    report = fix_model(config_of(params), screen)
    if params["json"]:
        screen.document(report)
    else:
        screen.write(report_lines(report, full=params["verbose"]))


def config_of(params: Params) -> FixConfig:
    """Build the configuration of a run from the parsed options."""
    ranges: Mapping[str, Range] = {}
    if params["ranges"] is not None:
        from qdq_cli.cache.exchange import ranges_in

        ranges = ranges_in(params["ranges"])
    return record_of(FixConfig, params, {"ranges": ranges, "execution": record_of(ExecutionConfig, params)})
