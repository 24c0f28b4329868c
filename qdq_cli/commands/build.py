"""`qdq build`: parse, build, show; then hold the result against the limits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.fields import options_of
from qdq_cli.commands.options import MODEL, PLACEMENT, Params, command_of, display, record_of
from qdq_cli.commands.views import FORMAT, JUNIT_FILE, Views, check_format, shown
from qdq_cli.config.build import BuildConfig, BuildGates
from qdq_cli.config.placement import PlanConfig
from qdq_cli.process.collector import collector_paused
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.building.record import BuildReport

_BUILD = options_of(BuildConfig, "gpu", "input_shape", "against", "trtexec", "time_limit", "memory_limit")

_VIEWS = (
    click.Option(["--layers"], is_flag=True, help="List every kernel with its types, nodes and bytes."),
    click.Option(["--node"], multiple=True, metavar="NAME", help="Say what became of a node. Repeatable."),
    FORMAT,
)

_SECTIONS = {
    "What to look at": _BUILD,
    "Output": options_of(BuildConfig, "output", "report"),
    "Views": _VIEWS,
    "Limits": options_of(BuildGates),
    "What to quantize": PLACEMENT,
    "Display": display("Show every node that is refused."),
}


@command_of(_SECTIONS, (MODEL, JUNIT_FILE))
def build(params: Params) -> None:
    """Build a model with NVIDIA's compiler, on a CPU, and lay it beside the prediction.

    The compiler is TensorRT for RTX, which needs no GPU to build (the extra `compiler`, under NVIDIA's licence);
    it runs in a process of its own and sends nothing anywhere. Shown are what its importer refuses, the type every
    weighted operator really runs in beside the predicted one, and the bytes that kernels move. A float model is built
    in INT8 as planned and in FP16 too: whether INT8 is worth it, before anything is calibrated. On a machine with a
    GPU, --trtexec builds with the TensorRT that is there instead.

    \b
    Examples:
      qdq build model.onnx
      qdq build model.qdq.onnx --against model.onnx
      qdq build model.qdq.onnx --gpu sm86 -o model.engine
      qdq build model.qdq.onnx --gpu all --fail-on refused
    """
    with collector_paused():
        from qdq_cli.building.build import build_model
        from qdq_cli.building.gates import require_build_gates

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    check_format(params, "build")
    gates = record_of(BuildGates, params)
    report = build_model(config_of(params), screen)
    lines = shown(screen, params, partial(_views_for_services, report), lambda: _lines(screen, report, params))
    screen.result(report, lambda: lines, lambda: require_build_gates(report, gates))


def _views_for_services(report: BuildReport) -> Views:
    from qdq_cli.building import pipelines

    return Views(
        lambda: pipelines.github_build_annotations(report),
        lambda: pipelines.markdown_build_summary(report),
        lambda: pipelines.junit_build_xml(report),
        lambda: pipelines.build_values(report),
    )


def config_of(params: Params) -> BuildConfig:
    """Build the configuration of a run from the parsed options."""
    writes = () if params["file"] is None else (params["file"],)
    return record_of(BuildConfig, params, {"plan": record_of(PlanConfig, params), "writes": writes})


def _lines(screen: console.Console, report: BuildReport, params: Params) -> Iterable[str]:
    """The one view that was asked for."""
    from qdq_cli.building import layer_text, text

    if params["node"]:
        return [line for name in params["node"] for line in layer_text.node_lines(report, name)]
    if params["layers"]:
        return layer_text.kernel_lines(report, screen.paint)
    return text.build_lines(report, screen.paint, full=screen.verbose)
