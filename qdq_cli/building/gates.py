"""Limits of a pipeline that a build is held against."""

from __future__ import annotations

from qdq_cli.building.record import BuildReport, GpuBuild, Outcome
from qdq_cli.building.variants import FP16
from qdq_cli.config.build import BuildGates
from qdq_cli.placement.macs_limit import unmet_macs
from qdq_cli.process.errors import LimitError
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.sentences import count_text

REFUSED = "refused"
DISAGREEMENT = "disagreement"


def require_build_gates(report: BuildReport, gates: BuildGates) -> None:
    """Hold a build against the limits of a pipeline.

    Raises:
        LimitError: One is not met on some GPU; the sentence says which.
    """
    for build in report.builds:
        if REFUSED in gates.fail_on and build.outcome is not Outcome.BUILT:
            raise LimitError(f"The model is {not_built_text(build)}.", "`qdq inspect` says what can be done about it.")
        if DISAGREEMENT in gates.fail_on:
            _require_agreement(build)
        where = f"in INT8 as built for {build.gpu}"
        hint = "`qdq build --layers` lists the type of every operator."
        unmet = unmet_macs(build.quantized_macs_percent, gates.min_int8_macs, where, hint)
        if unmet is not None:
            raise unmet
        if gates.max_bytes is not None:
            _require_bytes(build, gates.max_bytes)


def not_built_text(build: GpuBuild) -> str:
    """Say in a part of a sentence what keeps a model from being built."""
    if build.outcome is Outcome.REFUSED:
        first = next(iter(build.refusals), None)
        place = f" at {first.op_type} '{first.node}'" if first is not None else ""
        return f"refused for {build.gpu}{place}"
    return f"read, and cannot be built for {build.gpu}"


def _require_agreement(build: GpuBuild) -> None:
    others = [operator for operator in build.operators if operator.agrees is False]
    if others:
        first = others[0]
        raise LimitError(
            f"{count_text(len(others), 'weighted operator')} of {len(build.operators)} run in another type than "
            f"predicted for {build.gpu}; the first is {first.op_type} '{first.name}': {first.predicted} predicted, "
            f"{first.built} built.",
            "`qdq build --node NAME` says which rules led to a prediction.",
        )


def _require_bytes(build: GpuBuild, most: float) -> None:
    half = next((form.traffic for form in build.beside if form.name == FP16), None)
    if half is None or build.traffic is None or not half.total_bytes or half.unknown or build.traffic.unknown:
        raise LimitError(
            f"The bytes that kernels move for {build.gpu} cannot be held against the float model in FP16: one of the "
            "two is not known.",
            "Name the float model (--against, not with --trtexec), and give dynamic inputs sizes (--input-shape).",
        )
    ratio = build.traffic.total_bytes / half.total_bytes
    if ratio > most:
        raise LimitError(
            f"Kernels move {size_text(build.traffic.total_bytes)} for {build.gpu}, {ratio:.2f} times the "
            f"{size_text(half.total_bytes)} of the float model in FP16; at most {most:g} times was asked for.",
            "`qdq build` shows which forms of the model move less.",
        )
