"""`qdq calibrate` on one page: open the model, observe the samples here or on a cluster, merge with the file, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from calibrators import CalibrationTable, read_cache, write_cache
from qdq_cli.calibrating.feeding import describe_feeding
from qdq_cli.calibrating.merging import join
from qdq_cli.calibrating.shares import Share, empty_table, observe_share, open_job, open_share
from qdq_cli.calibrating.stored import provider_of
from qdq_cli.config.calibrate import CalibrateConfig
from qdq_cli.config.execution import ON_CPU
from qdq_cli.data.doubts import ENOUGH_SAMPLES, Doubt, few_samples, tell_doubts
from qdq_cli.model import files
from qdq_cli.placement.target import Target
from qdq_cli.process.clock import Clock
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError, InterruptedRunError, UsageError
from qdq_cli.process.interrupts import Stop, never
from qdq_cli.process.progress import SILENT, Listener, telling
from qdq_cli.running.execution import runs_as_told
from qdq_cli.running.few_samples import FewSamples, note_of_few


@dataclass(frozen=True)
class SampleCounts:
    """Samples of a run of `qdq calibrate`.

    Args:
        cache: In the calibration cache now.
        new: Counted by this run.
        known: Left out because they were in the cache before.
        left: Not reached because the run was ended early; None where that is not known.
    """

    cache: int
    new: int
    known: int
    left: int | None


@dataclass(frozen=True)
class CalibrationReport:
    """What a run of `qdq calibrate` did; also its `--json` document.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        output: Path of the calibration cache.
        fingerprint: Digest of what the model computes.
        tensors: Names of the tensors in the cache whose values were counted.
        extremes: Names of those of which it holds the smallest and the largest value alone.
        samples: How many samples, and what became of the others.
        shard: Which share of the runs ("1/1": all).
        batch_size: Samples a run.
        preprocessing: One line on how samples became inputs; "" for arrays.
        assumed: Whether nobody chose that preprocessing.
        interrupted: Whether the run was ended early.
        size_bytes: Size of the calibration cache.
        seconds: Time of each stage.
        notes: Sentences the user should read.
        provider: Execution providers of ONNX Runtime that ran the model.
        few: That few samples are in the cache; None for 64 or more.
    """

    schema_version: int
    model: str
    output: str
    fingerprint: str
    tensors: tuple[str, ...]
    samples: SampleCounts
    shard: str
    batch_size: int
    preprocessing: str
    assumed: bool
    interrupted: bool
    size_bytes: int
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    extremes: tuple[str, ...] = ()
    provider: str = ON_CPU.provider_text
    few: FewSamples | None = None


@runs_as_told
def calibrate_model(
    config: CalibrateConfig, listener: Listener = SILENT, stop: Stop = never, target: Target | None = None
) -> CalibrationReport:
    """Observe the tensors of a model on calibration samples and write the calibration cache.

    Args:
        config: What to do. `CalibrateConfig(Path("model.onnx"), data=DataConfig(calib=(Path("images"),)))` writes
            `model.qcal`, from which `quantize_model` needs no data.
        listener: Told about progress and notes; silent by default.
        stop: Asked before every run; once it says True, what is finished is written and the rest left out.
        target: What the model will be quantized for, where it is none of those that `config.target` can name.

    Returns:
        The report; `interrupted` where the run was ended early.

    Raises:
        QdqError: The file is then as it was before.
        CalibratorError: The file to append to cannot be read, or was made of another model or in another way.
    """
    clock = Clock()
    path = files.check_target(config.model, config.destination, config.data.calib)
    before = _read_before(config)
    observe = _observe_here if config.dask is None else _observe_on_cluster
    share = observe(config, before, target, (clock, listener, stop))
    _require_samples(config, share)
    counted_before = _counted_before(config, share)
    for note in counted_before:
        listener.note(note)
    table = share.table if before is None else join((str(config.destination), before), ("the new samples", share.table))
    doubts = (*few_samples(max(share.rows, table.provenance.sample_count)), *_value_doubts(config, share))
    tell_doubts(doubts, listener.warning, strict=config.data.strict)
    with clock.stage("save"):
        write_cache(table, path)
    report = _report(config, table, share, clock)
    return replace(report, notes=(*map(str, (*share.doubts, *doubts)), *share.notes, *counted_before))


def _report(config: CalibrateConfig, table: CalibrationTable, share: Share, clock: Clock) -> CalibrationReport:
    """What was done, the file being written."""
    origin = table.provenance
    return CalibrationReport(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        output=str(config.destination),
        fingerprint=origin.model,
        tensors=tuple(sorted(table.entries)),
        samples=SampleCounts(origin.sample_count, share.table.provenance.sample_count, len(share.known), share.left),
        shard=str(config.shard),
        batch_size=share.batch_size,
        preprocessing=describe_feeding(origin.preprocessing),
        assumed=share.assumed,
        interrupted=_interrupted(share),
        size_bytes=config.destination.stat().st_size,
        seconds=clock.seconds(),
        notes=share.notes,
        extremes=tuple(sorted(table.extremes)),
        provider=provider_of(table),
        few=note_of_few(origin.sample_count),
    )


def _read_before(config: CalibrateConfig) -> CalibrationTable | None:
    """The table to add to; None where a new file is made.

    Raises:
        DataError: There is no file to append to.
    """
    if not config.append:
        return None
    if not config.destination.exists():
        raise DataError(
            f"There is no calibration cache {config.destination} to append to.", "Leave --append out to make a new one."
        )
    return read_cache(config.destination)


def _observe_here(
    config: CalibrateConfig, before: CalibrationTable | None, target: Target | None, run: tuple[Clock, Listener, Stop]
) -> Share:
    """Run the share in this process; what would keep it from being merged is found before the first sample."""
    clock, listener, stop = run
    with clock.stage("prepare"), telling(listener, "preparing"):
        job = open_job(config, listener, target)
    with clock.stage("observe"):
        samples = open_share(job, config)
        known = frozenset[str]()
        if before is not None:
            join((str(config.destination), before), ("the new samples", empty_table(job, samples.feeding)))
            known = before.provenance.samples
        tell_doubts(samples.every.doubts, listener.warning, strict=config.data.strict)
        return observe_share(job, samples, known, listener, stop)


def _observe_on_cluster(
    config: CalibrateConfig, before: CalibrationTable | None, target: Target | None, run: tuple[Clock, Listener, Stop]
) -> Share:
    """Let workers run it; they find the target by its name.

    Raises:
        UsageError: The target has none that they know.
    """
    from qdq_cli.calibrating.cluster import observe_on_cluster

    if target is not None:
        raise UsageError(
            f"The workers of a cluster know targets by name, and {target.title} was handed over.",
            "Calibrate in this process, without a cluster.",
        )
    clock, listener, stop = run
    with clock.stage("observe"):
        return observe_on_cluster(config, before, listener, stop)


def _value_doubts(config: CalibrateConfig, share: Share) -> tuple[Doubt, ...]:
    """Doubt the samples by what they held; a few that are only a part of the calibration are not judged.

    Raises:
        DataError: Every input is the same in all samples.
    """
    is_part = config.append or config.shard.total > 1 or _interrupted(share)
    return () if is_part and share.values.samples < ENOUGH_SAMPLES else share.expectations.doubts(share.values)


def _counted_before(config: CalibrateConfig, share: Share) -> tuple[str, ...]:
    """Name a sample that was not counted again."""
    if not share.known:
        return ()
    return (
        f"{len(share.known)} samples are in {config.destination} already and were not counted again, such as "
        f"{share.known[0]}.",
    )


def _interrupted(share: Share) -> bool:
    """Whether some samples were not reached."""
    return share.left != 0


def _require_samples(config: CalibrateConfig, share: Share) -> None:
    """Refuse to write a file that would hold nothing new.

    Raises:
        InterruptedRunError: The run was ended before its first sample.
        DataError: All samples are in the file already.
    """
    if share.table.provenance.samples:
        return
    if _interrupted(share):
        raise InterruptedRunError(
            "Interrupted before the first sample was finished.", f"{config.destination} is as it was before."
        )
    if share.known:
        raise DataError(
            f"All {len(share.known)} samples are in {config.destination} already, such as {share.known[0]}.",
            "Append samples it has not seen, or leave --append out to calibrate anew.",
        )
