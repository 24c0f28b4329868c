"""`qdq cache`: look into calibration caches, compare, merge and convert them; each sub-command calls one function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.groups import CommandGroup
from qdq_cli.commands.options import MODEL, PLACEMENT, Params, command_of, display, record_of
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.config.cache import CheckConfig, ExportConfig, MergeConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.screen import console

_FILE = click.Argument(["file"], type=FILE_PATH, metavar="FILE")
_FIRST = click.Argument(["first"], type=FILE_PATH, metavar="A")
_SECOND = click.Argument(["second"], type=FILE_PATH, metavar="B")
_FILES = click.Argument(["files"], type=FILE_PATH, nargs=-1, required=True, metavar="FILE...")

_DISPLAY = display("List every tensor.")

_METHOD = option_of(ExportConfig, "method")
_PERCENTILE = option_of(ExportConfig, "percentile")


def _output(text: str) -> click.Option:
    return click.Option(["-o", "--output"], type=FILE_PATH, metavar="FILE", help=text)


_PLOT = click.Option(["--plot"], type=FILE_PATH, metavar="FILE", help="Draw every histogram, as .svg or .png.")
_REPORT = click.Option(
    ["--report"],
    type=FILE_PATH,
    metavar="FILE.html",
    help="Write a page about it too: one HTML file that fetches nothing.",
)
_MAX_DRIFT = click.Option(
    ["--max-drift"],
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="Fail (exit 5) where a range or the values of a tensor moved further, or a tensor is in one cache alone.",
)


_EXPORT = (
    option_of(ExportConfig, "format", required=True),
    *options_of(ExportConfig, "output", "method", "percentile", "trt", "algo"),
)
_MERGED = (option_of(MergeConfig, "output", required=True),)
_MERGED_FOR = options_of(MergeConfig, "model", "target")
_EXPORTED_FOR = options_of(ExportConfig, "model", "target")
_CHECKED_FOR = option_of(CheckConfig, "target")
_ALL_TENSORS = option_of(CheckConfig, "all_tensors")


@click.group(cls=CommandGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Look into calibration caches, compare, merge and convert them.

    \b
    Examples:
      qdq cache show model.qcal
      qdq cache merge share-1.qcal share-2.qcal -o model.qcal
      qdq cache export model.qcal --format tensorrt --trt 8.6.1
    """
    if ctx.invoked_subcommand is None:
        console.Console().write(ctx.get_help().splitlines())


def _member(name: str) -> Callable[[click.Command], click.Command]:
    """Make a command one of `qdq cache`."""

    def add(command: click.Command) -> click.Command:
        cache.add_command(command, name)
        return command

    return add


def _screen(params: Params) -> console.Console:
    return console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])


@_member("show")
@command_of({"Ranges": (_PERCENTILE,), "Views": (_PLOT, _REPORT), "Display": _DISPLAY}, (_FILE,))
def show(params: Params) -> None:
    """Show the tensors of a calibration cache: values, the range by every method, what it cuts off, the histogram.

    \b
    Examples:
      qdq cache show model.qcal
      qdq cache show model.qcal --plot histograms.svg
      qdq cache show model.qcal --report cache.html
    """
    from qdq_cli.cache.page import cache_page
    from qdq_cli.cache.picture import picture_writer, write_picture
    from qdq_cli.cache.summary import read_summary
    from qdq_cli.cache.text import ASCII_BLOCKS, BLOCKS, show_lines
    from qdq_cli.process.writable import check_writable
    from qdq_cli.screen.page_target import check_page_target
    from qdq_cli.screen.render import write_page

    screen = _screen(params)
    if params["plot"] is not None:
        picture_writer(params["plot"])
        check_writable(params["plot"], "--plot", "--plot")
    if params["report"] is not None:
        check_page_target(params["report"], (params["file"],))
    summary, table = read_summary(params["file"], params["percentile"])
    if params["plot"] is not None:
        write_picture(params["plot"], summary, table)
    if params["report"] is not None:
        write_page(cache_page(summary, table), params["report"])
    blocks = BLOCKS if screen.spells(BLOCKS) else ASCII_BLOCKS
    screen.result(summary, lambda: show_lines(summary, table, screen.columns(), blocks))


