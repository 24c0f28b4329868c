"""`qdq_cli.compare`: what `qdq compare` does, for models and samples in memory."""

from __future__ import annotations

from qdq_cli.calls.listening import OnNote, OnProgress, Told
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import Calib, Constants, FilePath, InputShape, Keywords, Model, Names, data_of, record_of
from qdq_cli.comparing.compare import compare_models, require_limits
from qdq_cli.comparing.record import Comparison
from qdq_cli.config.compare import CompareConfig


def compare(
    reference: Model,
    quantized: Model,
    calib: Calib,
    *,
    layers: bool = False,
    min_sqnr: float | None = None,
    min_agreement: float | None = None,
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
    report: FilePath | None = None,
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
) -> Comparison:
    """Compare a float model with its quantized form, output by output.

    Args:
        reference: The float model, as `quantize` takes it.
        quantized: Its quantized form of any tool, or a result.
        calib: Samples, as `quantize` takes them.
        layers: Compare every tensor that both models have, too.
        min_sqnr, min_agreement: Limits on the outputs (`CompareConfig`).
        preprocess: How pictures become inputs: a preset (`imagenet`, `unit`, `signed`, `raw`) or a JSON or TOML file.
        scale, mean, std, color, resize, fill, position, crop, shorter, interpolation, layout: Single fields of it
            (`Overrides`).
        input_shape: Sizes of dynamic dimensions: (1, 3, 640, 640), or a dict of such by input.
        samples: How many samples are compared on; 64 where nothing is said.
        batch_size: Samples a run.
        seed: Draws the samples at random instead of evenly spread.
        include_data, exclude_data: Globs of the files of folders to take, and to leave out.
        report: Where a page about the run goes.
        on_progress: Told (title of a stage, runs done, runs in all).
        on_note: Told each note as it comes; the report holds them too.

    Returns:
        What was found.

    Raises:
        LimitError: A limit is not met; its `found` is the record.
        QdqError: A model or the samples cannot be used.
    """
    return _compared((reference, quantized), calib, locals())


def _compared(models: tuple[Model, Model], calib: Calib, given: Keywords) -> Comparison:
    place = Place()
    with place.speaking():
        names = ("reference", "quantized")
        first, second = (place.model(model, name) for model, name in zip(models, names, strict=True))
        fixed = {"reference": first, "quantized": second, "data": data_of(calib, given)}
        config = record_of(CompareConfig, given, fixed)
        found = place.relabelled(compare_models(config, Told(given["on_progress"], given["on_note"])))
        require_limits(found, config)
        return found
