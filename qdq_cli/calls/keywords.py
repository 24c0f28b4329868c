"""The keywords of the calls, each written once: those that several calls take stand in a group of their own.

A call declares `**given: Unpack[QuantizeKeywords]`, which type checkers and editors spell out; `Signature` shows them
with their defaults, which are those of the records, to everybody who asks at run time (`help`, `inspect.signature`,
notebooks).
"""

from __future__ import annotations

from typing import TypedDict

from qdq_cli.calls.forms import Constants, FilePath, InputShape, Model, Names, Ranges
from qdq_cli.calls.listening import OnNote, OnProgress
from qdq_cli.config.calibrate import Shard
from qdq_cli.config.forms import Cpu, FloatType, Form, Gpu, QuantType, ScaleType, TensorRT, WeightForm


class ListenerKeywords(TypedDict, total=False):
    """Who is told about a run.

    Args:
        on_progress: Told (title of a stage, runs done, runs in all).
        on_note: Told each note as it comes; the report holds them too.
    """

    on_progress: OnProgress | None
    on_note: OnNote | None


class DataKeywords(TypedDict, total=False):
    """How samples become inputs (`DataConfig`, `Overrides`).

    Args:
        preprocess: How pictures become inputs: a preset (`imagenet`, `unit`, `signed`, `raw`) or a JSON or TOML file.
        scale, mean, std, color, resize, fill, position, crop, shorter, interpolation, layout: Single fields of it.
        input_shape: Sizes of dynamic dimensions: (1, 3, 640, 640), or a dict of such by input.
        samples: How many samples calibrate; 64 are compared on where nothing is said.
        batch_size: Samples a run.
        seed: Draws the samples at random instead of evenly spread.
        include_data, exclude_data: Globs of the files of folders to take, and to leave out.
        threads: Threads that models run on (`ExecutionConfig`).
    """

    preprocess: FilePath | None
    scale: Constants | None
    mean: Constants | None
    std: Constants | None
    color: str | None
    resize: str | None
    fill: Constants | None
    position: str | None
    crop: float | None
    shorter: int | None
    interpolation: str | None
    layout: str | None
    input_shape: InputShape
    samples: int | None
    batch_size: int | None
    seed: int | None
    include_data: Names
    exclude_data: Names
    threads: int | None


class CalibrationKeywords(DataKeywords, total=False):
    """How samples calibrate.

    Args:
        strict: Refuse data that looks unfit instead of noting it.
        provider, device: What the float model is observed on (`ExecutionConfig`).
    """

    strict: bool
    provider: Names
    device: str | None


class PlanKeywords(TypedDict, total=False):
    """Which operators are quantized (`PlanConfig`)."""

    exclude: Names
    exclude_op: Names
    only: Names
    skip_first: bool
    skip_last: bool
    per_tensor_weights: bool
    deconv_per_channel: bool
    mha: bool | None
    attention_rules: bool
    group_rules: bool
    channel_rules: bool
    gemv_rules: bool
    range_rules: bool
    shift: bool
    residuals: bool
    residual_stream: bool
    pooling: bool
    safe: bool
    all_int8: bool
    integer_io: bool
    type: QuantType | str
    type_of: tuple[str, ...] | list[str]
    block_size: int
    experimental: bool


class RangeKeywords(TypedDict, total=False):
    """How ranges are chosen (`RangeConfig`).

    Args:
        method, percentile: The method.
        ranges: Ranges of tensors, by name, or a file of another tool; they override calibration.
        cache, cache_missing, recalibrate: A calibration cache to read, or to write.
    """

    method: str
    percentile: float
    ranges: Ranges | None
    cache: FilePath | None
    cache_missing: str | None
    recalibrate: bool


class FloatKeywords(TypedDict, total=False):
    """What becomes of the floats (`ConvertConfig`).

    Args:
        float_type: Type of what is not quantized.
        scale_type: Type of the scales beside 16 bits.
        keep_io_types: Whether graph inputs and outputs stay FP32.
    """

    float_type: FloatType | str | None
    scale_type: ScaleType | str
    keep_io_types: bool


class WritingKeywords(FloatKeywords, total=False):
    """How the result is written (`QuantizeConfig`).

    Args:
        target: Name of what the model is quantized for.
        cpu: The processor that the result is for, where the target knows several.
        trt: TensorRT release that must read the result.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        weights: How weights are stored.
        form: How INT8 regions are written.
    """

    target: str
    cpu: Cpu | str
    trt: TensorRT | str | None
    plugins: Names
    weights: WeightForm | str | None
    form: Form | str


class LimitKeywords(TypedDict, total=False):
    """What is held against limits (`VerifyConfig`).

    Args:
        verify: Samples held back to compare on; 0 for none.
        min_sqnr, min_agreement: Limits on the outputs.
    """

    verify: int
    min_sqnr: float | None
    min_agreement: float | None


class RunKeywords(
    WritingKeywords, RangeKeywords, PlanKeywords, CalibrationKeywords, LimitKeywords, ListenerKeywords, total=False
):
    """What `quantize` and `tune` have in common.

    Args:
        recover: True for the usual steps of recovery, or the steps (`RECOVERY_STEPS`).
        min_int8_macs: Lowest share of the multiply-accumulates in INT8, in percent.
        report: Where a page about the run goes.
    """

    recover: bool | Names
    min_int8_macs: float | None
    report: FilePath | None


