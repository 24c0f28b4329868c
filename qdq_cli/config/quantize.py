"""Everything a run of `qdq quantize` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import Interval, OneOf, option
from qdq_cli.config.floats import keep_io_types_field, scale_type_field
from qdq_cli.config.forms import STORED, Cpu, FloatType, Form, Gpu, ScaleType, TensorRT, WeightForm
from qdq_cli.config.limits import (
    agreement_field,
    int8_macs_field,
    plugins_field,
    report_field,
    speedup_field,
    sqnr_field,
    time_field,
)
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import RECOVERY_STEPS
from qdq_cli.config.targets import release_for, target_field
from qdq_cli.process.errors import UsageError

DEFAULT_VERIFY = 16
"""Samples held back to compare on."""


@dataclass(frozen=True)
class VerifyConfig(Checked):
    """How the result is compared with the FP32 model.

    Args:
        samples: Held-back samples to compare on; 0 for none.
        min_sqnr: Lowest SQNR in dB that every float output must reach.
        min_agreement: Lowest top-1 agreement in percent that every output of class scores must reach.
    """

    samples: int = option(
        DEFAULT_VERIFY,
        "Compare with the FP32 model on N samples that calibration did not see; 0 for none.",
        names=("--verify",),
        metavar="N",
        rule=Interval(0),
    )
    min_sqnr: float | None = sqnr_field()
    min_agreement: float | None = agreement_field()

    @property
    def gates(self) -> bool:
        """Whether a limit was set."""
        return self.min_sqnr is not None or self.min_agreement is not None


@dataclass(frozen=True)
class QuantizeConfig(Checked):
    """One run of `qdq quantize`.

    Args:
        model: The FP32 model.
        output: Where the result goes; None: `MODEL.qdq.onnx` beside the model.
        target: Name of what the model is quantized for.
        cpu: The processor that the result is for, where the target knows several.
        trt: TensorRT release that must read the result; None: the oldest that can.
        gpu: The GPU that will run the result: a type it has no units for is refused; None for any.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        weights: How weights are stored; None: as the target's default says.
        form: How INT8 regions are written.
        float_type: Type of what is not quantized; None: FP32, but FP16 for TensorRT 11 and an FP32 model.
        scale_type: Type of the scales beside a float rest of 16 bits.
        keep_io_types: Whether graph inputs and outputs stay FP32 then.
        dry_run: Plan only.
        recover: Steps of recovery to take, out of `RECOVERY_STEPS`; none by default.
        exclude_after_recovery: Names or globs of nodes that are recovered in INT8 with all others, and left float then.
        min_int8_macs: Lowest share of the multiply-accumulates in INT8, in percent.
        report: Where a page about the run goes; None for none.
        time: Whether the result and FP32 are timed on this CPU; None: where the target runs on it, and verification is
            not off.
        min_speedup: How many times as fast as FP32 the result must run there.
    """

    model: Path
    output: Path | None = option(
        None, "Where the result goes. [default: MODEL.qdq.onnx]", names=("-o", "--output"), metavar="FILE"
    )
    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    ranges: RangeConfig = field(default_factory=RangeConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    trt: TensorRT | None = option(
        None, "TensorRT release that must read the result. [default: the oldest that can, 8.4 for most]"
    )
    gpu: Gpu | None = option(None, "Refuse types that this GPU has no units for.", metavar="smNN")
    plugins: tuple[str, ...] = plugins_field()
    weights: WeightForm | None = option(
        None,
        "fp32: read by every TensorRT. int8: a quarter of the size, TensorRT 10 and above. "
        "int8-compat: integers stored as floats. [default: fp32; int8 for a CPU]",
    )
    form: Form = option(
        Form.PAIRS,
        "pairs: Q/DQ at both ends of a run of data-moving operators. int8-regions: these run on INT8 tensors.",
    )
    float_type: FloatType | None = option(
        None,
        "Type of what is not quantized; fp16 and bf16 leave FP32 what would overflow or vanish in them. "
        "[default: fp32, but fp16 with --trt 11]",
    )
    scale_type: ScaleType = scale_type_field()
    keep_io_types: bool = keep_io_types_field()
    dry_run: bool = option(
        False, "Show the plan and what TensorRT will do with its result, as qdq inspect does; write nothing."
    )
    recover: tuple[str, ...] = option(
        (),
        f"Take this step of recovery, and only those named: {', '.join(RECOVERY_STEPS)}. Repeatable.",
        names=("--recover-step", "recover_step"),
        metavar="STEP",
        rule=OneOf(RECOVERY_STEPS),
    )
    exclude_after_recovery: tuple[str, ...] = option(
        (),
        "Node (name or glob) that recovery has in INT8 with all others, and that is left float then; qdq tune names "
        "such. Repeatable.",
        metavar="NAME",
    )
    report: Path | None = report_field()
    min_int8_macs: float | None = int8_macs_field(
        "Fail (exit 5) if less of the multiply-accumulates runs in INT8, as qdq inspect predicts it."
    )
    target: str = target_field()
    time: bool | None = time_field("Time the result and FP32 on this CPU. [default: where the target runs on it]")
    min_speedup: float | None = speedup_field()
    cpu: Cpu = option(
        Cpu.AUTO,
        "For --target onnxruntime, the processor it will run on: vnni and avx2 are x86 with and without VNNI; auto is "
        "this one.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time is False and self.min_speedup is not None:
            raise UsageError("--no-time contradicts --min-speedup, which times both models.", "Leave one of them out.")
        object.__setattr__(self, "trt", release_for(self.target, self.trt))
        # up to TensorRT 10 the builder has flags that run an FP32 rest in FP16, and nobody builds without them
        single_rest = self.trt is TensorRT.V11 and self.float_type is FloatType.FP32
        object.__setattr__(self, "plan", replace(self.plan, single_rest=single_rest))

    @property
    def weight_form(self) -> WeightForm:
        """How weights are stored."""
        if self.weights is None and (self.plan.type.weights_alone or self.plan.type.experimental):
            return WeightForm.INT8
        return self.weights or STORED.get(self.target, WeightForm.FP32)

    @property
    def destination(self) -> Path:
        """Where the result goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.qdq.onnx")

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files and folders besides the model that the run reads; the cache may also be written."""
        return (*self.data.calib, *(() if self.ranges.cache is None else (self.ranges.cache,)))

    @property
    def plan_written(self) -> PlanConfig:
        """Which operators the result has in INT8; recovery has those of `plan`."""
        return replace(self.plan, exclude=(*self.plan.exclude, *self.exclude_after_recovery))
