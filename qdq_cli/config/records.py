"""Everything a run of `qdq quantize` can be told, as frozen records with working defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from qdq_cli.config.preprocess import Overrides

METHODS = ("entropy", "minmax", "percentile", "mse")
DEFAULT_METHOD = "mse"
"""The method that keeps most accuracy over the measured models; the table is in docs/accuracy.md."""


RECOVERY_STEPS = ("equalize", "smooth", "ranges", "weight-ranges", "adaround", "gptq", "scales", "bias")
"""What recovery can do, in the order it is done (`qdq_cli.recovering`)."""

DEFAULT_RECOVERY = ("equalize", "smooth", "ranges", "gptq", "bias")
"""The recipe of `--recover`: the steps that gain on most of the measured models (docs/accuracy.md)."""


class WeightForm(Enum):
    """How quantized weights are stored (rules, section 1.7)."""

    FP32 = "fp32"
    """F1: float initializer -> Q -> DQ. Every TensorRT reads it."""
    INT8 = "int8"
    """F2: INT8 initializer -> DQ. A quarter of the size; TensorRT 10 and above."""
    INT8_COMPAT = "int8-compat"
    """F3: float initializer of integer values -> Q(scale 1) -> DQ. Every TensorRT reads it."""


class Form(Enum):
    """How the INT8 region is written where operators commute with quantization."""

    PAIRS = "pairs"
    """A Q/DQ pair at each end of a run of commuting operators."""
    INT8_REGIONS = "int8-regions"
    """Q really moved backward and DQ forward: the commuting operators run on INT8 tensors."""


class TensorRT(Enum):
    """TensorRT releases that differ in what they read, oldest first (rules, section 0.2)."""

    V8_4 = "8.4"
    V8_6 = "8.6"
    V10 = "10"
    V11 = "11"


@dataclass(frozen=True)
class PlanConfig:
    """Which operators to quantize.

    Args:
        exclude: Names or globs of nodes that stay float.
        exclude_op: Operator types that stay float.
        only: Names or globs of the only weighted nodes to quantize; empty for all.
        skip_first: Keep the weighted operators that no other one comes before in float (P17).
        skip_last: Keep the weighted operators that no other one comes after in float (P17).
        per_tensor_weights: One scale a weight instead of one an output channel.
        deconv_per_channel: One scale an output channel for ConvTranspose too (section 9, item 1: sources disagree).
        mha: Quantize matrix products of two activations (section 3.3).
        group_rules: Leave grouped convolutions without an INT8 kernel float (A33).
        channel_rules: Leave convolutions with too few channels float (section 3.4).
        gemv_rules: Leave matrix-vector products float (section 3.4).
        residuals: Quantize residual branches so that the Add fuses (section 3.2, P8).
        residual_stream: Quantize both operands of residual Adds that feed float operators too (section 3.2, case 5).
        pooling: Quantize average pooling between INT8 operators (P9).
        safe: Treat operators with thin evidence in TensorRT (Gather) as float.
        range_rules: Leave depthwise convolutions float whose input is too wide for any range.
        wide: The nodes calibration found to be such.
    """

    exclude: tuple[str, ...] = ()
    exclude_op: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip_first: bool = False
    skip_last: bool = False
    per_tensor_weights: bool = False
    deconv_per_channel: bool = False
    mha: bool = False
    group_rules: bool = True
    channel_rules: bool = True
    gemv_rules: bool = True
    residuals: bool = True
    residual_stream: bool = False
    pooling: bool = True
    safe: bool = False
    range_rules: bool = True
    wide: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DataConfig:
    """Where calibration samples come from and how they become model inputs.

    Args:
        calib: Folders or files of samples, in order; empty where a cache or manual ranges serve.
        preprocess: Name of a preset or path of a JSON/TOML file; None lets the model's input decide.
        overrides: Single fields on top of it.
        input_shape: `NAME:1x3x224x224` for dynamic inputs.
        samples: How many samples to calibrate on; None: all up to 512, less those held back for verification.
        batch_size: Samples a run; None: what the model fixes, else 1.
        seed: Choose the samples at random with this seed instead of evenly spread.
        strict: Refuse data that looks unfit instead of warning of it.
        include_data, exclude_data: Globs of the files of folders to take, and to leave out.
    """

    calib: tuple[Path, ...] = ()
    preprocess: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    input_shape: tuple[str, ...] = ()
    samples: int | None = None
    batch_size: int | None = None
    seed: int | None = None
    strict: bool = False
    include_data: tuple[str, ...] = ()
    exclude_data: tuple[str, ...] = ()


@dataclass(frozen=True)
class RangeConfig:
    """How ranges are chosen.

    Args:
        method: `entropy`, `minmax`, `percentile` or `mse`.
        percentile: Share of values `percentile` keeps, in percent.
        manual: Tensor name -> amax; overrides calibration. Every name must be that of a quantized tensor.
        imported: The same from a file of another tool, which may name other tensors too; `manual` wins.
        cache: Calibration cache to read if it is there and fits, else to write.
        recalibrate: Calibrate even if the cache is there.
        cache_missing: Where the cache lacks some of the tensors: `calibrate` those alone, or `error`; None calibrates
            all of them again where there is data, and is an error where there is none.
    """

    method: str = DEFAULT_METHOD
    percentile: float = 99.99
    manual: Mapping[str, float] = field(default_factory=dict)
    imported: Mapping[str, float] = field(default_factory=dict)
    cache: Path | None = None
    recalibrate: bool = False
    cache_missing: str | None = None


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

    @property
    def target(self) -> Path:
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


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the calibration runs.

    Args:
        number: From 1 on.
        total: How many there are.
    """

    number: int = 1
    total: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclass(frozen=True)
