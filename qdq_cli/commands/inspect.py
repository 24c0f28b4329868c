"""`qdq inspect`: parse, look, show; then hold the result against the limits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.fields import options_of
from qdq_cli.commands.options import DISPLAY, MODEL, PLACEMENT, Params, command_of, record_of
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.commands.views import FORMAT, JUNIT_FILE, Views, check_format, shown, write_view
from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.process.collector import collector_paused
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.inspecting.record import Inspection

_FILES = {"--svg": "svg", "--dot": "dot", "FILE": "file"}
"""What names a file that is written, on the command line -> among the parameters."""

_LOOK = options_of(InspectConfig, "target", "trt", "gpu", "plugins", "input_shape", "deconv_absorbs_q")

_VIEWS = (
    click.Option(["--layers"], is_flag=True, help="List every predicted layer with its types and cost."),
    click.Option(["--node"], multiple=True, metavar="NAME", help="Explain what becomes of a node. Repeatable."),
    click.Option(["--dot"], type=FILE_PATH, metavar="FILE", help="Write the layers as a Graphviz graph."),
    click.Option(["--svg"], type=FILE_PATH, metavar="FILE", help="Draw the layers (needs Graphviz)."),
    *options_of(InspectConfig, "report", "against"),
    FORMAT,
)

_ENGINE = (
    click.Option(
        ["--layer-info"],
        type=FILE_PATH,
        metavar="FILE",
        help="Lay the prediction beside an engine: what trtexec --exportLayerInfo=FILE --profilingVerbosity=detailed "
        "wrote on the device.",
    ),
    click.Option(
        ["--profile"], type=FILE_PATH, metavar="FILE", help="With times: what trtexec --exportProfile=FILE wrote there."
    ),
)

_GATES = options_of(Gates)

_SECTIONS = {
    "What to look at": (*_LOOK, *_ENGINE),
    "Views": _VIEWS,
    "Limits": _GATES,
    "What to quantize": PLACEMENT,
    "Display": DISPLAY,
}


@command_of(_SECTIONS, (MODEL, JUNIT_FILE))
def inspect(params: Params) -> None:
    """Say what TensorRT will do with a Q/DQ model, without TensorRT.

    MODEL may come from any tool. Reported are the rules it breaks, the layers that will run in INT8, the Q/DQ that stay
    kernels of their own with the reason and what would remove them, and what stays float at what cost. For a model
    without Q/DQ the plan of `qdq quantize` is shown, and all of this predicted for it.

    \b
    Examples:
      qdq inspect model.qdq.onnx
      qdq inspect model.qdq.onnx --report page.html
      qdq inspect model.qdq.onnx --node layer1.0.conv2
      qdq inspect model.qdq.onnx --fail-on E --max-standalone 0
    """
    with collector_paused():
        from qdq_cli.inspecting.inspect import inspect_model, require_gates
        from qdq_cli.targets.known import target_named

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    gates = gates_of(params)
    if target_named(params["target"]).fuse is not None:
        _show_on_cpu(screen, params, gates)
        return
    if params["layer_info"] is not None or params["profile"] is not None:
        _show_engine(screen, params)
        return
    inspection = inspect_model(config_of(params), screen)
    _write_views(inspection, params)
    lines = shown(screen, params, partial(_views_for_services, inspection), lambda: _lines(screen, inspection, params))
    screen.result(inspection, lambda: lines, lambda: require_gates(inspection, gates))


def _show_on_cpu(screen: console.Console, params: Params, gates: Gates) -> None:
    """Show what a runtime on the CPU makes of the model.

    Raises:
        click.UsageError: A view is asked for that only TensorRT has.
    """
    from qdq_cli.inspecting.on_cpu import cpu_lines, inspect_on_cpu, refuse_gates, require_cpu_gates

    for name in ("layers", "node", "layer_info", "profile"):
        if params[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} shows what TensorRT does; -v lists everything here.")
    if params["format_"] != "text":
        raise click.UsageError("--format is for what TensorRT does; --json has everything that is found here.")
    refuse_gates(gates)
    found = inspect_on_cpu(config_of(params), screen)
    screen.result(found, lambda: cpu_lines(found, full=screen.verbose), lambda: require_cpu_gates(found, gates))


def _show_engine(screen: console.Console, params: Params) -> None:
    """Show an engine beside the prediction.

    Raises:
        click.UsageError: There are times, and no layers that they belong to.
    """
    from qdq_cli.building.engine import compare_engine
    from qdq_cli.building.engine_text import engine_lines
    from qdq_cli.building.loss_text import layer_time_lines

    if params["layer_info"] is None:
        raise click.UsageError("--profile needs the layers that its times belong to: --layer-info.")
    report = compare_engine(config_of(params), params["layer_info"], params["profile"])
    table = params["layers"]
    screen.result(
        report,
        lambda: (
            layer_time_lines(report.kernels, report.times_ms)
            if table
            else engine_lines(report, screen.paint, full=screen.verbose)
        ),
    )


def config_of(params: Params) -> InspectConfig:
    """Build the configuration of a run from the parsed options."""
    writes = {option: path for option, name in _FILES.items() if (path := params[name]) is not None}
    return record_of(InspectConfig, params, {"plan": record_of(PlanConfig, params), "writes": writes})


def gates_of(params: Params) -> Gates:
    """Build the limits of a run.

    Raises:
        UsageError: --fail-on names no code, or FILE and --format do not go together.
    """
    from qdq_cli.targets.tensorrt.findings import check_wanted

    gates = record_of(Gates, params)
    check_wanted(gates.fail_on)
    check_format(params, "inspect")
    return gates


def _write_views(inspection: Inspection, params: Params) -> None:
    """Write the files that were asked for."""
    if params["svg"] is None and params["dot"] is None:
        return
    from qdq_cli.inspecting import drawing  # most inspections draw nothing

    if params["svg"] is not None:
        write_view(params["svg"], drawing.svg_of(drawing.dot_of(inspection)))
    if params["dot"] is not None:
        write_view(params["dot"], drawing.dot_of(inspection))


def _views_for_services(inspection: Inspection) -> Views:
    from qdq_cli.inspecting import pipelines

    return Views(
        lambda: pipelines.github_annotations(inspection),
        lambda: pipelines.markdown_summary(inspection),
        lambda: pipelines.junit_xml(inspection),
        lambda: pipelines.step_values(inspection),
    )


def _lines(screen: console.Console, inspection: Inspection, params: Params) -> Iterable[str]:
    """The one view that was asked for."""
    from qdq_cli.inspecting import layer_text, text

    if params["node"]:
        return [line for name in params["node"] for line in layer_text.node_lines(inspection, name)]
    if params["layers"]:
        return layer_text.layer_lines(inspection, screen.paint)
    return text.summary_lines(inspection, screen.paint, full=screen.verbose)
