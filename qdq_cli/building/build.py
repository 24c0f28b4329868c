"""`qdq build` on one page: predict, build in a process of its own, lay both side by side, build other forms beside it.

The record that comes out is the `--json` document.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdq_cli.building.agreement import (
    agreement_of,
    built_types,
    conversions_of,
    macs_percent,
    operators_of,
    traffic_of,
    types_of,
    types_run,
    unpredicted_operators,
)
from qdq_cli.building.compiler import COMPILER, Job, Limits, RawRefusal, Told, compile_model
from qdq_cli.building.names import (
    named,
    operators_by_name,
    quantizers_by_name,
    readers_by_name,
    weighted_names,
)
from qdq_cli.building.page import build_page
from qdq_cli.building.record import Beside, BuildReport, GpuBuild, Kernel, Operator, Outcome, Refusal
from qdq_cli.building.shapes import Profile, profiles_of
from qdq_cli.building.variants import AS_IT_IS, Variant, variants_of
from qdq_cli.building.verdict import verdict_of
from qdq_cli.calibrating.calibration_data import input_specs
from qdq_cli.config.build import BuildConfig
from qdq_cli.config.forms import Gpu, TensorRT
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.inspecting.inspect import Inspection, inspect_file
from qdq_cli.model import files
from qdq_cli.model.opset import opset_of
from qdq_cli.model.placing import folder_beside
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import ModelError, QdqError, UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.process.writable import check_apart, check_writable
from qdq_cli.screen.render import write_page
from qdq_cli.targets.tensorrt.findings import NOT_BUILT, Finding, Severity


@dataclass(frozen=True)
class _Subject:
    """What is built, and all that is known of it before.

    Args:
        path: The ONNX file that the compiler reads.
        op_types: Node -> its operator.
        weighted: Names of the weighted operators.
        quantizers: Node -> the Q that its data comes from.
        readers: Node -> the nodes that read what it makes.
        profiles: Sizes of dynamic inputs.
        inspections: GPU -> what is predicted, or None.
        unpredicted: Why nothing is, or "".
        variants: Other forms of the model.
        quantized: Whether it holds Q/DQ.
    """

    path: Path
    op_types: Mapping[str, str]
    weighted: Sequence[str]
    quantizers: Mapping[str, str]
    readers: Mapping[str, Sequence[str]]
    profiles: Mapping[str, Profile]
    inspections: Mapping[str, Inspection | None]
    unpredicted: str
    variants: tuple[Variant, ...]
    quantized: bool


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
    _check_files(config, source)
    opset, quantized = opset_of(source.model), holds_quantization(source.model)
    profiles = profiles_of(config.input_shape, input_specs(source.model))
    for name, profile in profiles.items():
        if profile.assumed:
            listener.note(f"Input '{name}' is dynamic and is built for {profile}; --input-shape chooses other sizes.")
    with scratch_folder() as folder, contextlib.ExitStack() as stack:
        path = named(source, folder, stack)
        variants = variants_of(config, folder, stack, quantized=quantized)
        subject = _subject(config, source, path, profiles, variants)
        builds, version = _builds(config, subject, listener)
    first = subject.inspections[config.gpus[0]]
    report = BuildReport(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        opset=opset,
        size_bytes=source.size_bytes,
        quantized=quantized,
        compiler=f"{COMPILER} {version}".strip(),
        shapes={name: str(profile) for name, profile in profiles.items()},
        assumed=tuple(name for name, profile in profiles.items() if profile.assumed),
        builds=builds,
        engine=None if config.output is None or builds[0].outcome is not Outcome.BUILT else str(config.output),
        predicted_standalone=None if first is None else first.summary.standalone,
        predicted_boundary=None if first is None else first.summary.boundary,
        unpredicted=subject.unpredicted,
    )
    if config.report is not None:
        write_page(build_page(report), config.report)
    return report


def _subject(
    config: BuildConfig,
    source: files.ModelFile,
    path: Path,
    profiles: Mapping[str, Profile],
    variants: tuple[Variant, ...],
) -> _Subject:
    """Gather what is known of a model before it is built; its nodes have names by now.

    A compiler may read what ONNX's checker refuses, of which nothing can be predicted then.
    """
    inspections: dict[str, Inspection | None] = dict.fromkeys(config.gpus)
    unpredicted = ""
    try:
        inspections = {gpu: _predicted(config.model, profiles, Gpu(gpu)) for gpu in config.gpus}
    except ModelError as error:
        unpredicted = error.message
    return _Subject(
        path=path,
        op_types=operators_by_name(source.model),
        quantizers=quantizers_by_name(source.model),
        readers=readers_by_name(source.model),
        profiles=profiles,
        inspections=inspections,
        unpredicted=unpredicted,
        weighted=weighted_names(source.model),
        variants=variants,
        quantized=holds_quantization(source.model),
    )


def _check_files(config: BuildConfig, source: files.ModelFile) -> None:
    """Look at the files that will be written before any work.

    Raises:
        UsageError: One cannot be written, is read by this run, or there would be several engines.
    """
    reads = [source.path, *source.data_files, *([config.against] if config.against is not None else [])]
    written = [("-o", config.output), ("--report", config.report), *(("FILE", path) for path in config.writes)]
    named = [(option, path) for option, path in written if path is not None]
    for option, path in named:
        check_writable(path, "the engine" if option == "-o" else option, option)
        files.check_not_read(path, reads, option)
        check_apart(path, option, (other for _, other in named if other is not path))
    if config.output is not None and len(config.gpus) > 1:
        raise UsageError("-o keeps the engine of one GPU, and several are named.", "Name one with --gpu.")


def _predicted(model: Path, profiles: Mapping[str, Profile], gpu: Gpu) -> Inspection:
    shapes = tuple(f"{name}:{'x'.join(map(str, profile.usual))}" for name, profile in profiles.items())
    return inspect_file(InspectConfig(model, trt=TensorRT.V11, gpu=gpu, input_shape=shapes))


def _builds(config: BuildConfig, subject: _Subject, listener: Listener) -> tuple[tuple[GpuBuild, ...], str]:
    """Build for every GPU; returns the records, and the version of the compiler."""
    limits = Limits(config.time_limit, round(config.memory_limit * 1e9))
    found, version = [], ""
    with _engine(config) as engine, listener.progress("build", len(config.gpus) * (1 + len(subject.variants))) as tell:
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


@contextlib.contextmanager
def _engine(config: BuildConfig) -> Iterator[Path | None]:
    """Yield the place where an engine is written before it takes its name."""
    if config.output is None:
        yield None
        return
    target = check_writable(config.output, "the engine")
    with folder_beside(target) as folder:
        yield folder / target.name


def _shapes(profiles: Mapping[str, Profile], *, usual: bool = False) -> Mapping[str, Sequence[Sequence[int]]]:
    return {name: (profile.usual,) * 3 if usual else profile.shapes for name, profile in profiles.items()}


def _described(gpu: str, told: Told, subject: _Subject, work: _Work) -> GpuBuild:
    """Make the record of one build; sizes that the engine leaves open are those of a build for the usual ones alone."""
    inspection = subject.inspections[gpu]
    findings = () if inspection is None else (*inspection.findings, *inspection.advice)
    stops = () if told.outcome is Outcome.BUILT else NOT_BUILT
    errors = tuple(entry for entry in findings if entry.severity is Severity.ERROR or entry.code in stops)
    if told.outcome is not Outcome.BUILT:
        refusals = tuple(_refusal(raw, findings, subject.readers) for raw in told.refusals)
        return GpuBuild(gpu, told.outcome, refusals, told.said, errors=errors)
    kernels, sized = told.kernels, told.kernels
    if not all(profile.is_fixed for profile in subject.profiles.values()):
        sized = work.compile(Job(subject.path, gpu, _shapes(subject.profiles, usual=True))).kernels
    operators, elsewhere = _operators(kernels, inspection, subject)
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


def _operators(
    kernels: tuple[Kernel, ...], inspection: Inspection | None, subject: _Subject
) -> tuple[tuple[Operator, ...], int]:
    """Return the weighted operators as predicted and built, and how many more the prediction has in no layer."""
    if inspection is None:
        weighted = {name: subject.op_types[name] for name in subject.weighted}
        return unpredicted_operators(kernels, weighted, subject.quantizers), 0
    operators = operators_of(kernels, inspection, subject.quantizers)
    return operators, inspection.summary.weighted_ops - len(operators)


def _refusal(raw: RawRefusal, findings: Sequence[Finding], readers: Mapping[str, Sequence[str]]) -> Refusal:
    """Put beside what the importer says what the lint says about the same node, or about one that reads its result."""

    def about(*names: str) -> tuple[Finding, ...]:
        return tuple(entry for entry in findings if entry.node and entry.node in names)

    found = about(raw.node) or about(*readers.get(raw.node, ()))
    return Refusal(raw.node, raw.op_type, raw.said, found)


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


def _weighed(build: GpuBuild, besides: tuple[Beside, ...], subject: _Subject) -> GpuBuild:
    """Add the other forms, and whether INT8 is worth it."""
    own = Beside(
        AS_IT_IS, build.outcome, "", len(build.kernels), build.built_types or {}, build.traffic
    )  # fmt: skip
    return replace(build, beside=besides, verdict=verdict_of((own, *besides), quantized=subject.quantized))
