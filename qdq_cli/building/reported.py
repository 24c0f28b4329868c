"""A result of `qdq quantize` built right behind it: the numbers that its report keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qdq_cli.building.build import build_model
from qdq_cli.building.page import with_build
from qdq_cli.building.record import Beside, BuildReport
from qdq_cli.config.build import BuildConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.placement.built import Built, BuiltForm
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing.report import Report
from qdq_cli.screen.page import Page
from qdq_cli.screen.render import write_page


def built_result(
    report: Report, config: QuantizeConfig, gpu: str, listener: Listener = SILENT, page: Page | None = None
) -> tuple[Report, BuildReport]:
    """Build what a run wrote, beside the float model it was made from.

    Args:
        report: The report of the run.
        config: Its configuration.
        gpu: Compute capability to build for.
        listener: Told about assumed sizes and progress; silent by default.
        page: The page of the run, which is written again with the build on it; None where there is none.

    Returns:
        The report with the numbers of the build, and the build itself.

    Raises:
        ModelError: The compiler crashes.
        UsageError: It is not installed.
        LimitError: The build takes more time or memory than it may.
    """
    shapes = config.data.input_shape
    if report.output is None:  # the model was quantized before, and is kept as it is
        look = BuildConfig(config.model, gpu=(gpu,), input_shape=shapes)
    else:
        look = BuildConfig(Path(report.output), gpu=(gpu,), input_shape=shapes, against=config.model)
    build = build_model(look, listener)
    if page is not None and config.report is not None:
        write_page(with_build(page, build), config.report)
    return replace(report, built=_built_of(build)), build


def _built_of(report: BuildReport) -> Built:
    (build,) = report.builds
    traffic = None if build.traffic is None or build.traffic.unknown else build.traffic
    return Built(
        compiler=report.compiler,
        gpu=build.gpu,
        outcome=build.outcome.value,
        said=(*(f"{each.op_type} '{each.node}': {each.said}" for each in build.refusals), *build.said),
        kernels=len(build.kernels),
        operators=build.built_types or {},
        agree=0 if build.agreement is None else build.agreement.agree,
        differ=0 if build.agreement is None else build.agreement.differ,
        activation_bytes=None if traffic is None else traffic.activation_bytes,
        weight_bytes=None if traffic is None else traffic.weight_bytes,
        verdict=build.verdict,
        forms=tuple(map(_form_of, build.beside)),
    )


def _form_of(form: Beside) -> BuiltForm:
    traffic = None if form.traffic is None or form.traffic.unknown else form.traffic
    return BuiltForm(
        name=form.name,
        said=form.said,
        kernels=form.kernels,
        operators=form.operators,
        activation_bytes=None if traffic is None else traffic.activation_bytes,
        weight_bytes=None if traffic is None else traffic.weight_bytes,
    )
