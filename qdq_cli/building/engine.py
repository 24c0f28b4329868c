"""An engine of the user's own device beside the prediction: types, times, stand-alone Q/DQ, and what to mend first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdq_cli.building.agreement import (
    FLOATS,
    agreement_of,
    built_types,
    conversions_of,
    operators_of,
    traffic_of,
    types_of,
)
from qdq_cli.building.engine_file import read_layers, read_times
from qdq_cli.building.names import operators_by_name, quantizers_by_name
from qdq_cli.building.record import Agreement, Kernel, Loss, Operator, Traffic
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.inspecting.inspect import inspect_file
from qdq_cli.inspecting.record import Inspection
from qdq_cli.model import files
from qdq_cli.preparing.prepare import name_everything
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError


@dataclass(frozen=True)
class EngineReport:
    """An engine beside the prediction.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        layer_info: Path of the file with its layers.
        profile: Path of the file with their times; None without one.
        total_ms: Time of all layers; None without a profile.
        untimed: Layers that the profile does not name.
        types: `types read -> types written` -> number of layers.
        operators: The weighted operators, as predicted and as built.
        built_types: Element type -> weighted operators that run in it.
        agreement: Prediction against fact.
        conversions: Names of layers that only quantize or dequantize.
        conversions_ms: Their time; None without a profile.
        traffic: Bytes that layers read and write.
        losses: What to mend first: most time first, without a profile most bytes.
        kernels: The layers of the engine.
        times_ms: Layer -> its time; empty without a profile.
    """

    schema_version: int
    model: str
    layer_info: str
    profile: str | None
    total_ms: float | None
    untimed: int
    types: Mapping[str, int]
    operators: tuple[Operator, ...]
    built_types: Mapping[str, int]
    agreement: Agreement
    conversions: tuple[str, ...]
    conversions_ms: float | None
    traffic: Traffic
    losses: tuple[Loss, ...]
    kernels: tuple[Kernel, ...]
    times_ms: Mapping[str, float]


def compare_engine(config: InspectConfig, layer_info: Path, profile: Path | None = None) -> EngineReport:
    """Lay an engine beside what is predicted for the model it was built from.

    Args:
        config: The model, and how to look at it.
        layer_info: What trtexec wrote with `--exportLayerInfo`.
        profile: What it wrote with `--exportProfile`, or None.

    Raises:
        ModelError: The model cannot be read or is malformed.
        DataError: A file is not what trtexec writes, or belongs to another model.
    """
    kernels = read_layers(layer_info)
    times = {} if profile is None else read_times(profile)
    source = files.load(config.model)
    name_everything(source.model)
    op_types, quantizers = operators_by_name(source.model), quantizers_by_name(source.model)
    if not any(name in op_types for kernel in kernels for name in kernel.nodes):
        raise DataError(
            f"{layer_info} names no node of {config.model}.", "It belongs to an engine of another model, or export."
        )
    inspection = inspect_file(config)
    operators = operators_of(kernels, inspection, quantizers, floats_alike=True)
    conversions = conversions_of(kernels, op_types)
    return EngineReport(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        layer_info=str(layer_info),
        profile=None if profile is None else str(profile),
        total_ms=sum(times.values()) if times else None,
        untimed=sum(kernel.name not in times for kernel in kernels) if times else 0,
        types=types_of(kernels),
        operators=operators,
        built_types=built_types(operators),
        agreement=agreement_of(operators, inspection.summary.weighted_ops - len(operators)),
        conversions=conversions,
        conversions_ms=sum(times.get(name, 0.0) for name in conversions) if times else None,
        traffic=traffic_of(kernels),
        losses=losses_of(kernels, times, operators, conversions, inspection),
        kernels=kernels,
        times_ms=times,
    )


def losses_of(
    kernels: Sequence[Kernel],
    times: Mapping[str, float],
    operators: Sequence[Operator],
    conversions: Sequence[str],
    inspection: Inspection | None,
) -> tuple[Loss, ...]:
    """Return what costs time and could be mended, most time first, without times most bytes.

    Args:
        kernels: The layers of the engine.
        times: Layer -> its time; empty where there are none.
        operators: The weighted operators as built.
        conversions: Names of layers that only quantize or dequantize.
        inspection: What is predicted; None for nothing.
    """
    found = _losses(kernels, times, operators, conversions, inspection)
    return tuple(sorted(found, key=lambda loss: (-(loss.time_ms or 0.0), -(loss.size_bytes or 0))))


def _losses(
    kernels: Sequence[Kernel],
    times: Mapping[str, float],
    operators: Sequence[Operator],
    conversions: Sequence[str],
    inspection: Inspection | None,
) -> Iterator[Loss]:
    """Yield the stand-alone Q/DQ of the engine, and the weighted operators that run in float."""
    by_name = {kernel.name: kernel for kernel in kernels}
    standalone, layers = ((), ()) if inspection is None else (inspection.standalone, inspection.layers)
    remedies = {node: found for found in standalone for node in found.nodes}
    reasons = {layer.name: layer.because for layer in layers}
    for name in conversions:
        found = next((remedies[node] for node in by_name[name].nodes if node in remedies), None)
        advice = "It is not predicted." if found is None else f"{found.because} {found.remedy}"
        yield Loss(name, _time(times, name), _size(by_name[name]), "a Q or DQ of its own", advice)
    for operator in operators:
        if operator.built in FLOATS:
            reason = next(iter(reasons.get(operator.name, ())), "No Q/DQ reaches it.")
            advice = f"{operator.predicted} is predicted: {reason}" if operator.agrees is False else reason
            kernel = by_name[operator.kernel]
            found_text = f"{operator.op_type} in {operator.built}"
            yield Loss(operator.name, _time(times, kernel.name), _size(kernel), found_text, advice)


def _time(times: Mapping[str, float], name: str) -> float | None:
    return times.get(name) if times else None


def _size(kernel: Kernel) -> int | None:
    sizes = [tensor.size_bytes for tensor in (*kernel.reads, *kernel.weights, *kernel.writes)]
    return None if None in sizes else sum(size or 0 for size in sizes)
