"""`qdq build` on one page: predict, build in a process of its own, lay both side by side, build other forms beside it.

The record that comes out is the `--json` document.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from qdq_cli.building.agreement import (
    agreement_of,
    built_types,
    conversions_of,
    macs_percent,
    traffic_of,
    types_of,
    types_run,
)
from qdq_cli.building.compiler import COMPILER, Job, Told, compile_model
from qdq_cli.building.names import named, quantizers_by_name, weighted_names
from qdq_cli.building.on_device import build_on_device
from qdq_cli.building.page import build_page
from qdq_cli.building.record import Beside, BuildReport, GpuBuild, Outcome
from qdq_cli.building.shapes import Profile, noted_profiles
from qdq_cli.building.subject import (
    Subject,
    check_files,
    engine_place,
    operators_beside,
    predictions_of,
    refusal_of,
    report_of,
    subject_of,
)
from qdq_cli.building.variants import Variant, variants_of
from qdq_cli.building.verdict import forms_of, verdict_of
from qdq_cli.calibrating.calibration_data import input_specs
from qdq_cli.config.build import BuildConfig
from qdq_cli.config.forms import Gpu
from qdq_cli.inspecting.drawn import sections_of
from qdq_cli.model import files
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.process.bounded import Limits
from qdq_cli.process.errors import QdqError, UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.screen.render import write_page
from qdq_cli.targets.tensorrt.findings import NOT_BUILT, Severity


def build_model(config: BuildConfig, listener: Listener = SILENT) -> BuildReport:
    """Build a model ahead of time for RTX GPUs, and lay what comes out beside what is predicted.

    Args:
        config: The model, and what to build for.
        listener: Told about assumed sizes and progress; silent by default.

    Raises:
        ModelError: The model cannot be read or is malformed, or the compiler crashes.
        UsageError: The compiler is not installed, or an option names something that is not there.
        LimitError: A build takes more time or memory than it may.
    """
    source = files.load(config.model)
    check_files(config, source)
    profiles = noted_profiles(config.input_shape, input_specs(source.model), listener)
    if config.trtexec is not None:
        return _shown(build_on_device(config, config.trtexec, source, profiles), config)
    if config.output is not None and len(config.gpus) > 1:
        raise UsageError("-o keeps the engine of one GPU, and several are named.", "Name one with --gpu.")
    with scratch_folder() as folder, contextlib.ExitStack() as stack:
        path = named(source, folder, stack)
        variants = variants_of(config, folder, stack, quantized=holds_quantization(source.model))
        found, unpredicted = predictions_of(config.model, profiles, None, map(Gpu, config.gpus))
        subject = replace(
            subject_of(source, path, profiles), inspections=found, unpredicted=unpredicted, variants=variants
        )
        builds, version = _builds(config, subject, listener)
    return _shown(report_of(config, source, subject, f"{COMPILER} {version}".strip(), builds), config)


def _shown(report: BuildReport, config: BuildConfig) -> BuildReport:
    """Write the page where one was asked for; returns the report."""
    if config.report is not None:
        write_page(build_page(report, sections_of(config.model)), config.report)
    return report


def _builds(config: BuildConfig, subject: Subject, listener: Listener) -> tuple[tuple[GpuBuild, ...], str]:
    """Build for every GPU; returns the records, and the version of the compiler."""
    limits = Limits(config.time_limit, round(config.memory_limit * 1e9))
    found, version = [], ""
    with (
        engine_place(config) as engine,
        listener.progress("build", len(config.gpus) * (1 + len(subject.variants))) as tell,
    ):
        work = _Work(limits, tell, len(config.gpus) * (1 + len(subject.variants)))
        for gpu in config.gpus:
            told = work.compile(Job(subject.path, gpu, _shapes(subject.profiles), engine))
            version = told.version
            build = _described(gpu, told, subject, work)
            besides = tuple(_beside(variant, gpu, subject.profiles, work) for variant in subject.variants)
            found.append(_weighed(build, besides, subject))
        if engine is not None and engine.exists() and config.output is not None:
            engine.replace(config.output)
    return tuple(found), version


class _Work:
    """Runs the compiler and tells how many builds are done.

    Args:
        limits: What each may take.
        tell: Told (done, total).
        total: Number of builds.
    """

    def __init__(self, limits: Limits, tell: Callable[[int, int], None], total: int) -> None:
        self._limits, self._tell, self._total, self._done = limits, tell, total, 0

    def compile(self, job: Job) -> Told:
        """Build one model."""
        told = compile_model(job, self._limits)
        self._done += 1
        self._tell(min(self._done, self._total), self._total)
        return told


def _shapes(profiles: Mapping[str, Profile], *, usual: bool = False) -> Mapping[str, Sequence[Sequence[int]]]:
    return {name: (profile.usual,) * 3 if usual else profile.shapes for name, profile in profiles.items()}


def _described(gpu: str, told: Told, subject: Subject, work: _Work) -> GpuBuild:
    """Make the record of one build; sizes that the engine leaves open are those of a build for the usual ones alone."""
    inspection = subject.inspections[gpu]
    findings = () if inspection is None else (*inspection.findings, *inspection.advice)
    stops = () if told.outcome is Outcome.BUILT else NOT_BUILT
    errors = tuple(entry for entry in findings if entry.severity is Severity.ERROR or entry.code in stops)
    if told.outcome is not Outcome.BUILT:
        refusals = tuple(refusal_of(raw, findings, subject.readers) for raw in told.refusals)
        return GpuBuild(gpu, told.outcome, refusals, told.said, errors=errors)
    kernels, sized = told.kernels, told.kernels
    if not all(profile.is_fixed for profile in subject.profiles.values()):
        sized = work.compile(Job(subject.path, gpu, _shapes(subject.profiles, usual=True))).kernels
    operators, elsewhere = operators_beside(kernels, inspection, subject)
    return GpuBuild(
        gpu=gpu,
        outcome=told.outcome,
        seconds=round(told.seconds, 4),
        engine_bytes=told.engine_bytes,
        peak_bytes=told.peak_bytes,
        types=types_of(kernels),
        operators=operators,
        built_types=built_types(operators),
        agreement=agreement_of(operators, elsewhere),
        quantized_macs_percent=macs_percent(operators),
        conversions=conversions_of(kernels, subject.op_types),
        traffic=traffic_of(sized),
        kernels=kernels,
        errors=errors,
    )


def _beside(variant: Variant, gpu: str, profiles: Mapping[str, Profile], work: _Work) -> Beside:
    """Build another form for the usual sizes; what becomes of it ends no run."""
    if variant.path is None:
        return Beside(variant.name, None, variant.said, 0, {}, None)
    try:
        told = work.compile(Job(variant.path, gpu, _shapes(profiles, usual=True)))
        if told.outcome is not Outcome.BUILT:
            said = (*(raw.said for raw in told.refusals), *told.said)
            return Beside(variant.name, told.outcome, said[0] if said else "", 0, {}, None)
        model = files.load(variant.path).model
    except QdqError as error:
        return Beside(variant.name, None, error.message, 0, {}, None)
    counts = types_run(told.kernels, weighted_names(model), quantizers_by_name(model))
    return Beside(variant.name, told.outcome, "", len(told.kernels), counts, traffic_of(told.kernels))


def _weighed(build: GpuBuild, besides: tuple[Beside, ...], subject: Subject) -> GpuBuild:
    """Add the other forms, and whether INT8 is worth it."""
    build = replace(build, beside=besides)
    return replace(build, verdict=verdict_of(forms_of(build), quantized=subject.quantized))
