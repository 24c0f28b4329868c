"""Everything a run of `qdq quantize` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from qdq_cli.config.data import DataConfig
from qdq_cli.config.forms import DEFAULT_TARGET, Form, TensorRT, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig


@dataclass(frozen=True)
class VerifyConfig:
    """How the result is compared with the FP32 model.

    Args:
        samples: Held-back samples to compare on; 0 for none.
        min_sqnr: Lowest SQNR in dB that every float output must reach.
        min_agreement: Lowest top-1 agreement in percent that every output of class scores must reach.
    """

    samples: int = 16
    min_sqnr: float | None = None
    min_agreement: float | None = None

    @property
    def gates(self) -> bool:
        """Whether a limit was set."""
        return self.min_sqnr is not None or self.min_agreement is not None


@dataclass(frozen=True)
class QuantizeConfig:
    """One run of `qdq quantize`.

    Args:
        model: The FP32 model.
        output: Where the result goes; None: `MODEL.qdq.onnx` beside the model.
        target: Name of what the model is quantized for.
        trt: TensorRT release that must read the result; None: the oldest that can.
        weights: How weights are stored.
        form: How INT8 regions are written.
        dry_run: Plan only.
        recover: Steps of recovery to take, out of `RECOVERY_STEPS`; none by default.
        exclude_after_recovery: Names or globs of nodes that are recovered in INT8 with all others, and left float then.
        min_int8_macs: Lowest share of the multiply-accumulates in INT8, in percent.
        report: Where a page about the run goes; None for none.
    """

    model: Path
    output: Path | None = None
    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    ranges: RangeConfig = field(default_factory=RangeConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    trt: TensorRT | None = None
    weights: WeightForm = WeightForm.FP32
    form: Form = Form.PAIRS
    dry_run: bool = False
    recover: tuple[str, ...] = ()
    exclude_after_recovery: tuple[str, ...] = ()
    report: Path | None = None
    min_int8_macs: float | None = None
    target: str = DEFAULT_TARGET

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
