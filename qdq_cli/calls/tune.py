"""`qdq_cli.tune`: what `qdq tune` does, for models and samples in memory."""

from __future__ import annotations

from qdq_cli.calls.listening import OnNote, OnProgress, Told
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import (
    Calib,
    Constants,
    FilePath,
    InputShape,
    Keywords,
    Model,
    Names,
    Ranges,
    quantize_of,
)
from qdq_cli.calls.result import Result
from qdq_cli.config.forms import DEFAULT_TARGET, FloatType, Form, ScaleType, TensorRT, WeightForm
from qdq_cli.config.quantize import DEFAULT_VERIFY
from qdq_cli.config.ranges import DEFAULT_METHOD, DEFAULT_PERCENTILE
from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.config.tune import TuneConfig
from qdq_cli.quantizing.run import Outcome
from qdq_cli.tuning.record import TuneReport
from qdq_cli.tuning.tune import tune_model


def tune(
    model: Model,
    calib: Calib,
    *,
    verify: int = DEFAULT_VERIFY,
    min_sqnr: float | None = None,
    min_agreement: float | None = None,
    evaluate: str | None = None,
    lower_is_better: bool = False,
    max_drop: float | None = None,
    min_int8_macs: float | None = None,
    recover: bool | Names = True,
    target: str = DEFAULT_TARGET,
    trt: TensorRT | str | None = None,
    plugins: Names = (),
    float_type: FloatType | str | None = None,
    scale_type: ScaleType | str = ScaleType.DATA,
    keep_io_types: bool = True,
    weights: WeightForm | str = WeightForm.FP32,
    form: Form | str = Form.PAIRS,
    method: str = DEFAULT_METHOD,
    percentile: float = DEFAULT_PERCENTILE,
    ranges: Ranges | None = None,
    cache: FilePath | None = None,
    cache_missing: str | None = None,
    recalibrate: bool = False,
    exclude: Names = (),
    exclude_op: Names = (),
    only: Names = (),
    skip_first: bool = False,
    skip_last: bool = False,
    per_tensor_weights: bool = False,
    deconv_per_channel: bool = False,
    mha: bool | None = None,
    attention_rules: bool = True,
    group_rules: bool = True,
    channel_rules: bool = True,
    gemv_rules: bool = True,
    range_rules: bool = True,
    residuals: bool = True,
    residual_stream: bool = False,
    pooling: bool = True,
    safe: bool = False,
    preprocess: FilePath | None = None,
    scale: Constants | None = None,
    mean: Constants | None = None,
    std: Constants | None = None,
    color: str | None = None,
    resize: str | None = None,
    fill: Constants | None = None,
    position: str | None = None,
    crop: float | None = None,
    shorter: int | None = None,
    interpolation: str | None = None,
    layout: str | None = None,
    input_shape: InputShape = (),
    samples: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    include_data: Names = (),
    exclude_data: Names = (),
    strict: bool = False,
    report: FilePath | None = None,
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
) -> Result[TuneReport]:
    """Quantize a model so that it meets a target, with as little as possible left float.

    Args:
        model: As `quantize` takes it.
        calib: As `quantize` takes it; samples are needed even where a cache serves.
        verify: Samples held back to compare on; 0 for none.
        min_sqnr, min_agreement: The target (`VerifyConfig`).
        evaluate: A command line with `{model}` that prints a number: the target, together with `max_drop`.
        lower_is_better: That number is an error.
        max_drop: How much worse than the float model's it may be.
        min_int8_macs: Least share of the multiply-accumulates to keep in INT8, in percent.
        recover: False for no recovery, or the steps.
        target: Name of what the model is quantized for.
        trt, float_type, scale_type, keep_io_types, weights, form: How the result is written (`QuantizeConfig`).
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        method, percentile: How ranges are chosen (`RangeConfig`).
        ranges: Ranges of tensors, by name, or a file of another tool; they override calibration.
        cache, cache_missing, recalibrate: A calibration cache to read, or to write (`RangeConfig`).
        exclude, exclude_op, only, skip_first, skip_last, per_tensor_weights, deconv_per_channel, mha, attention_rules,
            group_rules, channel_rules, gemv_rules, range_rules, residuals, residual_stream, pooling, safe: Which
            operators are quantized (`PlanConfig`).
        preprocess: How pictures become inputs: a preset (`imagenet`, `unit`, `signed`, `raw`) or a JSON or TOML file.
        scale, mean, std, color, resize, fill, position, crop, shorter, interpolation, layout: Single fields of it
            (`Overrides`).
        input_shape: Sizes of dynamic dimensions: (1, 3, 640, 640), or a dict of such by input.
        samples: How many samples calibrate.
        batch_size: Samples a run.
        seed: Draws the samples at random instead of evenly spread.
        include_data, exclude_data: Globs of the files of folders to take, and to leave out.
        strict: Refuse data that looks unfit instead of noting it.
        report: Where a page about the run goes.
        on_progress: Told (title of a stage, runs done, runs in all).
        on_note: Told each note as it comes; the report holds them too.

    Returns:
        The model with its report, plan and table. Where `report.met` is False, it is the best that was found.

    Raises:
        QdqError: What keeps the model from being finished, as in `quantize`.
    """
    return _tuned(model, calib, locals())


def _tuned(model: Model, calib: Calib, given: Keywords) -> Result[TuneReport]:
    place = Place()
    with place.speaking():
        output = place.folder / "result.qdq.onnx"
        own = {"report": None, "min_int8_macs": None, "dry_run": False, "exclude_after_recovery": ()}
        config = quantize_of(place.model(model), calib, {**given, **own}, place, output)
        command = given["evaluate"]
        evaluation = None if command is None else Evaluation(command, given["lower_is_better"])
        outcome = Outcome()
        tuning = TuneConfig(config, evaluation, given["max_drop"], given["min_int8_macs"], given["report"])
        report = tune_model(tuning, Told(given["on_progress"], given["on_note"]), outcome)
        made = output if output.exists() else place.folder / report.output
        return Result(place.unsaved(report), made, place, outcome, config.ranges.cache)