@_member("diff")
@command_of({"Ranges": (_METHOD, _PERCENTILE), "Limits": (_MAX_DRIFT,), "Display": _DISPLAY}, (_FIRST, _SECOND))
def diff(params: Params) -> None:
    """Compare two calibration caches: how far ranges and values moved from A to B.

    The ratio is that of the ranges; the distance is how far the values moved, in units of their root mean square. The
    drift is the larger of the two, in percent.

    \b
    Examples:
      qdq cache diff last-release.qcal model.qcal
      qdq cache diff last-release.qcal model.qcal --max-drift 25
    """
    from qdq_cli.cache.drift import compare_files, require_drift
    from qdq_cli.cache.text import drift_lines

    screen = _screen(params)
    found = compare_files(params["first"], params["second"], params["method"], params["percentile"])
    lines = partial(drift_lines, found, screen.columns(), full=screen.verbose)
    screen.result(found, lines, lambda: require_drift(found, params["max_drift"]))


@_member("merge")
@command_of({"Output": _MERGED, "What to quantize": (*_MERGED_FOR, *PLACEMENT), "Display": _DISPLAY}, (_FILES,))
def merge(params: Params) -> None:
    """Merge calibration caches of one model into the cache a single run over all samples would have made.

    The order does not matter. Caches of different models, preprocessing or versions, and samples that are in two of
    them, are refused.

    \b
    Examples:
      qdq cache merge share-1.qcal share-2.qcal share-3.qcal -o model.qcal
      qdq cache merge share-1.qcal share-2.qcal -o model.qcal --model model.onnx
    """
    from qdq_cli.cache.grouped import merge_caches
    from qdq_cli.cache.text import merge_lines

    screen = _screen(params)
    config = record_of(MergeConfig, params, {"plan": record_of(PlanConfig, params)})
    summary = merge_caches(config)
    screen.result(summary, lambda: merge_lines(summary, config.files))


@_member("export")
@command_of(
    {"Ranges": _EXPORT, "What to quantize": (*_EXPORTED_FOR, *PLACEMENT), "Display": _DISPLAY},
    (_FILE,),
)
def export(params: Params) -> None:
    """Write the ranges of a calibration cache for TensorRT, ONNX Runtime or PyTorch.

    They are those that qdq quantize chooses from the cache by the same method; what a format cannot carry is said.

    \b
    Examples:
      qdq cache export model.qcal --format tensorrt --trt 8.6.1 -o int8.cache
      qdq cache export model.qcal --format ort -o calibration.flatbuffers
      qdq cache export model.qcal --format torch-json --method entropy
    """
    from qdq_cli.cache.exchange import export_file
    from qdq_cli.cache.text import range_lines

    screen = _screen(params)
    found = export_file(record_of(ExportConfig, params, {"plan": record_of(PlanConfig, params)}))
    for note in found.notes:
        screen.note(note)
    screen.result(found, lambda: range_lines(found, full=screen.verbose))


@_member("import")
@command_of(
    {"Output": (_output("{tensor: amax} as JSON. [default: FILE.ranges.json]"),), "Display": _DISPLAY}, (_FILE,)
)
def import_(params: Params) -> None:
    """Read the ranges of another tool and write them as {tensor: amax}, which qdq quantize --ranges takes.

    FILE is a TensorRT calibration cache, ONNX Runtime's table in any of its forms, or JSON; its content says which.

    \b
    Examples:
      qdq cache import calibration.cache -o ranges.json
    """
    from qdq_cli.cache.exchange import import_file
    from qdq_cli.cache.text import range_lines

    screen = _screen(params)
    file: Path = params["file"]
    found = import_file(file, params["output"] or file.with_name(f"{file.name}.ranges.json"))
    screen.result(found, lambda: range_lines(found, full=screen.verbose))


@_member("check")
@command_of({"What to quantize": (_CHECKED_FOR, *PLACEMENT, _ALL_TENSORS), "Display": _DISPLAY}, (MODEL, _FILE))
def check(params: Params) -> None:
    """Say whether a calibration cache or a file of ranges serves MODEL, and what is missing (exit 4).

    \b
    Examples:
      qdq cache check model.onnx model.qcal
      qdq cache check model.onnx calibration.cache
      qdq cache check model.onnx model.qcal --target tensorrt-rtx
    """
    from qdq_cli.cache.fit import check_fit, require_fit
    from qdq_cli.cache.text import fit_lines

    screen = _screen(params)
    fit = check_fit(record_of(CheckConfig, params, {"plan": record_of(PlanConfig, params)}))
    screen.result(fit, lambda: fit_lines(fit, full=screen.verbose), lambda: require_fit(fit))