class QuantizeKeywords(RunKeywords, total=False):
    """Keywords of `quantize`.

    Args:
        exclude_after_recovery: Nodes that are recovered in INT8 and left float then.
        gpu: The GPU that will run the result: a type it has no units for is refused.
        dry_run: Plan only: the result has a report and a plan, and no model.
        time: Whether the result and FP32 are timed on this CPU; None: where the target runs on it.
        min_speedup: How many times as fast as FP32 the result must run there.
    """

    exclude_after_recovery: Names
    gpu: Gpu | str | None
    dry_run: bool
    time: bool | None
    min_speedup: float | None


class EvaluationKeywords(TypedDict, total=False):
    """The caller's own measure (`Evaluation`).

    Args:
        evaluate: A command line with `{model}` that prints a number.
        lower_is_better: That number is an error.
    """

    evaluate: str | None
    lower_is_better: bool


class TuneKeywords(RunKeywords, EvaluationKeywords, total=False):
    """Keywords of `tune`.

    Args:
        max_drop: How much worse than the float model's the number of `evaluate` may be.
        cost: `predicted`; `built`: the bytes that kernels move as NVIDIA's compiler builds them; or `measured`: the
            time of a run on this CPU, the default for targets on CPUs.
        gpu: Compute capability that a type is chosen for, for every operator; also what `built` builds for.
        types: Types to choose from, such as `("int8", "fp8")`; none: those that `gpu` has.
    """

    max_drop: float | None
    cost: str | None
    gpu: str | None
    types: Names


class SensitivityKeywords(
    RangeKeywords, PlanKeywords, CalibrationKeywords, EvaluationKeywords, ListenerKeywords, total=False
):
    """Keywords of `sensitivities`.

    Args:
        exact: Measure every operator on all samples set aside, not on a few of them.
        target: Name of what the model would be quantized for.
        report: Where a page about the run goes.
        gpu: Measure every operator in each of the types that this GPU has units for, too.
        types: Measure it in these types, such as `("int8", "fp8")`; none: those that `gpu` has.
    """

    exact: bool
    gpu: str | None
    types: Names
    target: str
    report: FilePath | None


class CalibrateKeywords(PlanKeywords, CalibrationKeywords, ListenerKeywords, total=False):
    """Keywords of `calibrate`.

    Args:
        all_tensors: Observe every float tensor.
        every_target: Observe what every target needs.
        shard: Which share of the runs, such as "2/8".
        target: Name of what the model will be quantized for.
    """

    all_tensors: bool
    every_target: bool
    shard: Shard | str | None
    target: str


class CompareKeywords(DataKeywords, ListenerKeywords, total=False):
    """Keywords of `compare`.

    Args:
        layers: Compare every tensor that both models have, too.
        min_sqnr, min_agreement: Limits on the outputs.
        time: Time both in turn.
        min_speedup: How many times as fast as the float model the other must run.
        report: Where a page about the run goes.
    """

    layers: bool
    min_sqnr: float | None
    min_agreement: float | None
    time: bool
    min_speedup: float | None
    report: FilePath | None


class ConvertKeywords(FloatKeywords, CalibrationKeywords, LimitKeywords, ListenerKeywords, total=False):
    """Keywords of `convert`.

    Args:
        cache: A calibration cache that says how large the tensors get.
        report: Where a page about the run goes.
    """

    cache: FilePath | None
    report: FilePath | None


class MigrateKeywords(FloatKeywords, PlanKeywords, CalibrationKeywords, ListenerKeywords, total=False):
    """Keywords of `migrate`.

    Args:
        cache: The calibration table of the old build, for a float model.
        weights: How the weights of a float model are stored.
    """

    cache: FilePath | None
    weights: WeightForm | str


class LookKeywords(PlanKeywords, total=False):
    """Keywords of `inspect` besides its target.

    Args:
        trt: Report only what holds for this TensorRT.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        gpu: Report which types this GPU lacks.
        input_shape: Sizes of dynamic dimensions, so that costs are known: (1, 3, 640, 640), or a dict of such by input.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it.
        fail_on, max_standalone, min_int8_macs: Limits (`Gates`).
        report: Where a page about the model goes.
        against: Another form of the same network, shown beside it on the page.
        on_note: Told each note as it comes.
    """

    trt: TensorRT | str | None
    plugins: Names
    gpu: Gpu | str | None
    input_shape: InputShape
    deconv_absorbs_q: bool
    fail_on: Names
    max_standalone: int | None
    min_int8_macs: float | None
    report: FilePath | None
    against: Model | None
    on_note: OnNote | None


class InspectKeywords(LookKeywords, total=False):
    """Keywords of `inspect`.

    Args:
        target: Name of what will build or run it, as `quantize` takes it.
    """

    target: str


class BuildKeywords(PlanKeywords, ListenerKeywords, total=False):
    """Keywords of `build`.

    Args:
        gpu: Compute capabilities to build for, or `all`.
        input_shape: Sizes of dynamic dimensions; `NAME:MIN/OPT/MAX` as text gives the smallest, the usual, the largest.
        output: Where the engine goes.
        trtexec: The trtexec of this machine, which builds on its GPU instead, and times the layers.
        time_limit: Most seconds that one build may take.
        memory_limit: Most memory that the compiler may hold, in GB.
        report: Where a page about the run goes.
        fail_on, min_int8_macs, max_bytes: Limits (`BuildGates`).
    """

    gpu: Names
    input_shape: InputShape
    output: FilePath | None
    trtexec: FilePath | None
    time_limit: float
    memory_limit: float
    report: FilePath | None
    fail_on: Names
    min_int8_macs: float | None
    max_bytes: float | None
