"""What a run of tuning is asked for: checked before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qdq_cli.config.build import DEFAULT_GPU, GPUS
from qdq_cli.config.forms import Gpu, QuantType
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.tune import BUILT, MEASURED, TuneConfig
from qdq_cli.process.errors import DataError, UsageError
from qdq_cli.screen.sentences import any_of
from qdq_cli.sensitivity.evaluate import check_command
from qdq_cli.targets.known import TARGETS, types_on


def second_best(config: QuantizeConfig) -> Path:
    """Where the best goes that was found, where it misses the target."""
    return config.destination.with_name(f"{config.destination.stem}.best{config.destination.suffix}")


def kept_aside(config: QuantizeConfig) -> QuantizeConfig:
    """How the best is written where it misses the target: without limits and under another name."""
    verify = replace(config.verify, min_sqnr=None, min_agreement=None)
    return replace(config, output=second_best(config), verify=verify)


def require_sense(config: TuneConfig) -> None:
    """Refuse what asks for nothing or contradicts itself.

    Raises:
        UsageError: There is no target, or --eval and --max-drop are not together.
        DataError: There are no samples.
    """
    if (config.evaluation is None) != (config.max_drop is None):
        given, missing = ("--eval", "--max-drop") if config.max_drop is None else ("--max-drop", "--eval")
        raise UsageError(f"{given} needs {missing}.", "The one measures the model, the other says what it may lose.")
    if config.evaluation is not None:
        check_command(config.evaluation)
    elif not config.quantize.verify.gates:
        raise UsageError("There is no target.", "Give --min-sqnr, --min-agreement, or --eval with --max-drop.")
    if config.quantize.exclude_after_recovery:
        raise UsageError(
            "--exclude-after-recovery names what tuning chooses by itself.", "Leave it out, or give --exclude."
        )
    if config.cost == BUILT and config.gpu is not None and config.gpu not in GPUS:
        raise UsageError(f"NVIDIA's compiler builds nothing for {config.gpu} here.", f"It builds for {any_of(GPUS)}.")
    if not config.quantize.data.has_samples:
        raise DataError("No calibration data was given.", "Give a folder of images or arrays with --calib.")


def gpu_of(config: TuneConfig) -> Gpu:
    """Return the GPU that types are chosen for."""
    return Gpu(config.gpu or DEFAULT_GPU)


def types_of(config: TuneConfig) -> tuple[QuantType, ...]:
    """Return the types to choose from for each operator: those named, else all that the named GPU has.

    None where neither is named, or one type is: tuning leaves operators float then.

    Raises:
        UsageError: Types are to be chosen, and something else decides about them, or nobody predicts their time.
    """
    quantize = config.quantize
    fixed = quantize.plan.type is not QuantType.INT8 or bool(quantize.plan.type_of)
    if config.types and fixed:
        raise UsageError("--types lets qdq tune choose what --type and --type-of say.", "Leave one of them out.")
    if config.types:
        found = config.kinds
    elif config.gpu is None or fixed:
        return ()
    else:
        found = types_on(quantize.target, Gpu(config.gpu), quantize.trt)
    if config.types and TARGETS[quantize.target].seconds is None:
        raise UsageError(
            f"--types chooses by the time on a GPU, and what is quantized for {TARGETS[quantize.target].title} runs on "
            "the CPU.",
            "Leave --types out, or quantize for tensorrt or tensorrt-rtx.",
        )
    if len(found) > 1 and config.cost == MEASURED:
        raise UsageError(
            "--cost measured times results on this CPU, and types are chosen for a GPU.", "Leave it out, or --gpu."
        )
    if len(found) > 1 and config.min_int8_macs is not None:
        raise UsageError(
            "--min-int8-macs is about one type, and a type is chosen for every operator.",
            "Give --types int8, or leave it out.",
        )
    return found
