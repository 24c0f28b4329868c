"""Run calibration samples through the float model, keep the histograms, and account for every sample that was run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from calibrators import Extremes, Histogram
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.pieces import Pieces
from qdq_cli.calibrating.sample_keys import SampleKeys
from qdq_cli.config.placement import PlanConfig
from qdq_cli.data.batches import Batch, Group, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.data.values import SampleValues
from qdq_cli.model.linear import Linear
from qdq_cli.placement.target import Target
from qdq_cli.process.interrupts import Stop, never
from qdq_cli.process.progress import Listener
from qdq_cli.running import runner
from qdq_cli.running.watched import Watched


@dataclass(frozen=True)
class Job:
    """What samples are run for.

    Args:
        model: The prepared float model.
        tensors: Names of what to observe.
        placement: What it is quantized for and what `qdq quantize` is told to quantize of it, for the table that is
            made of this.
        threads: Threads to run on; None: one a core.
        extremes: Names of what only the smallest and the largest value is wanted of.
        readers: Names of those of the tensors that pieces are wanted of, with the operators that read them.
    """

    model: ir.Model
    tensors: Sequence[str]
    placement: tuple[Target, PlanConfig] | None = None
    threads: int | None = None
    extremes: Sequence[str] = ()
    readers: Mapping[str, Sequence[Linear]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What was run.

    Args:
        histograms: Tensor name -> histogram of exactly the samples below.
        samples: How many.
        keys: Key of each (`sample_key`), where they were asked for.
        notes: Sentences the user should read: what was left out and why.
        left: Samples that were not begun because the run was to end early.
        values: What the samples held.
        extremes: Tensor name -> its smallest and largest value in exactly the samples.
    """

    histograms: Mapping[str, Histogram]
    samples: int
    keys: frozenset[str]
    notes: tuple[str, ...]
    left: int = 0
    values: SampleValues = field(default_factory=SampleValues)
    extremes: Mapping[str, Extremes] = field(default_factory=dict)


def run_samples(
    job: Job, samples: Samples, listener: Listener, *, keys: SampleKeys | None = None, stop: Stop = never
) -> Seen:
    """Run the calibration samples through the prepared float model and count the values of the job's tensors.

    Args:
        job: The model and the tensors.
        samples: The calibration data.
        listener: Told about progress.
        keys: The keys of the samples, where those of the samples that were run are wanted.
        stop: Asked before every run; runs under way are finished and counted, and no more are begun.

    Raises:
        DataError: A sample cannot be used.
        ModelError: The model cannot be run, or makes NaN or Inf.
    """
    if job.readers and keys is None:
        keys = SampleKeys(samples.every, samples.selection.calibration)
    wanted = set(job.tensors)
    readers = {name: linears for name, linears in job.readers.items() if name in wanted}
    loader = _Loader(samples, keys, stop, looked=bool(readers))
    pieces = Pieces(readers, loader.keys_of) if readers else None
    groups = samples.batches.groups
    with listener.progress("calibrating", len(groups)) as advance:
        tell = _told(advance, listener, stop)
        watched = Watched(job.tensors, job.extremes, pieces)
        found = runner.observe(job.model, watched, groups, loader.load, threads=job.threads, on_batch=tell)
    listener.detail(f"observed {found.way}")
    if pieces is not None:
        pieces.add_to(found.histograms)
    notes = tuple(loader.notes())
    return Seen(
        found.histograms, loader.samples, frozenset(loader.keys), notes, loader.left, loader.values, found.extremes
    )


def _told(advance: runner.Progress, listener: Listener, stop: Stop) -> runner.Progress:
    """Tell progress until the run is to end early; from then on it would only count what is left out."""
    stopping = False

    def tell(done: int, total: int) -> None:
        nonlocal stopping
        if stop() and not stopping:
            stopping = True
            listener.note("Stopping; what is under way is finished first.")
        if not stopping:
            advance(done, total)

    return tell


class _Loader:
    """Reads batches, and counts the samples of those it hands out: what is handed out is run, or the run fails."""

    def __init__(self, samples: Samples, keys: SampleKeys | None, stop: Stop, *, looked: bool) -> None:
        self.samples = 0
        self.left = 0
        self.keys: set[str] = set()
        self.values = SampleValues()
        self._data = samples
        self._stop = stop
        self._keys = keys
        self._unreadable = UnreadableSamples(len(samples.selection.calibration))
        self._lock = threading.Lock()
        self._looked = looked  # keys are asked for behind each run
        self._under_way: dict[Group, list[str]] = {}

    def load(self, group: Group) -> Batch | None:
        """Read one batch; None where nothing of it can be run, or where the run is to end early."""
        if self._stop():
            with self._lock:
                self.left += len(group)
            return None
        batch = load_readable_batch(self._data.every, group, self._unreadable)
        if batch is None:
            return None
        found = [] if self._keys is None else [self._keys.of(index) for index in batch.indices]
        with self._lock:
            varied = self.values.varied
        values = SampleValues.of(batch, varied)
        with self._lock:
            self.values.merge(values)
            self.samples += batch.samples
            self.keys.update(found)
            if self._looked:
                self._under_way[batch.indices] = found
        return batch

    def keys_of(self, batch: Batch) -> list[str]:
        """The keys of the samples of a batch that was just run; asked once."""
        with self._lock:
            return self._under_way.pop(batch.indices)

    def notes(self) -> list[str]:
        """What was left out."""
        found = [self._unreadable.note()] if self._unreadable.errors else []
        if self._keys is not None and (equal := self._keys.equal):
            found.append(f"{len(equal)} samples hold the same as others, such as {equal[0]}; each of them counts.")
        plan = self._data.batches
        if plan.dropped:
            found.append(f"{plan.dropped} samples were left over: the model takes exactly {plan.batch_size} a run.")
        return found
