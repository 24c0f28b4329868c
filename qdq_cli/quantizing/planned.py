"""What planning says of a model: the report as far as a dry run goes, and what a target does not read."""

from __future__ import annotations

from qdq_cli.config.forms import Cpu, FloatType, QuantType, TensorRT
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.target import Build, Target
from qdq_cli.preparing.prepare import Preparation
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import ModelError, UsageError
from qdq_cli.quantizing.float_form import FloatForm, wanted_form
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.report import Activations, Report, Seconds, SizeBytes, WeightedOps
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.sentences import any_of, count_text


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
        predicted=None,
        size_bytes=SizeBytes(opened.source.size_bytes, None),
        seconds=Seconds(),
        targets=plan.targets,
        weights=plan.weights,
        groups=plan.groups,
        already_quantized=opened.already_quantized,
        target=run.target.name,
        activation_type=run.target.activation_type,
        weight_type=run.target.weight_type,
        processor=None if run.target.processor is None else run.target.processor.value,
        refused=opened.refused,
        builds=_builds(run, opened),
    )


def _builds(run: Run, opened: Opened) -> tuple[Build, ...]:
    """How each release builds the result; none where the target has no releases, or nothing to type."""
    if opened.trt is None or run.target.builds is None:
        return ()
    return run.target.builds(opened.trt, half=opened.has_half, asked=run.config.trt)


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
            beside = "" if config.plan.type is QuantType.INT8 else f" for {target.type_title}"
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
    _require_macs(config, target)


def _require_macs(config: QuantizeConfig, target: Target) -> None:
    """Refuse a limit on the work in a type where nothing computes in it, or nobody knows how much does.

    Raises:
        UsageError: That is so.
    """
    if config.min_int8_macs is not None and target.weights_alone:
        raise UsageError(
            f"--min-int8-macs has no meaning beside {target.type_title}: everything is computed in float.",
            "Leave it out.",
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
    for part in target.parts or (target,):
        if config.gpu is not None and part.gpus and config.gpu not in part.gpus:
            raise UsageError(
                f"{config.gpu.value} has no units for {part.type_title}.",
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
    kept = {skip.node for skip in plan.skips if skip.code == "ALREADY_QUANTIZED" and skip.op_type in WEIGHTED}
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


WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Weighted operators: what of a model can be quantized."""
