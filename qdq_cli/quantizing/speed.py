"""How fast a result is beside the float model, and whether that meets the limit of the user."""

from __future__ import annotations

from pathlib import Path

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.config.forms import Cpu
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.data.batches import Batch, Group, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.placement.target import Target
from qdq_cli.process.errors import ModelError, UsageError
from qdq_cli.quantizing.run import Run
from qdq_cli.quantizing.verification import verification_runs
from qdq_cli.targets.onnxruntime.processors import written_for_this
from qdq_cli.timing.measure import Effort
from qdq_cli.timing.models import time_models
from qdq_cli.timing.record import Speed
from qdq_cli.timing.runtimes import DEFAULT_RUNTIME, missing

EFFORT = Effort(seconds=3.0)
"""A few seconds behind a run that takes longer, and the least number of rounds for models that need more."""

MORE_EFFORT = Effort(seconds=5.0, least=15, most=401)
"""Where speed is what was asked for."""

_ON_ANOTHER = "The result is written for {cpu} processors; its speed on this one says nothing of that there."
_ELSEWHERE = "The result is placed for {title}; its speed in ONNX Runtime on a CPU says nothing of that there."


def is_timed(config: QuantizeConfig, target: Target) -> bool:
    """Say whether a run times its result: where that was asked for, else where the target runs on this CPU.

    A model that is placed for a GPU, or for processors of another kind, is slower on this CPU than in FP32, as a rule.
    That is no news of it, so it is told to those alone who ask.
    """
    if config.min_speedup is not None:
        return True
    runs_here = bool(target.runtime) and not _is_for_another(target)
    return config.time if config.time is not None else runs_here and bool(config.verify.samples)


def _is_for_another(target: Target) -> bool:
    """Say whether a result is for processors of another kind than this one: ARM, or x86."""
    return target.processor is not None and (target.processor is Cpu.ARM) != (written_for_this() is Cpu.ARM)


def require_samples_to_time(config: QuantizeConfig, samples: Samples | None, target: Target) -> None:
    """Refuse to time models that nothing can be fed, or nothing can run.

    Raises:
        UsageError: It was asked for, or is a limit, and there are no samples, or the target's runtime is not installed.
    """
    if (config.time or config.min_speedup is not None) and (install := missing(target.runtime)):
        raise UsageError(f"Results for {target.title} are timed in it, and it is not installed.", install)
    if samples is None and (config.time or config.min_speedup is not None):
        asked = "--time" if config.min_speedup is None else "--min-speedup"
        raise UsageError(f"{asked} needs a sample to run, and there is none.", "Give --calib.")


def measured(run: Run, models: tuple[Path, Path], samples: Samples | None) -> Speed | None:
    """Time the float model and the result; None where that was not asked for, and where one of them does not run.

    Args:
        run: The run.
        models: Both.
        samples: The calibration data; the first run of those held back is taken.

    Raises:
        DataError: A sample cannot be used.
    """
    if samples is None or not is_timed(run.config, run.target):
        return None
    if install := missing(run.target.runtime):
        run.say(f"{run.target.title} is not installed, so nothing was run or timed in it: {install}")
        return None
    batch = first_batch(samples, verification_runs(samples, 1)[0])
    if batch is None:
        return None
    asked = run.config.time or run.config.min_speedup is not None
    try:
        effort = MORE_EFFORT if asked else EFFORT
        speed = time_models(models, batch, run.target.runtime or DEFAULT_RUNTIME, effort, listener=run.listener)
    except ModelError as error:
        run.say(f"Speed was not measured. {error.message}")
        return None
    if not run.target.runtime:
        run.say(_ELSEWHERE.format(title=run.target.title))
    elif _is_for_another(run.target):
        run.say(_ON_ANOTHER.format(cpu="ARM" if run.target.processor is Cpu.ARM else "x86"))
    return speed


def first_batch(samples: Samples, groups: tuple[Group, ...]) -> Batch | None:
    """Return the first of some runs whose samples can be read; None where there is none."""
    unreadable = UnreadableSamples(len(samples.every))
    batches = (load_readable_batch(samples.every, group, unreadable) for group in groups)
    return next((batch for batch in batches if batch is not None), None)
