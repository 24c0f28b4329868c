"""One share of a calibration, from the model's file to its table: what `qdq calibrate` runs here or on Dask workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from calibrators import CalibrationTable, Extremes, Histogram
from qdq_cli.calibrating.calibration_data import Samples, open_every
from qdq_cli.calibrating.judged import looked_at
from qdq_cli.calibrating.magnitudes import extremes_to_watch
from qdq_cli.calibrating.observing import Job, run_samples
from qdq_cli.calibrating.sample_keys import SampleKeys
from qdq_cli.calibrating.stored import portrait_for, table_of, with_groupings
from qdq_cli.config.calibrate import CalibrateConfig, Shard
from qdq_cli.data.batches import Group, plan_batches
from qdq_cli.data.doubts import Doubt
from qdq_cli.data.fitness import Expectations
from qdq_cli.data.inputs import batch_axis
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.data.values import SampleValues
from qdq_cli.model import files
from qdq_cli.model.quantized import already_quantized, holds_quantization
from qdq_cli.placement.optimized import require_originals, warnings_about
from qdq_cli.placement.plan import make_plan
from qdq_cli.placement.target import Target
from qdq_cli.placement.topology import float_tensors
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import ModelError
from qdq_cli.process.interrupts import Stop, hearing_by_asking, insist, never
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.running.session import cores
from qdq_cli.running.unknown import notes_about
from qdq_cli.targets.known import plans_for_others, serving, target_for


@dataclass(frozen=True)
class Share:
    """What one share found.

    Args:
        table: The histograms of its samples.
        known: Files of the samples it left out because they had been counted before, each once.
        left: Samples it was stopped before; None for some whose number is not known.
        batch_size: Samples a run.
        notes: Sentences the user should read.
        assumed: Whether nobody chose the preprocessing.
        rows: Rows of the samples of all shares, counted as `Samples.rows` does.
        doubts: What made the samples look unfit before any was read.
        values: What the samples held.
        expectations: What is known of the values the inputs take.
    """

    table: CalibrationTable
    known: tuple[str, ...] = ()
    left: int | None = 0
    batch_size: int = 1
    notes: tuple[str, ...] = ()
    assumed: bool = False
    rows: int = 0
    doubts: tuple[Doubt, ...] = ()
    values: SampleValues = field(default_factory=SampleValues)
    expectations: Expectations = field(default_factory=Expectations)


def open_job(config: CalibrateConfig, listener: Listener = SILENT, target: Target | None = None) -> Job:
    """Load and prepare the model, and choose the tensors.

    Args:
        config: What to do.
        listener: Told about notes.
        target: What the model will be quantized for, where it is none of those that `config.target` can name.

    Raises:
        ModelError: The model cannot be read or prepared.
        UsageError: A placement option matches nothing, or the cache would replace weights of the model.
    """
    target = target or target_for(config.target, config.plan)
    source = files.load(config.model)
    quantized = holds_quantization(source.model)
    files.check_not_read(config.destination, source.data_files)
    prepared = prepare(source.model, source.proto, lowest=target.lowest_opset, copy=False)
    plan = make_plan(prepared.model, target, config.plan)
    others = plans_for_others(plan, prepared.model, config.plan) if config.every_target else ()
    plan = serving(plan, others)
    for note in (*prepared.notes, *notes_about(prepared.unknown), *plan.notes):
        listener.note(note)
    tensors = float_tensors(prepared.model.graph) if config.all_tensors else plan.calibrated
    if not plan.quantized and not config.all_tensors:
        require_originals(source.path, prepared.model, plan)
        raise already_quantized(source.path) if quantized else _nothing_to_observe(config)
    for warning in warnings_about(prepared.model, target):
        listener.warning(warning)
    extremes = extremes_to_watch(prepared.model, tensors)
    readers = looked_at(prepared.model, plan, *others)
    return Job(prepared.model, tensors, (target, config.plan), extremes=extremes, readers=readers)


def _nothing_to_observe(config: CalibrateConfig) -> ModelError:
    return ModelError(
        f"Nothing of {config.model} is quantized, so there is no tensor to observe.",
        "List the reasons with qdq quantize --dry-run -v, or observe every tensor with --all-tensors.",
    )


def open_share(job: Job, config: CalibrateConfig) -> Samples:
    """Open the samples of one share.

    Raises:
        DataError: There are none, or they do not fit the model's inputs.
        UsageError: Options contradict each other or the model.
    """
    return share_of(open_every(job.model, config.data), config.shard)


def empty_table(job: Job, feeding: str) -> CalibrationTable:
    """Make the table a job begins with, for samples that become inputs in the way `feeding` says."""
    nothing = dict.fromkeys(job.extremes, Extremes())
    return table_of(job.model, {name: Histogram() for name in job.tensors}, feeding, (), extremes=nothing)


def observe_share(
    job: Job, samples: Samples, known: frozenset[str] = frozenset(), listener: Listener = SILENT, stop: Stop = never
) -> Share:
    """Run samples and make their table.

    Args:
        job: The model and the tensors.
        samples: The data, as `open_share` opens it.
        known: Keys of samples that were counted before; they are left out.
        listener: Told about progress and notes.
        stop: Ends early; the table then holds exactly the samples that were finished.

    Raises:
        DataError: The samples cannot be used.
        ModelError: The model cannot be run.
    """
    for note in samples.notes:
        listener.note(note)
    keys = SampleKeys(samples.every, samples.selection.calibration, listener, stop)
    rest, left_out = _without(samples, known, keys, listener, stop) if known else (samples, ())
    seen = run_samples(job, rest, listener, keys=keys, stop=stop)
    for note in seen.notes:
        listener.note(note)
    chosen = samples.every.preprocessing
    portrait = portrait_for(job.model, samples)
    table = table_of(job.model, seen.histograms, samples.feeding, seen.keys, portrait, seen.extremes)
    return Share(
        table=table if job.placement is None else with_groupings(table, job.model, *job.placement),
        known=left_out,
        left=seen.left,
        batch_size=samples.batches.batch_size,
        notes=(*samples.notes, *seen.notes),
        assumed=chosen is not None and chosen.assumed,
        rows=samples.rows(),
        doubts=samples.every.doubts,
        values=seen.values,
        expectations=samples.expectations,
    )


def share_of(samples: Samples, shard: Shard) -> Samples:
    """Every N-th run of the samples.

    Runs, not samples, are dealt out, so that every run is composed as it would be without shares: the outputs of a
    model can depend, in the last bit, on what else is in a batch.
    """
    groups = samples.batches.groups[shard.number - 1 :: shard.total]
    return replace(samples, batches=replace(samples.batches, groups=groups))


def _without(
    samples: Samples, known: frozenset[str], keys: SampleKeys, listener: Listener, stop: Stop
) -> tuple[Samples, tuple[str, ...]]:
    """Leave out the samples whose key is known; returns the rest, and the files that were left out."""
    indices = [index for group in samples.batches.groups for index in group]

    def is_known(index: int) -> bool:
        try:
            return not stop() and keys.of(index) in known
        except UnreadableSampleError:
            return False  # whether it may be left out is decided when it should be run

    sources: dict[int, str] = {}
    progress = listener.progress("looking for new samples", len(indices))
    with hearing_by_asking(), ThreadPoolExecutor(cores()) as pool, progress as advance:
        for number, (index, found) in enumerate(zip(indices, pool.map(is_known, indices), strict=True), 1):
            insist()
            if found:
                sources[index] = samples.every.name(index)
            advance(number, len(indices))
    groups = _regrouped(samples, frozenset(sources))
    return replace(samples, batches=replace(samples.batches, groups=groups)), tuple(sources.values())


def _regrouped(samples: Samples, left_out: frozenset[int]) -> tuple[Group, ...]:
    """The runs without some samples: composed as they were, or made anew where a run must be full and no longer is."""
    rest = [tuple(index for index in group if index not in left_out) for group in samples.batches.groups]
    groups = tuple(group for group in rest if group)
    full = batch_axis(samples.every.specs).size
    if full is None or set(groups) <= set(samples.batches.groups):
        return groups
    indices = [index for group in groups for index in group]
    return plan_batches(samples.every, indices, samples.batches.batch_size).groups
