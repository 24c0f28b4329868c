"""Compare the written model with the FP32 model on samples that calibration did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from calibrators import Histogram
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.sample_keys import sample_key
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.data.batches import Batch, Group, full_runs, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.preparing.paired import Pair, paired
from qdq_cli.process.errors import LimitError, UsageError
from qdq_cli.process.progress import Listener
from qdq_cli.quantizing.default_session import DefaultRun, judged
from qdq_cli.quantizing.limits import held_limits
from qdq_cli.quantizing.low import reasons_of
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.quantizing.report import Verification
from qdq_cli.running.runner import Outputs, Runner
from qdq_cli.timing.runtimes import DEFAULT_RUNTIME, missing


@dataclass(frozen=True)
class Result:
    """What is known of a Q/DQ model besides its file.

    Args:
        opset: Its opset.
        calibrated: Keys of the samples that a cache was calibrated on, wherever that was.
        seen: Tensor -> what calibration saw of it.
        samples: How many samples calibrated.
        twin: File that is run in its place where ONNX Runtime's CPU does not run its float type, or runs it in FP32.
        by_default: Whether its default session is looked at too.
        natively: Whether a twin is wanted for a model that came in FP16 too.
        runtime: What its target runs it with on this CPU.
    """

    opset: int
    calibrated: frozenset[str] = frozenset()
    seen: Mapping[str, Histogram] = field(default_factory=dict)
    samples: int = 0
    twin: Path | None = None
    by_default: bool = True
    natively: bool = False
    runtime: str = DEFAULT_RUNTIME


def require_samples(config: VerifyConfig, samples: Samples | None) -> None:
    """Refuse limits that nothing could be held against.

    Raises:
        UsageError: A limit is set, but there are no samples or verification is off.
    """
    if config.gates and (samples is None or config.samples == 0):
        raise UsageError(
            "--min-sqnr and --min-agreement need samples to run, and there are none.",
            "Give --calib, and --verify above 0.",
        )


def verify(
    models: tuple[Path, Path],
    samples: Samples | None,
    config: VerifyConfig,
    listener: Listener,
    result: Result,
) -> Verification | None:
    """Run both models on the same samples, ONNX Runtime's graph optimisations off; None where that was not asked for.

    Samples that calibration did not see are taken; where too few could be held back for a run, calibrated ones serve.

    Args:
        models: The float model and the Q/DQ model.
        samples: The calibration data; None where there is none.
        config: How many samples.
        listener: Told about progress.
        result: What is known of the Q/DQ model.

    Raises:
        ModelError: One of the models cannot be run.
        LimitError: There is a limit, and no output that ONNX Runtime can compute.
        DataError: A sample cannot be used.
    """
    if samples is None or config.samples == 0:
        return None
    groups, unseen = verification_runs(samples, config.samples)
    runs = result.twin or models[1]
    if (pair := paired(models[0], runs)) is None:
        _require_no_limits(config)
        return None
    looks = result.by_default and not pair.cut and not missing(result.runtime)
    default = DefaultRun(models[1], runtime=result.runtime) if looks else None  # it has to know all operators
    ran = _run_both(pair, default, samples, groups, listener)
    again = partial(_once_more, pair.reference, samples, groups)
    found = _compared(ran, config, result, unseen=unseen)
    if pair.cut:
        return found
    at = {name: distance.sqnr_db for name, distance in found.outputs.items()}
    return replace(
        found,
        default_session=None if default is None else judged(default, at, models[1], result.opset, again),
        low=reasons_of(found.outputs, runs, again, result.seen, result.samples),
    )


def _compared(ran: _Ran, config: VerifyConfig, result: Result, *, unseen: bool) -> Verification:
    """Say how far the outputs are apart, and whether the limits hold; `unseen`: none of the samples calibrated."""
    distances, rows = ran.outputs.distances(), ran.outputs.rows()
    return Verification(
        len(ran.keys),
        unseen and result.calibrated.isdisjoint(ran.keys),
        distances,
        ran.outputs.not_compared(),
        rows=rows,
        twin=result.twin is not None,
        limits=held_limits(distances, config, rows),
    )


@dataclass(frozen=True)
class _Ran:
    """What came of running both models.

    Args:
        outputs: How far apart they are.
        keys: The key of every sample that was run.
    """

    outputs: OutputMeter
    keys: tuple[str, ...]


def _run_both(
    pair: Pair, default: DefaultRun | None, samples: Samples, groups: Sequence[Group], listener: Listener
) -> _Ran:
    """Run both models on the samples, and the default session beside them."""
    unreadable = UnreadableSamples(len(samples.every))
    outputs, keys = OutputMeter(), list[str]()
    with listener.progress("verifying", len(groups)) as advance:
        for number, group in enumerate(groups, start=1):
            batch = load_readable_batch(samples.every, group, unreadable)
            if batch is not None:
                expected = pair.reference.run(batch)
                outputs.observe(expected, pair.candidate.run(batch), batch)
                if default is not None:
                    default.observe(expected, batch)
                keys += [sample_key(samples.every.identity(index)) for index in batch.indices]
            advance(number, len(groups))
    return _Ran(outputs, tuple(keys))


def _once_more(reference: Runner, samples: Samples, groups: Sequence[Group]) -> Iterator[tuple[Outputs, Batch]]:
    """The outputs of the FP32 model on the samples, batch by batch."""
    unreadable = UnreadableSamples(len(samples.every))
    for group in groups:
        batch = load_readable_batch(samples.every, group, unreadable)
        if batch is not None:
            yield reference.run(batch), batch


def _require_no_limits(config: VerifyConfig) -> None:
    """Refuse limits where no output can be computed.

    Raises:
        LimitError: There is one.
    """
    if config.gates:
        raise LimitError(
            "No output can be held against a limit: all of them lie behind operators that ONNX Runtime does not know.",
            "Leave --min-sqnr and --min-agreement out.",
        )


def verification_runs(samples: Samples, count: int) -> tuple[tuple[Group, ...], bool]:
    """Return the runs to compare on, at least one, and whether calibration did not see their samples.

    A model with a fixed batch takes samples of equal shape only, and leaves over some of those that should calibrate;
    they are as good as those that were held back. Where all of these do not fill a run, runs that calibrated serve.
    """
    ran = {index for group in samples.batches.groups for index in group}
    left_over = [index for index in samples.selection.calibration if index not in ran]
    unseen = full_runs(samples.every, (*samples.selection.held_back, *left_over))
    chosen: list[Group] = []
    for group in unseen or full_runs(samples.every, samples.selection.calibration):
        if chosen and sum(map(len, chosen)) + len(group) > count:
            break
        chosen.append(group)
    return tuple(chosen), bool(unseen)
