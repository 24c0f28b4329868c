"""`qdq_cli.calibrate`: what `qdq calibrate` does, for models and samples in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calibrators import CalibrationTable, read_cache, write_cache
from qdq_cli.calibrating.calibrate import CalibrationReport, calibrate_model
from qdq_cli.calls.listening import OnNote, OnProgress, Told
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import Calib, Constants, FilePath, InputShape, Keywords, Model, Names, data_of, record_of
from qdq_cli.config.calibrate import CalibrateConfig, Shard
from qdq_cli.config.forms import DEFAULT_TARGET
from qdq_cli.config.placement import PlanConfig
from qdq_cli.process.writable import check_writable


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` saw.

    Args:
        table: The histograms: `quantize` takes it in place of samples, and `calibrators.merge_tables` merges several.
        report: What was done.
    """

    table: CalibrationTable
    report: CalibrationReport

    def save(self, path: FilePath) -> Path:
        """Write the calibration cache; returns its absolute path.

        Raises:
            UsageError: The file cannot be written.
        """
        target = check_writable(Path(path), "path", "path")
        write_cache(self.table, target)
        return target


def calibrate(
    model: Model,
    calib: Calib,
    *,
    all_tensors: bool = False,
    shard: Shard | str | None = None,
    target: str = DEFAULT_TARGET,
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
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
) -> Calibrated:
    """Observe the tensors of a model on all samples, for `quantize` to choose ranges from.

    Args:
        model: As `quantize` takes it.
        calib: Samples, as `quantize` takes them; all of an iterable are taken, unless `samples` says how many.
        all_tensors: Observe every float tensor.
        shard: Which share of the runs, such as "2/8".
        target: Name of what the model will be quantized for.
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
        on_progress: Told (title of a stage, runs done, runs in all).
        on_note: Told each note as it comes; the report holds them too.

    Returns:
        The table and the report.

    Raises:
        QdqError: The model or the samples cannot be used.
    """
    return _calibrated(model, calib, locals())


def _calibrated(model: Model, calib: Calib, given: Keywords) -> Calibrated:
    place = Place()
    with place.speaking():
        output = place.folder / "table.qcal"
        fixed = {
            "model": place.model(model),
            "output": output,
            "data": data_of(calib, given),
            "plan": record_of(PlanConfig, given),
            "shard": given["shard"] or Shard(),
        }
        config = record_of(CalibrateConfig, given, fixed)
        report = calibrate_model(config, Told(given["on_progress"], given["on_note"]))
        return Calibrated(read_cache(output), place.unsaved(report))
