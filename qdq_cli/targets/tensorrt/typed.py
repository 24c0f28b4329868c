"""What the tables of other types than INT8 have in common: releases that lack the type, and the flag that allows it."""

from __future__ import annotations

from qdq_cli.config.forms import TensorRT, WeightForm
from qdq_cli.placement.target import Build, BuildsOf, ReleaseOf
from qdq_cli.process.errors import UsageError

LACKING = (TensorRT.V8_4, TensorRT.V8_6)
"""The releases that know INT8 alone."""


def from_10_on(release_of: ReleaseOf, title: str) -> ReleaseOf:
    """Let no release be named that lacks a type.

    Args:
        release_of: Says which release reads a result.
        title: The type in sentences.
    """

    def release(opset: int, *, half: bool, weights: WeightForm, asked: TensorRT | None) -> TensorRT:
        if asked in LACKING:
            raise UsageError(
                f"TensorRT {asked.value} has no {title}.", "Ask for --trt 10 and above, or quantize with --type int8."
            )
        return release_of(opset, half=half, weights=weights, asked=asked)

    return release


def with_flag(builds_of: BuildsOf, flag: str, floats: str) -> BuildsOf:
    """Name a type where the commands of a target name INT8: as the type that a weakly typed build allows.

    Args:
        builds_of: Says how each release builds a result.
        flag: What trtexec calls it up to TensorRT 10.
        floats: What is computed in floats all the same, as the subject of a sentence.
    """

    def builds(oldest: TensorRT, *, half: bool, asked: TensorRT | None) -> tuple[Build, ...]:
        found = builds_of(oldest, half=half, asked=asked)
        return tuple(
            Build(
                build.releases,
                build.command.replace("--int8", f"--{flag}"),
                build.note.replace("What is not INT8", floats),
            )
            for build in found
        )

    return builds
