"""A model that is built, and all that is known of it: what of both ways to build it is the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.building.agreement import operators_of, unpredicted_operators
from qdq_cli.building.compiler import RawRefusal
from qdq_cli.building.names import operators_by_name, quantizers_by_name, readers_by_name, weighted_names
from qdq_cli.building.record import BuildReport, Device, GpuBuild, Kernel, Operator, Outcome, Refusal
from qdq_cli.building.shapes import Profile
from qdq_cli.building.variants import Variant
from qdq_cli.config.build import BuildConfig
from qdq_cli.config.forms import DEFAULT_TARGET, Gpu, TensorRT
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.inspecting.inspect import inspect_file
from qdq_cli.inspecting.record import Inspection
from qdq_cli.model import files
from qdq_cli.model.opset import opset_of
from qdq_cli.model.placing import folder_beside
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import ModelError
from qdq_cli.process.writable import check_apart, check_writable
from qdq_cli.targets.tensorrt.findings import Finding
from qdq_cli.targets.tensorrt_rtx.table import TENSORRT_RTX


@dataclass(frozen=True)
class Subject:
    """What is built, and all that is known of it before.

    Args:
        path: The ONNX file that the compiler reads.
        op_types: Node -> its operator.
        weighted: Names of the weighted operators.
        quantizers: Node -> the Q that its data comes from.
        readers: Node -> the nodes that read what it makes.
        profiles: Sizes of dynamic inputs.
        quantized: Whether it holds Q/DQ.
        inspections: GPU -> what is predicted, or None.
        unpredicted: Why nothing is, or "".
        variants: Other forms of the model.
    """

    path: Path
    op_types: Mapping[str, str]
    weighted: Sequence[str]
    quantizers: Mapping[str, str]
    readers: Mapping[str, Sequence[str]]
    profiles: Mapping[str, Profile]
    quantized: bool
    inspections: Mapping[str, Inspection | None] = field(default_factory=dict)
    unpredicted: str = ""
    variants: tuple[Variant, ...] = ()


def subject_of(source: files.ModelFile, path: Path, profiles: Mapping[str, Profile]) -> Subject:
    """Gather what is known of a model before it is built.

    Args:
        source: The model, whose nodes have names by now.
        path: The file that is built.
        profiles: Sizes of dynamic inputs.
    """
    return Subject(
        path=path,
        op_types=operators_by_name(source.model),
        weighted=weighted_names(source.model),
        quantizers=quantizers_by_name(source.model),
        readers=readers_by_name(source.model),
        profiles=profiles,
        quantized=holds_quantization(source.model),
    )


def predictions_of(
    model: Path, profiles: Mapping[str, Profile], trt: TensorRT | None, gpus: Iterable[Gpu | None]
) -> tuple[dict[str, Inspection | None], str]:
    """Predict what becomes of a model on each GPU; None stands for one that is not known.

    Args:
        model: The model.
        profiles: Sizes of dynamic inputs.
        trt: The release that builds it; None for TensorRT for RTX.
        gpus: The GPUs.

    Returns:
        GPU, or "", -> the prediction, or None; and why there is none. A compiler may read what ONNX's checker refuses,
        of which nothing can be predicted then.
    """
    shapes = tuple(f"{name}:{'x'.join(map(str, profile.usual))}" for name, profile in profiles.items())
    target = TENSORRT_RTX.name if trt is None else DEFAULT_TARGET
    names = {"" if gpu is None else gpu.value: gpu for gpu in gpus}
    try:
        return {
            name: inspect_file(InspectConfig(model, trt=trt, gpu=gpu, input_shape=shapes, target=target))
            for name, gpu in names.items()
        }, ""
    except ModelError as error:
        return dict.fromkeys(names), error.message


def check_files(config: BuildConfig, source: files.ModelFile) -> None:
    """Look at the files that will be written before any work.

    Raises:
        UsageError: One cannot be written, or is read by this run.
    """
    reads = [source.path, *source.data_files, *([config.against] if config.against is not None else [])]
    written = [("-o", config.output), ("--report", config.report), *(("FILE", path) for path in config.writes)]
    named = [(option, path) for option, path in written if path is not None]
    for option, path in named:
        check_writable(path, "the engine" if option == "-o" else option, option)
        files.check_not_read(path, reads, option)
        check_apart(path, option, (other for _, other in named if other is not path))


@contextlib.contextmanager
def engine_place(config: BuildConfig) -> Iterator[Path | None]:
    """Yield the place where an engine is written before it takes its name; None where none is kept."""
    if config.output is None:
        yield None
        return
    target = check_writable(config.output, "the engine")
    with folder_beside(target) as folder:
        yield folder / target.name


def operators_beside(
    kernels: tuple[Kernel, ...], inspection: Inspection | None, subject: Subject, *, floats_alike: bool = False
) -> tuple[tuple[Operator, ...], int]:
    """Return the weighted operators as predicted and built, and how many more the prediction has in no layer."""
    if inspection is None:
        weighted = {name: subject.op_types[name] for name in subject.weighted}
        return unpredicted_operators(kernels, weighted, subject.quantizers), 0
    operators = operators_of(kernels, inspection, subject.quantizers, floats_alike=floats_alike)
    return operators, inspection.summary.weighted_ops - len(operators)


def report_of(
    config: BuildConfig,
    source: files.ModelFile,
    subject: Subject,
    compiler: str,
    builds: tuple[GpuBuild, ...],
    device: Device | None = None,
) -> BuildReport:
    """Make the record of a run; Q/DQ are those predicted for the first GPU.

    Args:
        config: What was asked for.
        source: The model.
        subject: What is known of it, predictions included.
        compiler: Name and version.
        builds: One entry for each GPU.
        device: What was measured on this machine's GPU.
    """
    first = next(iter(subject.inspections.values()))
    return BuildReport(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        opset=opset_of(source.model),
        size_bytes=source.size_bytes,
        quantized=subject.quantized,
        compiler=compiler,
        shapes={name: str(profile) for name, profile in subject.profiles.items()},
        assumed=tuple(name for name, profile in subject.profiles.items() if profile.assumed),
        builds=builds,
        engine=None if config.output is None or builds[0].outcome is not Outcome.BUILT else str(config.output),
        predicted_standalone=None if first is None else first.summary.standalone,
        predicted_boundary=None if first is None else first.summary.boundary,
        unpredicted=subject.unpredicted,
        device=device,
        predicted_weights=0 if first is None else _made_float(first),
    )


def _made_float(inspection: Inspection) -> int:
    return sum(layer.weight is not None and layer.weight.made_float for layer in inspection.layers)


def refusal_of(raw: RawRefusal, findings: Sequence[Finding], readers: Mapping[str, Sequence[str]]) -> Refusal:
    """Put beside what the importer says what the lint says about the same node, or about one that reads its result."""

    def about(*names: str) -> tuple[Finding, ...]:
        return tuple(entry for entry in findings if entry.node and entry.node in names)

    found = about(raw.node) or about(*readers.get(raw.node, ()))
    return Refusal(raw.node, raw.op_type, raw.said, found)
