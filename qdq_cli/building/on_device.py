"""`qdq build --trtexec`: the user's own trtexec builds the model on this machine's GPU, and times its layers."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from qdq_cli.building.agreement import agreement_of, built_types, conversions_of, macs_percent, traffic_of, types_of
from qdq_cli.building.engine import losses_of
from qdq_cli.building.names import named
from qdq_cli.building.record import BuildReport, Device, GpuBuild, Outcome
from qdq_cli.building.shapes import Profile
from qdq_cli.building.subject import (
    Subject,
    engine_place,
    operators_beside,
    predictions_of,
    refusal_of,
    report_of,
    subject_of,
)
from qdq_cli.building.trtexec import Order, Ran, ask_release, release_text, run_trtexec, words_of
from qdq_cli.building.trtexec_log import version_of
from qdq_cli.config.build import BuildConfig
from qdq_cli.config.forms import Gpu
from qdq_cli.inspecting.record import Inspection
from qdq_cli.model import files
from qdq_cli.model.nodes import every_node
from qdq_cli.process.bounded import Limits
from qdq_cli.process.errors import UsageError
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.targets.tensorrt.findings import Severity
from qdq_cli.targets.tensorrt.trtexec import IDLE, family_of

_WEAK_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT8, ir.DataType.UINT8})
"""Numbers that networks of weak typing compute with."""


def build_on_device(
    config: BuildConfig, program: Path, source: files.ModelFile, profiles: Mapping[str, Profile]
) -> BuildReport:
    """Build a model with the user's own trtexec, and lay what comes out beside what is predicted.

    Args:
        config: What to build.
        program: trtexec.
        source: The model.
        profiles: Sizes of dynamic inputs.

    Raises:
        UsageError: The program is no trtexec of a release that can be read, or an option is not about it.
        ModelError: It crashes, or tells nothing of the layers.
        DataError: What it wrote cannot be read.
        LimitError: It takes more time or memory than it may.
    """
    _check_options(config)
    release = ask_release(program)
    version, typed = version_of(release), _is_typed(source.model)
    with scratch_folder() as folder, contextlib.ExitStack() as stack:
        subject = subject_of(source, named(source, folder, stack), profiles)
        place = stack.enter_context(engine_place(config))
        order = Order(subject.path, folder, place or folder / "model.engine", profiles, subject.quantized, typed)
        ran = run_trtexec(program, version, order, Limits(config.time_limit, round(config.memory_limit * 1e9)))
        engine_bytes = order.engine.stat().st_size if order.engine.exists() else 0
        if place is not None and config.output is not None and engine_bytes and ran.outcome is Outcome.BUILT:
            place.replace(config.output)
    gpu = next((each for each in Gpu if each.value == ran.capability), None)
    inspections, unpredicted = predictions_of(config.model, profiles, family_of(version), [gpu])
    (inspection,) = inspections.values()
    alike = not typed and version < IDLE["stronglyTyped"]
    build = replace(_build(ran, subject, inspection, floats_alike=alike), engine_bytes=engine_bytes)
    subject = replace(subject, inspections=inspections, unpredicted=unpredicted)
    shown = replace(order, model=config.model, folder=Path(), engine=config.output or Path("model.engine"))
    device = _measured(ran, build, inspection, (str(program), *words_of(shown, version)))
    return report_of(config, source, subject, f"TensorRT {release_text(release)}", (build,), device)


def _check_options(config: BuildConfig) -> None:
    """Refuse what is about the compiler that needs no GPU.

    Raises:
        UsageError: Something is.
    """
    for name in ("gpu", "against"):
        if getattr(config, name):
            raise UsageError(
                f"--{name} is about builds without a GPU; --trtexec builds on the GPU that is here.",
                "Leave one of them out.",
            )


def _is_typed(model: ir.Model) -> bool:
    """Say whether a model holds floats below FP32 or integers of 4 bits, which flags of weak typing do not allow."""
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [value for node in every_node(model.graph) for value in node.outputs]
    held = {value.dtype for value in values if value.dtype is not None}
    return any(kind not in _WEAK_TYPES and (kind.is_floating_point() or kind.bitwidth < 8) for kind in held if kind)


def _build(ran: Ran, subject: Subject, inspection: Inspection | None, *, floats_alike: bool) -> GpuBuild:
    """Make the record of the build; `floats_alike` where the builder chooses among the float types."""
    gpu = ran.capability or "this GPU"
    findings = () if inspection is None else inspection.findings
    errors = tuple(entry for entry in findings if entry.severity is Severity.ERROR)
    if ran.outcome is not Outcome.BUILT:
        refusals = tuple(refusal_of(raw, findings, subject.readers) for raw in ran.refusals)
        return GpuBuild(gpu, ran.outcome, refusals, ran.said, errors=errors)
    operators, elsewhere = operators_beside(ran.kernels, inspection, subject, floats_alike=floats_alike)
    return GpuBuild(
        gpu=gpu,
        outcome=ran.outcome,
        seconds=round(ran.seconds, 4),
        types=types_of(ran.kernels),
        operators=operators,
        built_types=built_types(operators),
        agreement=agreement_of(operators, elsewhere),
        quantized_macs_percent=macs_percent(operators),
        conversions=conversions_of(ran.kernels, subject.op_types),
        traffic=traffic_of(ran.kernels),
        kernels=ran.kernels,
        errors=errors,
    )


def _measured(ran: Ran, build: GpuBuild, inspection: Inspection | None, command: Sequence[str]) -> Device:
    times = ran.times_ms
    return Device(
        trtexec=command[0],
        name=ran.device,
        command=shlex.join(command),
        total_ms=sum(times.values()) if times else None,
        untimed=sum(kernel.name not in times for kernel in ran.kernels) if times else 0,
        conversions_ms=sum(times.get(name, 0.0) for name in build.conversions) if times else None,
        losses=losses_of(ran.kernels, times, build.operators, build.conversions, inspection),
        times_ms=times,
    )
