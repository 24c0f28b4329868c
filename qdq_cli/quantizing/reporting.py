"""The parts of a run's report: what was planned, how ranges were found, what was predicted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.calibrating.calibration import Observation, Ranges
from qdq_cli.calibrating.calibration_data import Samples, input_specs
from qdq_cli.config.forms import Cpu, FloatType, QuantType, TensorRT
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.data.inputs import parse_input_shapes, with_shapes
from qdq_cli.model.integer_io import integer_ends
from qdq_cli.model.opset import opset_of
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.selection import Skip
from qdq_cli.placement.skips import OPTIMIZER_MADE
from qdq_cli.placement.target import Build, Target
from qdq_cli.preparing.prepare import Preparation
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import LimitError, ModelError, UsageError
from qdq_cli.quantizing.float_rest import Finished, FloatForm, wanted_form
from qdq_cli.quantizing.groundwork import Opened
from qdq_cli.quantizing.report import Activations, Calibration, Report, Seconds, SizeBytes, WeightedOps
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.sentences import any_of, count_text, some_of


def planned(run: Run, opened: Opened) -> Report:
    """The report as far as planning goes; a dry run ends here."""
    plan = opened.plan
    return Report(
        schema_version=SCHEMA_VERSION,
        model=str(run.config.model),
        output=None,
        opset=opened.prepared.opset_before if opened.already_quantized else opened.prepared.opset,
        trt=None if opened.trt is None else opened.trt.value,
        weighted_ops=WeightedOps(plan.weighted, len(plan.quantized)),
        activations=Activations(len({target.tensor for target in plan.targets}), len(plan.groups)),
        skips=plan.skips,
        calibration=None,
        verification=None,
        tensorrt=None,
        size_bytes=SizeBytes(opened.source.size_bytes, None),
        seconds=Seconds(),
        targets=plan.targets,
        weights=plan.weights,
        groups=plan.groups,
        already_quantized=opened.already_quantized,
        target=run.target.name,
        activation_type=run.target.activations.qtype.name,
        weight_type=run.target.weights.qtype.name,
        processor=None if run.target.processor is None else run.target.processor.value,
        refused=opened.refused,
        builds=_builds(run, opened),
    )


def _builds(run: Run, opened: Opened) -> tuple[Build, ...]:
    """How each release builds the result; none where the target has no releases, or nothing to type."""
    if opened.trt is None or run.target.builds is None:
        return ()
    return run.target.builds(opened.trt, half=opened.has_half, asked=run.config.trt)


def finished(run: Run, opened: Opened, written: Finished) -> Report:
    """The report as far as a model that is about to be written says it.

    Raises:
        ModelError: The release asked for does not read the opset that the float type needs.
    """
    opset = opset_of(written.model)
    release = release_of(run, opened, opset)
    return replace(
        planned(run, replace(opened, trt=release)),
        opset=opset,
        float_rest=written.rest,
        integers=dict(integer_ends(written.model)),
    )


def calibrated(
    config: QuantizeConfig, samples: Samples | None, observed: Observation, plan: Plan, ranges: Ranges
) -> Calibration | None:
    """How the ranges were found; None where nothing needed one."""
    if not ranges.groups:
        return None
    used = config.ranges.method == "percentile"
    preprocessing = samples.every.preprocessing if samples else None
    return Calibration(
        method=config.ranges.method,
        percentile=config.ranges.percentile if used else None,
        samples=observed.samples,
        batch_size=samples.batches.batch_size if samples and not observed.from_cache else 0,
        tensors=len(observed.histograms),
        cache=str(config.ranges.cache) if config.ranges.cache else None,
        from_cache=observed.from_cache,
        preprocessing=observed.preprocessing,
        assumed=preprocessing is not None and preprocessing.assumed,
        manual_ranges=ranges.manual,
        judged=sum(len(group.tensors) for group in plan.groups if group.judged),
        provider=observed.provider,
    )


def sample_shapes(opened: Opened, config: QuantizeConfig, samples: Samples | None) -> dict[str, tuple[int, ...]]:
    """Return input -> shape of one sample, for the inputs whose shape the model leaves open.

    Sizes come from the model, from `--input-shape`, then from the first sample; an input with a size that none of them
    says is left out.
    """
    declared = input_specs(opened.prepared.model)
    specs = with_shapes(declared, parse_input_shapes(config.data.input_shape, declared))
    first = samples.every.shapes(0) if samples is not None and len(samples.every) else [None] * len(specs)
    found: dict[str, tuple[int, ...]] = {}
    for before, spec, shape in zip(declared, specs, first, strict=True):
        known = shape if shape is not None and len(shape) == spec.rank else (1, *spec.shape[1:])[: len(spec.shape)]
        dims = [dim if isinstance(dim, int) else size for dim, size in zip(spec.shape, known, strict=True)]
        if not all(isinstance(dim, int) for dim in before.shape) and all(isinstance(dim, int) for dim in dims):
            found[spec.name] = tuple(dim for dim in dims if isinstance(dim, int))
    return found


def predicted(run: Run, opened: Opened, model: ir.Model, samples: Samples | None) -> Prediction | None:
    """Say what the target is predicted to make of a result; None where nobody knows."""
    predictor = run.target.predictor
    return None if predictor is None else predictor.predict(model, sample_shapes(opened, run.config, samples))


def require_form(config: QuantizeConfig, target: Target) -> None:
    """Refuse what a target does not read, and what asks for a prediction that it has not.

    Raises:
        UsageError: One of these is asked for.
    """
    for option, asked, known in (
        ("--weights", config.weight_form.value, [form.value for form in target.weight_forms]),
        ("--form", config.form.value, [form.value for form in target.forms]),
    ):
        if asked not in known:
            beside = "" if config.plan.type is QuantType.INT8 else f" in {target.type_title}"
            raise UsageError(f"{target.title} does not read {option} {asked}{beside}.", f"It reads {', '.join(known)}.")
    if config.cpu is not Cpu.AUTO and target.processor is None:
        raise UsageError(
            f"--cpu names a processor, and {target.title} has none to choose.", "It goes with --target onnxruntime."
        )
    if config.plan.integer_io and (not target.integer_io or config.float_type not in (None, FloatType.FP32)):
        reason = (
            f"{target.title} is given floats" if not target.integer_io else "--float-type leaves no Q at the inputs"
        )
        raise UsageError(f"--integer-io has no meaning here: {reason}.", "Take --target onnxruntime or openvino.")
    if config.float_type is not None and config.float_type not in target.float_types:
        raise UsageError(
            f"{target.title} computes nothing on integers beside {config.float_type.value.upper()}.",
            "Leave --float-type out.",
        )
    _require_units(config, target)
    if config.trt is not None and target.release is None:
        raise UsageError(
            f"--trt names a release of TensorRT, and the model is quantized for {target.title}.", "Leave --trt out."
        )
    if config.min_int8_macs is not None and target.predictor is None:
        raise UsageError(
            f"--min-int8-macs needs a prediction of what operators cost, and there is none for {target.title}.",
            "Leave it out; --min-speedup measures on this CPU.",
        )


def _require_units(config: QuantizeConfig, target: Target) -> None:
    """Refuse a GPU that has no units for the types of a target, and one beside a target that runs on no GPU.

    Raises:
        UsageError: That is so.
    """
    if config.gpu is not None and target.runtime:
        raise UsageError(
            f"--gpu names a GPU, and what is quantized for {target.title} runs on the CPU.", "Leave --gpu out."
        )
    if config.gpu is not None and target.gpus and config.gpu not in target.gpus:
        raise UsageError(
            f"{config.gpu.value} has no units for {target.type_title}.",
            f"Take --type int8, or quantize for {any_of([gpu.value for gpu in target.gpus])}.",
        )


def release_of(run: Run, opened: Opened, opset: int) -> TensorRT | None:
    """Return the oldest release that reads the result; None where the target has none.

    What no release reads says nothing about which one to take.

    Args:
        run: The run.
        opened: The model; its release is not read.
        opset: Opset of the result.

    Raises:
        ModelError: The release asked for does not, or the opset is above all that the target reads.
    """
    config, target = run.config, run.target
    if target.release is not None:
        oldest = target.release(opset, half=opened.has_half, weights=config.weight_form, asked=config.trt)
        barred = {release for entry in opened.refused if entry.since for release in entry.releases}
        reading = [release for release in list(TensorRT)[list(TensorRT).index(oldest) :] if release not in barred]
        return reading[0] if reading and config.trt is None else oldest
    if target.highest_opset is not None and opset > target.highest_opset:
        raise ModelError(
            f"{target.title} reads opset {target.highest_opset} at most, and the model has opset {opset}.",
            f"Export the model with opset {target.highest_opset}.",
        )
    return None


def form_of(run: Run, prepared: Preparation) -> FloatForm | None:
    """Say how what is not quantized is written; None where it stays as it is.

    TensorRT 11 has no precision flags: what the file has in FP32 runs in FP32 there.

    Raises:
        ModelError: The model is FP16 or BF16 already, and another type was asked for.
    """
    config = run.config
    default = FloatType.FP16 if config.trt is TensorRT.V11 else FloatType.FP32
    forms = config.scale_type, config.keep_io_types
    form = wanted_form(prepared.model, config.model, config.float_type, default, forms)
    if form is None and config.float_type not in (None, FloatType.FP32):
        kind = config.float_type.value
        run.say(f"{config.model} has {kind.upper()} weights or inputs already, so --float-type {kind} changes nothing.")
    return form


def quantized_in_part(plan: Plan) -> tuple[str, ...]:
    """Say how much of a model came with Q/DQ already, where some did; it is part of what results are held against."""
    kept = {skip.node for skip in plan.skips if skip.code == "ALREADY_QUANTIZED" and skip.op_type in _WEIGHTED}
    if not kept:
        return ()
    return (
        f"The model is quantized in part already: {len(kept)} of {count_text(plan.weighted, 'weighted operator')} keep "
        "the Q/DQ they came with, and verification compares with the model as it came.",
    )


def require_floats(opened: Opened, target: Target) -> None:
    """Refuse a model whose floats keep a target from computing anything on integers.

    Raises:
        ModelError: It is FP16 or BF16, and the target wants FP32 around integers.
    """
    if opened.has_half and FloatType.FP16 not in target.float_types and opened.plan.quantized:
        raise ModelError(
            f"{opened.source.path} is FP16 or BF16, and {target.title} computes nothing on integers beside these.",
            "Give the FP32 model.",
        )


def note_of_opset(opened: Opened) -> tuple[str, ...]:
    """Say that the result has an older opset than the model, where it has one."""
    prepared = opened.prepared
    if opened.already_quantized or prepared.opset >= prepared.opset_before:
        return ()
    opset = prepared.opset
    return (
        f"Nothing in the model needs an opset above {opset}, so the result has opset {opset} instead of "
        f"{prepared.opset_before}: ONNX Runtime's default session does not run every Q/DQ model of a newer one.",
    )


def unmet_macs(prediction: Prediction | None, least: float | None, title: str) -> LimitError | None:
    """Hold the share of the multiply-accumulates in a type against `--min-int8-macs`; return what is wrong."""
    share = None if prediction is None else prediction.quantized_macs_percent
    if least is None or (share is not None and share >= least):
        return None
    unknown = f"The share of the MACs in {title} is not known"
    found = unknown if share is None else f"{share:.2f} % of the MACs run in {title}"
    return LimitError(
        f"{found}; --min-int8-macs is {least:g} %.",
        "The model was not written. qdq inspect ranks the layers that stay float by what they cost.",
    )


def why_nothing(report: Report) -> str:
    """Say why nothing of a model is quantized, in a part of a sentence."""
    if not report.weighted_ops.total:
        return "it has no Conv, ConvTranspose, Gemm or MatMul"
    reasons = Counter(f"{skip.op_type}: {skip.reason}" for skip in report.skips if _is_weighted(skip))
    return some_of([f"{number} x {reason}" for reason, number in reasons.most_common()], most=2)


def _is_weighted(skip: Skip) -> bool:
    return skip.op_type in _WEIGHTED or skip.code == OPTIMIZER_MADE


def require_something_to_judge(config: QuantizeConfig, report: Report) -> None:
    """Refuse limits on accuracy alone where nothing is quantized: a float model meets every one of them.

    Raises:
        UsageError: That is so.
    """
    asked = (config.verify.gates or config.min_speedup is not None) and config.min_int8_macs is None
    if asked and not report.weighted_ops.quantized:
        raise UsageError(
            f"Nothing of {config.model} is quantized, so --min-sqnr, --min-agreement and --min-speedup have nothing to "
            "judge: "
            f"{why_nothing(report)}.",
            "Say with --min-int8-macs how much has to be in INT8; qdq quantize --dry-run -v lists every reason.",
        )


_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
