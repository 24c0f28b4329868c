"""`qdq compare`: parse, compare, show; then hold the result against the limits."""

from __future__ import annotations

from functools import partial

import click

from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.options import DATA, REPORT, THREADS, Params, command_of, data_of, display, record_of
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.commands.views import FORMAT, JUNIT_FILE, check_format, shown, unmet_by, views_of
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.screen import console

_REFERENCE = click.Argument(["reference"], type=FILE_PATH, metavar="REFERENCE")
_QUANTIZED = click.Argument(["quantized"], type=FILE_PATH, metavar="QUANTIZED")

_OWN = {
    "calib": option_of(
        DataConfig,
        "calib",
        "Samples to compare on: a folder of images, a folder of .npy/.npz, one .npz with an array for each input, "
        "one .npy, or a folder in the ONNX test-data layout. Repeatable.",
        names=("--data", "calib"),
        required=True,
    ),
    "samples": option_of(DataConfig, "samples", "Samples to compare on, evenly spread. [default: all, up to 64]"),
}
_DATA = tuple(_OWN.get(option.name or "", option) for option in DATA)

_LAYERS = (
    option_of(CompareConfig, "layers"),
    click.Option(
        ["--top"],
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        metavar="N",
        help="With --layers: list the N layers with most error of their own.",
    ),
)

_LIMITS = options_of(CompareConfig, "min_sqnr", "min_agreement", "min_speedup")

_SECTIONS = {
    "Data": _DATA,
    "Running": THREADS,
    "What to look at": _LAYERS,
    "Measurement": options_of(CompareConfig, "time"),
    "Limits": _LIMITS,
    "Output": (REPORT, FORMAT),
    "Display": display("With --layers: list every tensor, each with its cause."),
}


@command_of(_SECTIONS, (_REFERENCE, _QUANTIZED, JUNIT_FILE))
def compare(params: Params) -> None:
    """Compare a model with its quantized form, output by output or layer by layer.

    Both run on the same samples with ONNX Runtime's graph optimisations off. QUANTIZED may come from any tool that
    keeps tensor names. With --layers, each layer is also fed the FP32 tensors of REFERENCE, which shows what it adds
    by itself: where the damage starts, and why. With --time, both are timed in turn.

    \b
    Examples:
      qdq compare model.onnx model.qdq.onnx --data images/
      qdq compare model.onnx model.qdq.onnx --data images/ --layers
      qdq compare model.onnx model.qdq.onnx --data images/ --report page.html
      qdq compare model.onnx model.qdq.onnx --data arrays.npz --time --min-sqnr 10
    """
    from qdq_cli.comparing.compare import compare_models, require_limits
    from qdq_cli.comparing.text import comparison_lines
    from qdq_cli.comparing.told import told_of_comparison

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    check_format(params, "compare")
    config = config_of(params)
    found = compare_models(config, screen)
    top = None if params["verbose"] else params["top"]
    hold = partial(require_limits, found, config)
    views = partial(views_of, lambda: told_of_comparison(found, unmet_by(hold)))
    lines = shown(screen, params, views, lambda: comparison_lines(found, top, screen.paint))
    screen.result(found, lambda: lines, hold)


def config_of(params: Params) -> CompareConfig:
    """Build the configuration of a run from the parsed options."""
    data = data_of(params)
    return record_of(CompareConfig, params, {"data": data})
