"""Everything a run of `qdq build` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, OneOf, option
from qdq_cli.config.limits import int8_macs_field, report_field
from qdq_cli.config.placement import PlanConfig

GPUS = ("sm75", "sm80", "sm86", "sm89", "sm120")
"""Compute capabilities the compiler builds for ahead of time, oldest first."""

ALL_GPUS = "all"
DEFAULT_GPU = "sm89"


@dataclass(frozen=True)
class BuildGates(Checked):
    """Limits that make `qdq build` fail (exit 5).

    Args:
        fail_on: `refused`: the model is not read or not built; `disagreement`: an operator runs in another type than
            predicted.
        min_int8_macs: Lowest share of the multiply-accumulates that are built in INT8, in percent.
        max_bytes: Most bytes that kernels may move, as a multiple of those of the float model in FP16.
    """

    fail_on: tuple[str, ...] = option(
        (),
        "Fail (exit 5) where the model is not read or not built, or where an operator runs in another type than "
        "predicted. Repeatable.",
        metavar="refused|disagreement",
        rule=OneOf(("refused", "disagreement")),
    )
    min_int8_macs: float | None = int8_macs_field(
        "Fail (exit 5) below this share of the multiply-accumulates built in INT8."
    )
    max_bytes: float | None = option(
        None,
        "Fail (exit 5) where kernels move more bytes than this many times those of the float model in FP16.",
        metavar="RATIO",
        rule=Interval(0, above=True),
    )


@dataclass(frozen=True)
class BuildConfig(Checked):
    """One run of `qdq build`.

    Args:
        model: Any ONNX model, float or with Q/DQ.
        gpu: Compute capabilities to build for, or `all`; none for `sm89`.
        input_shape: `NAME:1x3x224x224` for dynamic inputs, or `NAME:MIN/OPT/MAX` with three such shapes.
        output: Where the engine goes; None to keep none.
        against: For a Q/DQ model: the float model it was made from, which is built beside it.
        plan: For a float model: which operators would be quantized in what is built beside it.
        trtexec: The user's own trtexec, which builds the model on this machine's GPU instead.
        time_limit: Most seconds that one build may take.
        memory_limit: Most memory that the compiler may hold, in GB.
        report: Where the HTML page goes; None for none.
        writes: Files that views are written to afterwards; none may be one of the model's.
    """

    model: Path
    gpu: tuple[str, ...] = option(
        (),
        f"Compute capability to build for: {', '.join(GPUS)}, or all of them. Repeatable. [default: {DEFAULT_GPU}]",
        metavar="smNN|all",
        rule=OneOf((*GPUS, ALL_GPUS)),
    )
    input_shape: tuple[str, ...] = option(
        (),
        "Shape of a dynamic input, or the smallest, the usual and the largest (MIN/OPT/MAX). Repeatable. "
        "[default: one sample; 224 for the sides of pictures, else 16]",
        metavar="NAME:DxDxD",
    )
    output: Path | None = option(
        None, "Keep the engine, for RTX GPUs of the one capability named.", ("-o", "--output", "output"), "ENGINE"
    )
    against: Path | None = option(
        None, "For a Q/DQ model: the float model it was made from, built beside it.", metavar="MODEL"
    )
    trtexec: Path | None = option(
        None,
        "Build on this machine's GPU with this trtexec instead (TensorRT 8.4 to 11), and time the layers.",
        metavar="PROGRAM",
    )
    plan: PlanConfig = field(default_factory=PlanConfig)
    time_limit: float = option(
        600.0, "End a build that takes longer (exit 5).", metavar="SECONDS", rule=Interval(0, above=True)
    )
    memory_limit: float = option(
        8.0,
        "End a build that takes more memory (exit 5).",
        metavar="GB",
        rule=Interval(0, above=True),
    )
    report: Path | None = report_field()
    writes: tuple[Path, ...] = ()

    @property
    def gpus(self) -> tuple[str, ...]:
        """The compute capabilities to build for, each once, oldest first."""
        asked = self.gpu or (DEFAULT_GPU,)
        return tuple(gpu for gpu in GPUS if gpu in asked or ALL_GPUS in asked)