class CalibrateConfig:
    """One run of `qdq calibrate`.

    Args:
        model: The FP32 model.
        output: The calibration cache; None: `MODEL.qcal` beside the model.
        data: Where samples come from; without `samples` every one calibrates, none is held back.
        plan: Which operators `quantize` will quantize: their tensors are observed.
        all_tensors: Observe every float tensor of the prepared model.
        append: Add to the cache that is there.
        shard: Which share of the runs.
        dask: Address of a Dask scheduler whose workers do the work; None for this process.
    """

    model: Path
    output: Path | None = None
    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    all_tensors: bool = False
    append: bool = False
    shard: Shard = field(default_factory=Shard)
    dask: str | None = None

    @property
    def target(self) -> Path:
        """Where the calibration cache goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.qcal")


RANGE_FORMATS = {
    "tensorrt": ".cache",
    "ort": ".flatbuffers",
    "ort-json": ".ort.json",
    "ort-text": ".ort.cache",
    "json": ".ranges.json",
    "torch-json": ".torch.json",
}
"""Formats in which ranges leave a calibration cache -> ending of the default file name: TensorRT's text cache, ONNX
Runtime's TensorRT table in its three forms, {tensor: amax}, and amax, scale and zero point for PyTorch."""


@dataclass(frozen=True)
class ExportConfig:
    """How ranges leave a calibration cache.

    Args:
        file: The calibration cache.
        format: A key of `RANGE_FORMATS`.
        output: Where they go; None: beside the cache.
        method: How ranges are chosen.
        percentile: For `percentile`: the share kept, in percent.
        trt: The TensorRT release that will read a text cache.
        algo: The calibrator that release will use.
    """

    file: Path
    format: str
    output: Path | None = None
    method: str = DEFAULT_METHOD
    percentile: float = 99.99
    trt: str = "8.6.1"
    algo: str = "EntropyCalibration2"

    @property
    def target(self) -> Path:
        """Where the ranges go."""
        return self.output or self.file.with_name(f"{self.file.stem}{RANGE_FORMATS[self.format]}")


@dataclass(frozen=True)
class CheckConfig:
    """One run of `qdq cache check`.

    Args:
        model: The FP32 model.
        file: A calibration cache, or a file of ranges.
        plan: Which operators will be quantized.
        all_tensors: Ask for every float tensor of the prepared model.
    """

    model: Path
    file: Path
    plan: PlanConfig = field(default_factory=PlanConfig)
    all_tensors: bool = False


@dataclass(frozen=True)
class Gates:
    """Limits that make `qdq inspect` fail (exit 5).

    Args:
        fail_on: `E` (any error), `W` (any finding), or codes such as `E_ZP_MISSING`.
        max_standalone: Most stand-alone Q/DQ kernels inside the network.
        min_int8_macs: Lowest share of the multiply-accumulates in INT8, in percent.
    """

    fail_on: tuple[str, ...] = ()
    max_standalone: int | None = None
    min_int8_macs: float | None = None


@dataclass(frozen=True)
class InspectConfig:
    """One run of `qdq inspect`.

    Args:
        model: Any ONNX model; one without Q/DQ is planned, and the plan inspected.
        trt: Report only what holds for this release; None for all.
        plan: For a model without Q/DQ: which operators would be quantized.
        input_shape: `NAME:1x3x224x224` for dynamic inputs, so that costs are known.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it (section 9, item 2).
        writes: Option -> file that views are written to afterwards; none may be one of the model's.
    """

    model: Path
    trt: TensorRT | None = None
    plan: PlanConfig = field(default_factory=PlanConfig)
    input_shape: tuple[str, ...] = ()
    deconv_absorbs_q: bool = False
    writes: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class FixConfig:
    """One run of `qdq fix`.

    Args:
        model: A Q/DQ model of any tool.
        output: Where the result goes; None: `MODEL.fixed.onnx` beside the model.
        ranges: Tensor name -> amax, for residual branches without a Q on their tensor.
        samples: Random samples to compare the result with the input on; 0 for none.
    """

    model: Path
    output: Path | None = None
    ranges: Mapping[str, float] = field(default_factory=dict)
    samples: int = 4

    @property
    def target(self) -> Path:
        """Where the result goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.fixed.onnx")


@dataclass(frozen=True)
class CompareConfig:
    """One run of `qdq compare`.

    Args:
        reference: The float model.
        quantized: Its quantized form, of any tool.
        data: Where samples come from; without `samples` 64, evenly spread.
        layers: Compare every tensor that both models have, too.
        min_sqnr: Lowest SQNR in dB that every output must reach.
        min_agreement: Lowest top-1 agreement in percent that every output of class scores must reach.
        report: Where a page about the run goes; None for no page.
    """

    reference: Path
    quantized: Path
    data: DataConfig = field(default_factory=DataConfig)
    layers: bool = False
    min_sqnr: float | None = None
    min_agreement: float | None = None
    report: Path | None = None
