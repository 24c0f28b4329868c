"""`qdq convert` on one page: load, prepare, observe, plan, convert, check, verify, save."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from calibrators import read_cache
from qdq_cli.calibrating.calibration import NOTHING, Observation, observe_extremes
from qdq_cli.calibrating.calibration_data import Samples, open_data
from qdq_cli.calibrating.feeding import describe_feeding
from qdq_cli.calibrating.magnitudes import extremes_to_watch
from qdq_cli.calibrating.stored import find
from qdq_cli.config.convert import ConvertConfig
from qdq_cli.config.forms import DEFAULT_TARGET, FloatType, WeightForm
from qdq_cli.converting.page import conversion_page
from qdq_cli.converting.record import Conversion, UnmetConversionError
from qdq_cli.data.doubts import tell_doubts
from qdq_cli.model import files
from qdq_cli.model.check import check_written
from qdq_cli.model.opset import opset_of
from qdq_cli.model.provenance import record_provenance
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.placement.target import Build, Target
from qdq_cli.placement.topology import float_tensors
from qdq_cli.preparing.prepare import Preparation, prepare
from qdq_cli.process.clock import Clock
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError, LimitError, ModelError, UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing import verification
from qdq_cli.quantizing.float_form import FloatForm, wanted_form
from qdq_cli.quantizing.float_rest import Finished, completed, in_float_type
from qdq_cli.quantizing.limits import hold_limits
from qdq_cli.quantizing.low import low_names
from qdq_cli.quantizing.report import LowOutput, SizeBytes, Verification
from qdq_cli.quantizing.run import Course
from qdq_cli.quantizing.writing import with_twin
from qdq_cli.running.execution import runs_as_told
from qdq_cli.running.unknown import notes_about
from qdq_cli.screen.page_target import check_page_target
from qdq_cli.screen.render import write_page
from qdq_cli.targets.known import target_named, written_for

_HINT = "The model was not written. Give samples with --calib, or more of them, so that large values are known."


@runs_as_told
def convert_model(config: ConvertConfig, listener: Listener = SILENT) -> Conversion:
    """Give the floats of an FP32 model another type, as far as its values allow.

    Args:
        config: What to do. `ConvertConfig(Path("model.onnx"), data=DataConfig(calib=(Path("images"),)))` writes
            `model.fp16.onnx`.
        listener: Told about progress and notes; silent by default.

    Returns:
        The report. The model is at `report.output` then, complete and checked.

    Raises:
        UnmetConversionError: A limit is not met. The error holds the report, and a page that was asked for is written.
        QdqError: What keeps the model from being finished; nothing is left under the output name then.
        CalibratorError: The calibration cache cannot be read.
    """
    target = _check(config)
    run = _Run(config, listener)
    subject = _open(run)
    files.check_data_target(subject.source, target)
    samples = _open_samples(run, subject)
    observed = _observe(run, subject, samples)
    finished = _convert(run, subject, observed)
    report, hint = _write(run, subject, finished, observed, samples)
    report = replace(report, seconds=run.clock.seconds(), notes=tuple(run.notes))
    if config.report is not None:
        write_page(conversion_page(report), config.report)
    if report.unmet_limit is not None:
        raise UnmetConversionError(report, hint)
    return report


@dataclass
class _Run(Course):
    """The clock and the notes of one run."""

    config: ConvertConfig
    listener: Listener
    clock: Clock = field(default_factory=Clock)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Subject:
    """The model: as it was read, and prepared; and how it will be written."""

    source: files.ModelFile
    prepared: Preparation
    form: FloatForm

    @property
    def model(self) -> ir.Model:
        return self.prepared.model


def _check(config: ConvertConfig) -> Path:
    """Return the absolute path of the result, after making sure that all that is written can be.

    Raises:
        UsageError: It cannot; or FP32 is asked for, which the model has.
    """
    if config.float_type is FloatType.FP32:
        raise UsageError("qdq convert makes FP32 models FP16 or BF16.", "Say --float-type fp16 or --float-type bf16.")
    reads = (*config.data.calib, *(() if config.cache is None else (config.cache,)))
    target = files.check_target(config.model, config.destination, reads)
    if config.report is not None:
        check_page_target(config.report, (config.model, target, *reads))
    return target


def _open(run: _Run) -> _Subject:
    """Load and prepare the model.

    Raises:
        ModelError: It cannot be read or prepared, or is FP16 or BF16 already.
    """
    config = run.config
    with run.stage("load"):
        source = files.load(config.model)
    with run.stage("prepare"):
        prepared = prepare(source.model, source.proto, copy=False, spread=False)
    run.say(*prepared.notes, *notes_about(prepared.unknown))
    run.warn(*_warning_of_target(prepared.model, config.float_type))
    forms = config.scale_type, config.keep_io_types
    form = wanted_form(prepared.model, config.model, config.float_type, FloatType.FP32, forms)
    if form is None:
        raise ModelError(
            f"{config.model} is {config.float_type.value.upper()} already.", "There is nothing to convert in it."
        )
    return _Subject(replace(source, model=prepared.model, proto=None), prepared, form)


def _warning_of_target(model: ir.Model, float_type: FloatType) -> tuple[str, ...]:
    """Warn that the runtime a model was written for computes nothing on integers beside floats of a type."""
    written = written_for(model)
    if written is None or float_type in written.float_types:
        return ()
    return (
        f"The file says that it was written for {written.title}, which computes nothing on integers beside "
        f"{float_type.value.upper()}: keep the FP32 one there.",
    )


def _open_samples(run: _Run, subject: _Subject) -> Samples | None:
    """Find the samples; None where none are given.

    Raises:
        DataError: They cannot be used, or look unfit and the run is strict.
        UsageError: A limit is set, and there is nothing to hold against it.
    """
    config = run.config
    with run.stage("load"):
        samples = open_data(subject.model, config.data, config.verify.samples)
    if samples is not None:
        tell_doubts(samples.every.doubts, run.warn, strict=config.data.strict)
        run.say(*samples.notes)
    verification.require_samples(config.verify, samples)
    return samples


def _observe(run: _Run, subject: _Subject, samples: Samples | None) -> Observation:
    """Find out how large the tensors get: from the cache, and from the samples what that does not say.

    Raises:
        DataError: The cache knows no tensor of the model, or a sample cannot be used.
        ModelError: The model cannot be run.
    """
    model = subject.model
    with run.stage("observe"):
        known = NOTHING if run.config.cache is None else _from_cache(run.config.cache, model)
        if known is NOTHING:
            known = observe_extremes(model, extremes_to_watch(model, ()), samples, run.listener, known)
        observed = completed(model, subject.form, known, samples, run.listener)
    tell_doubts(observed.doubts, run.warn, strict=run.config.data.strict)
    run.say(*observed.notes)
    return observed


_OF_QUANTIZED = (
    "A cache of the float model does not fit its Q/DQ form, whose scales bound most tensors anyway: leave --cache out, "
    "or give --calib."
)


def _from_cache(path: Path, model: ir.Model) -> Observation:
    """Return what a calibration cache knows of the tensors of a model.

    Raises:
        DataError: That is nothing.
        CalibratorError: The cache cannot be read.
    """
    if not path.exists():
        raise DataError(f"There is no calibration cache {path}.", "Check the path, or give samples with --calib.")
    table = read_cache(path)
    found = find(table, model, (), float_tensors(model.graph))
    if not found.extremes.keys() - {value.name for value in model.graph.inputs}:
        raise DataError(
            f"The calibration cache {path} does not fit the model: it knows no tensor that the model computes.",
            _OF_QUANTIZED
            if holds_quantization(model)
            else "It was made of another network. Give samples with --calib.",
        )
    origin = table.provenance
    made = describe_feeding(origin.preprocessing)
    return Observation({}, origin.sample_count, True, made, (), origin.samples, extremes=found.extremes)


def _convert(run: _Run, subject: _Subject, observed: Observation) -> Finished:
    """Plan, and give the floats their type.

    Raises:
        ModelError: Every operator stays FP32.
    """
    with run.stage("cast"):
        finished = in_float_type(subject.model, subject.form, observed)
    if finished.rest is not None and 0 < finished.rest.operators <= len(finished.rest.kept):
        name, first = subject.form.float_type.value.upper(), finished.rest.kept[0]
        raise ModelError(
            f"Every operator of {run.config.model} stays FP32, so nothing becomes {name}: "
            f"{first.op_type} '{first.node}', {first.reason}.",
            "There is nothing to convert in it; keep the FP32 model.",
        )
    record_provenance(finished.model)
    run.say(*finished.notes)
    return finished


def _write(
    run: _Run, subject: _Subject, finished: Finished, observed: Observation, samples: Samples | None
) -> tuple[Conversion, str]:
    """Write, check and verify the result in a temporary place; it gets its name only when all went well.

    Returns:
        The report, and what helps where a limit is not met; "" where none is missed.
    """
    config, source = run.config, subject.source
    with contextlib.ExitStack() as stack:
        with run.stage("save"):
            target = config.destination.absolute()
            staged = stack.enter_context(files.staged(finished.model, target, external=source.external))
            run.say(*check_written(staged.path, source.path))
        with run.stage("verify"):
            result = verification.Result(opset_of(finished.model), observed.digests)
            if samples is not None and config.verify.samples:
                result = stack.enter_context(
                    with_twin(result, staged, finished, target_named(DEFAULT_TARGET).predictor)
                )
            models = (source.path, staged.path)
            compared = verification.verify(models, samples, config.verify, run.listener, result)
            compared = None if compared is None else replace(compared, low=_low(compared))
        report = _report(run, subject, finished, observed, samples)
        report = replace(report, verification=compared)
        if (unmet := _unmet(compared, config)) is not None:
            return replace(report, unmet_limit=unmet.message), unmet.hint
        with run.stage("save"):
            staged.commit()
        sizes = SizeBytes(source.size_bytes, staged.size_bytes)
        return replace(report, output=str(config.destination), size_bytes=sizes), ""


def _low(found: Verification) -> dict[str, LowOutput]:
    """Name the outputs that are low; there is nothing quantized whose ranges could be blamed."""
    text = "qdq compare --layers says where it starts"
    return {name: LowOutput("UNKNOWN", text) for name in low_names(found.outputs)}


def _unmet(found: Verification | None, config: ConvertConfig) -> LimitError | None:
    """Hold every output against the limits; return what is wrong with the first that misses one."""
    if found is None:
        return None
    try:
        hold_limits(found.outputs, found.not_compared, config.verify, _HINT, found.rows)
    except LimitError as error:
        return error
    return None


def _report(
    run: _Run, subject: _Subject, finished: Finished, observed: Observation, samples: Samples | None
) -> Conversion:
    """What was done, as far as nothing is verified or saved."""
    config, opset = run.config, opset_of(finished.model)
    assert finished.rest is not None
    preprocessing = samples.every.preprocessing if samples else None
    return Conversion(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        output=None,
        opset=opset,
        opset_before=subject.prepared.opset_before,
        float_rest=finished.rest,
        samples=observed.samples,
        tensors=len(observed.known_extremes),
        cache=None if config.cache is None else str(config.cache),
        preprocessing=observed.preprocessing,
        assumed=preprocessing is not None and preprocessing.assumed,
        verification=None,
        size_bytes=SizeBytes(subject.source.size_bytes, None),
        seconds={},
        notes=(),
        builds=_builds(opset, written_for(finished.model) or target_named(DEFAULT_TARGET)),
    )


def _builds(opset: int, target: Target) -> tuple[Build, ...]:
    """How each release of the target builds the result."""
    if target.release is None or target.builds is None:
        return ()
    oldest = target.release(opset, half=True, weights=WeightForm.FP32, asked=None)
    return target.builds(oldest, half=True, asked=None)
