"""Calibration data of a run, opened: which samples calibrate, which are held back, and which run together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from qdq_cli.calibrating.feeding import feeding_text
from qdq_cli.config.data import DataConfig
from qdq_cli.config.preprocess import PIXEL_MAX, PRESETS, Preprocessing
from qdq_cli.data.batches import BatchPlan, full_runs, plan_batches
from qdq_cli.data.doubts import ENOUGH_SAMPLES
from qdq_cli.data.fitness import Expectations, Expected, preprocessing_expected
from qdq_cli.data.given import Taken
from qdq_cli.data.image_input import choose_preprocessing, is_picture
from qdq_cli.data.inputs import InputSpec, batch_axis, parse_input_shapes, with_shapes
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.data.selection import DEFAULT_SAMPLES, Selection, select
from qdq_cli.data.sifting import Globs
from qdq_cli.model.exporter import Exporter, exporter_of
from qdq_cli.model.pixel_scale import takes_pixels
from qdq_cli.process.errors import DataError


@dataclass(frozen=True)
class Samples:
    """Calibration data, opened: nothing but names and headers has been read.

    Args:
        every: All samples.
        selection: Which calibrate and which are held back.
        batches: The runs that calibrate.
        feeding: How samples become inputs (`feeding_text`).
        notes: Sentences the user should read.
        expectations: What is known of the values the inputs take.
    """

    every: SampleSet
    selection: Selection
    batches: BatchPlan
    feeding: str = ""
    notes: tuple[str, ...] = ()
    expectations: Expectations = field(default_factory=Expectations)

    def rows(self, enough: int = ENOUGH_SAMPLES) -> int:
        """How many rows calibrate, counted no further than `enough`: a sample can hold several on a batch axis."""
        rows, stacked = 0, batch_axis(self.every.specs).stacked
        for index in self.selection.calibration[:enough]:
            shape = self.every.shapes(index)[0]
            rows += shape[0] if stacked and shape else 1
        return min(rows, enough)


def open_data(model: ir.Model, config: DataConfig, hold_back: int) -> Samples | None:
    """Open the samples of `--calib`; None where none were given.

    Args:
        model: The prepared model, whose inputs say what a sample is.
        config: Paths and preprocessing.
        hold_back: How many samples verification would like to have for itself.

    Raises:
        DataError: Nothing usable is there, or it does not fit the inputs.
        UsageError: Options contradict each other or the model.
    """
    if not config.has_samples:
        return None
    opened = _open(model, config, (config.samples or DEFAULT_SAMPLES) + hold_back)
    every, selection = opened.every, _select(opened.every, config, hold_back)
    every.expect((*selection.calibration, *selection.held_back[:hold_back]))
    batches = plan_batches(every, selection.calibration, config.batch_size)
    notes = (*every.notes, *_about_the_rest(every, config, selection))
    return Samples(every, selection, batches, opened.feeding, notes, opened.expectations)


def _select(every: SampleSet, config: DataConfig, hold_back: int) -> Selection:
    """Choose samples; hold none back where those would not fill a run, or would leave calibration none to fill."""
    run = batch_axis(every.specs).size or 1
    selection = select(len(every), config.samples, config.seed, hold_back, run)
    is_useful = full_runs(every, selection.held_back) and full_runs(every, selection.calibration)
    if is_useful or (config.samples or len(every) + 1) <= len(every):  # what was asked for is kept, and there
        return selection
    return select(len(every), config.samples, config.seed, 0, run)


def _about_the_rest(every: SampleSet, config: DataConfig, selection: Selection) -> tuple[str, ...]:
    """Say that the default leaves samples unused, or that fewer are there than were asked for."""
    count = len(selection.calibration)
    if config.samples is not None and config.samples > len(every):
        return (_about_all(every, config.samples, len(selection.held_back)),)
    if config.samples is not None or len(every) <= count + len(selection.held_back):
        return ()
    return (
        f"{count:,} of the {len(every):,} samples calibrate, evenly spread or drawn with --seed; "
        "--samples N takes another number, and qdq calibrate takes all.",
    )


def _about_all(every: SampleSet, asked: int, held_back: int) -> str:
    """Say that all samples are taken where more were asked for."""
    taken = f"all but {held_back:,} to compare on calibrate" if held_back else "all of them are taken"
    return f"--samples {asked:,} is more than the {len(every):,} there are: {taken}."


def open_every(model: ir.Model, config: DataConfig, most: int | None = None) -> Samples:
    """Open the samples of `--calib` with nothing held back: the number asked for, else all of them up to `most`.

    Raises:
        DataError: None are given or usable, or they do not fit the inputs.
        UsageError: Options contradict each other or the model.
    """
    if not config.has_samples:
        raise DataError("No calibration data was given.", "Give a folder of images or arrays with --calib.")
    opened = _open(model, config, config.samples or most)
    every = opened.every
    count = min(len(every), config.samples or most or len(every))
    selection = replace(select(len(every), count, config.seed, 0), held_back=())
    every.expect(selection.calibration)
    batches = plan_batches(every, selection.calibration, config.batch_size)
    asked = config.samples or 0
    notes = (*every.notes, *([_about_all(every, asked, 0)] if asked > len(every) else []))
    return Samples(every, selection, batches, opened.feeding, notes, opened.expectations)


@dataclass(frozen=True)
class _Opened:
    """All samples, how they become inputs (`feeding_text`), and the values the inputs are known to take."""

    every: SampleSet
    feeding: str
    expectations: Expectations


def find_exporter(model: ir.Model, specs: tuple[InputSpec, ...]) -> Exporter | None:
    """Tell the exporter of a model whose pictures have three channels of floats and are not scaled by itself."""
    pictures = [k for k, spec in enumerate(specs) if is_picture(spec)]
    if len(pictures) != 1:
        return None
    spec, value = specs[pictures[0]], model.graph.inputs[pictures[0]]
    fits = spec.dtype.kind == "f" and 3 in (spec.shape[-1], spec.shape[-3]) and not takes_pixels(value)
    return exporter_of(model) if fits else None


def _recognised(every: SampleSet, exporter: Exporter | None) -> tuple[str, ...]:
    """Say what made the preprocessing of pictures that nobody chose."""
    if exporter is None or every.preprocessing is None:
        return ()
    return (f"The preprocessing {exporter.preset} is taken because of the model: {exporter.evidence}.",)


def _open(model: ir.Model, config: DataConfig, most: int | None) -> _Opened:
    """Open the samples; of those that a program gives one by one, no more than `most` are asked for."""
    declared = input_specs(model)
    shapes = parse_input_shapes(config.input_shape, declared)
    specs = with_shapes(declared, shapes)
    preprocessing = choose_preprocessing(config.preprocess, config.overrides, specs)
    exporter = None if preprocessing is not None else find_exporter(model, specs)
    chosen = preprocessing
    if exporter is not None:
        preprocessing = replace(PRESETS[exporter.preset], assumed=True)
    taken = Taken(config.given, most, config.batch_size or 1)
    globs = Globs(config.include_data, config.exclude_data)
    every = open_samples(config.calib, specs, preprocessing, globs, taken)
    every.notes += _recognised(every, exporter)
    return _Opened(
        every,
        feeding_text(every.preprocessing, shapes),
        Expectations(specs, _expected(model, every, chosen)),
    )


def _expected(model: ir.Model, every: SampleSet, chosen: Preprocessing | None) -> dict[str, Expected]:
    """Find out what values the inputs take: from operators that scale pixels, or a preprocessing chosen for arrays."""
    expected = {}
    for spec, value in zip(every.specs, model.graph.inputs, strict=True):
        if is_picture(spec) and takes_pixels(value):
            expected[spec.name] = Expected(0, PIXEL_MAX, "the model's first operators scale pixels of")
        elif chosen is not None and every.preprocessing is None:
            expected[spec.name] = preprocessing_expected(chosen)
    return expected


def input_specs(model: ir.Model) -> tuple[InputSpec, ...]:
    """Return the graph inputs as calibration data sees them.

    Raises:
        DataError: An input is no tensor (a sequence or an optional), or takes no sample at all.
    """
    return tuple(_input_spec(value) for value in model.graph.inputs)


def _input_spec(value: ir.Value) -> InputSpec:
    if value.dtype is None or value.shape is None or not isinstance(value.type, ir.TensorType):
        raise DataError(
            f"Graph input '{value.name}' is no tensor of known type and rank, so it cannot be fed.",
            "Export the model with the shapes of its inputs declared.",
        )
    dims = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    if dims and dims[0] == 0:
        raise DataError(
            f"Graph input '{value.name}' takes exactly 0 samples: its first dimension has the size 0.",
            "Export the model with a dynamic batch.",
        )
    dtype = np.dtype(object) if value.dtype == ir.DataType.STRING else np.dtype(value.dtype.numpy())
    return InputSpec(value.name or "", dtype, dims)
