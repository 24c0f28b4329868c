"""`qdq_cli.quantize`: what `qdq quantize` does, for models and samples in memory."""

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
from qdq_cli.quantizing.pipeline import quantize_model
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Outcome


def quantize(
    model: Model,
    calib: Calib | None = None,
    *,
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
    recover: bool | Names = False,
    exclude_after_recovery: Names = (),
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
    verify: int = DEFAULT_VERIFY,
    min_sqnr: float | None = None,
    min_agreement: float | None = None,
    min_int8_macs: float | None = None,
    report: FilePath | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
) -> Result[Report]:
    """Quantize a model with Q/DQ nodes; the model itself is not changed, and nothing is written.

    Args:
        model: A path, the bytes of a model, an `onnx.ModelProto`, an `onnx_ir.Model`, or another result.
        calib: Samples: a path or several; an array or a dict of arrays whose first axis is the samples; a list, a data
            loader, a generator or any iterable of arrays, tuples or dicts of them, read once; a function that makes
            an iterable anew for each pass; or the table of another result. Tensors of any library do.
        target: Name of what the model is quantized for.
        trt, float_type, scale_type, keep_io_types, weights, form: How the result is written (`QuantizeConfig`).
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        method, percentile: How ranges are chosen (`RangeConfig`).
        ranges: Ranges of tensors, by name, or a file of another tool; they override calibration.
        cache, cache_missing, recalibrate: A calibration cache to read, or to write (`RangeConfig`).
        recover: True for the usual steps of recovery, or the steps (`RECOVERY_STEPS`).
        exclude_after_recovery: Nodes that are recovered in INT8 and left float then.
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
        verify: Samples held back to compare on; 0 for none.
        min_sqnr, min_agreement: Limits on the outputs (`VerifyConfig`).
        min_int8_macs: Lowest share of the multiply-accumulates in INT8, in percent.
        report: Where a page about the run goes.
        dry_run: Plan only: the result has a report and a plan, and no model.
        on_progress: Told (title of a stage, runs done, runs in all).
        on_note: Told each note as it comes; the report holds them too.

    Returns:
        The model with its report, plan and table.

    Raises:
        UnmetLimitError: A limit is not met; its `report` says what was found.
        QdqError: Anything else that keeps the model from being finished. What the caller's own generator or function
            raises comes through as it is.
    """
    return _quantized(model, calib, locals())


def _quantized(model: Model, calib: Calib | None, given: Keywords) -> Result[Report]:
    place = Place()
    with place.speaking():
        output = place.folder / "result.qdq.onnx"
        config = quantize_of(place.model(model), calib, given, place, output)
        outcome = Outcome()
        report = quantize_model(config, Told(given["on_progress"], given["on_note"]), outcome=outcome)
        made = output if output.exists() else None
        return Result(place.unsaved(report), made, place, outcome, config.ranges.cache)
