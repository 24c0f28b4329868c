"""Everything a run of `qdq inspect` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, option
from qdq_cli.config.forms import Gpu, TensorRT
from qdq_cli.config.limits import int8_macs_field, plugins_field, report_field
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.targets import release_for, target_field


@dataclass(frozen=True)
class Gates(Checked):
    """Limits that make `qdq inspect` fail (exit 5).

    Args:
        fail_on: `E` (any error), `W` (any finding), or codes such as `E_ZP_MISSING`.
        max_standalone: Most stand-alone Q/DQ kernels inside the network.
        min_int8_macs: Lowest share of the multiply-accumulates in INT8, in percent.
    """

    fail_on: tuple[str, ...] = option(
        (),
        "Fail (exit 5) on any error, any finding, or a code such as E_ZP_MISSING. Repeatable.",
        metavar="E|W|CODE",
    )
    max_standalone: int | None = option(
        None,
        "Fail (exit 5) above this number of stand-alone Q/DQ kernels inside the network.",
        metavar="N",
        rule=Interval(0),
    )
    min_int8_macs: float | None = int8_macs_field("Fail (exit 5) below this share of the multiply-accumulates in INT8.")


@dataclass(frozen=True)
class InspectConfig(Checked):
    """One run of `qdq inspect`.

    Args:
        model: Any ONNX model; one without Q/DQ is planned, and the plan inspected.
        trt: Report only what holds for this release; None for all.
        gpu: Report which types this GPU lacks; None to name the GPUs that each type needs.
        plan: For a model without Q/DQ: which operators would be quantized.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        input_shape: `NAME:1x3x224x224` for dynamic inputs, so that costs are known.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it (section 9, item 2).
        report: Where a page about the model goes; None for none.
        against: Another form of the same network, shown beside it on the page; None for none.
        target: Name of what will build it: TensorRT, or its compiler for RTX GPUs.
        writes: Option -> file that views are written to afterwards; none may be one of the model's.
    """

    model: Path
    trt: TensorRT | None = option(
        None, "Report only what holds for this TensorRT. [default: all; a finding says where it holds]"
    )
    gpu: Gpu | None = option(
        None, "Report the types that this GPU has no units for. [default: name the GPUs that each type needs]"
    )
    plan: PlanConfig = field(default_factory=PlanConfig)
    plugins: tuple[str, ...] = plugins_field()
    input_shape: tuple[str, ...] = option(
        (), "Shape of a dynamic input, so that costs are known. Repeatable.", metavar="NAME:DxDxD"
    )
    deconv_absorbs_q: bool = option(
        False, "Assume that ConvTranspose with an activation absorbs the Q behind it (versions differ)."
    )
    report: Path | None = report_field()
    against: Path | None = option(
        None, "Show another form of the same network beside it on the page of --report.", metavar="MODEL"
    )
    target: str = target_field()
    writes: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "trt", release_for(self.target, self.trt))
