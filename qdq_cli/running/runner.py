"""Run batches through a model: observe tensors on every core, or compare the outputs of two models.

Observing runs the float graph once a batch. Every worker thread pulls the next batch, runs it on one thread of the
session all share, and counts right behind the run, while the activations are in the processor's cache. Each worker
counts into histograms of its own; merging is exact, so the result does not depend on threads or order.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from calibrators import Extremes, Histogram, NonFiniteError, warm_up
from qdq_cli.data.batches import Batch
from qdq_cli.model.finite import require_finite_weights
from qdq_cli.model.integer_io import as_taken, codes_in
from qdq_cli.process.abreast import waited_for
from qdq_cli.process.errors import ModelError
from qdq_cli.process.interrupts import hearing_by_asking, insist
from qdq_cli.running.blocks import Blocks, Laid
from qdq_cli.running.bound import BoundSession, array_for
from qdq_cli.running.execution import current
from qdq_cli.running.inside import rounds
from qdq_cli.running.not_finite import not_finite_error
from qdq_cli.running.outputs import TakeOut, taking_out
from qdq_cli.running.plain import plain
from qdq_cli.running.providers import one_run_at_a_time
from qdq_cli.running.session import SessionOptions, Source, as_model_error, cores, make_session
from qdq_cli.running.watched import Found, Looker, Watched
from qdq_cli.running.way import way_text
from qdq_cli.screen.sentences import some_of

Id = TypeVar("Id")
Progress = Callable[[int, int], None]
"""(batches done, batches in all)"""


_SURE_WORKERS = 2  # start without asking how much memory a run takes
_MEMORY_BYTES = 2 << 30  # for the tensors taken out, all workers together; more workers than that do not start
_WORTH_COMPILING = 100_000_000  # values; counting them with NumPy takes as long as loading the compiled counter
_POLL_SECONDS = 0.1  # how often progress is told; the end is noticed at once


def observe(
    model: ir.Model,
    watched: Watched,
    batches: Sequence[Id],
    load: Callable[[Id], Batch | None],
    *,
    threads: int | None = None,
    on_batch: Progress | None = None,
) -> Found:
    """Run every batch and observe tensors.

    Args:
        model: The prepared float model; left as it is, and to be left alone by `load` and `on_batch`.
        watched: Graph inputs and values that nodes of the main graph compute; floating-point.
        batches: What `load` takes, one for each run.
        load: Reads a batch; called by several threads. None where nothing of the batch can be run.
        threads: Worker threads, each running on one core; None: one a core, fewer where tensors are very large.
        on_batch: Told about progress, by the calling thread.

    Raises:
        ModelError: The model cannot be run, or a weight or an activation that is counted is NaN or Inf; of the first
            batch with a problem.
        DataError: A graph input holds NaN or Inf.
        Exception: Whatever `load` raises.
    """
    require_finite_weights(model)
    names = tuple(dict.fromkeys(watched.counted))
    extremes = tuple(name for name in dict.fromkeys(watched.extremes) if name not in set(names))
    looker = watched.looker
    with taking_out(model, names, 1, extremes, shaped=looker.names if looker else ()) as take_out:
        job = _Job(batches, load, looker)
        most = 1 if one_run_at_a_time(current().provider) else threads or cores()
        workers = [_Worker(number, job, take_out) for number in range(min(most, max(1, len(batches))))]
        _work(workers, job, on_batch)
    first, *others = (worker.histograms for worker in workers)
    for histograms in others:
        for name, histogram in histograms.items():
            first[name].merge(histogram)
    way = way_text(take_out, len(workers))
    return Found({name: first[name] for name in names}, _joined(workers, extremes), way)


def _joined(workers: Sequence[_Worker[Any]], names: Sequence[str]) -> dict[str, Extremes]:
    """What all workers together saw of the tensors whose extremes are wanted, in the tensors' order."""
    ends = np.stack([worker.ends for worker in workers])
    lows, highs = ends[:, 0].min(axis=0) + 0.0, ends[:, 1].max(axis=0) + 0.0  # -0.0 becomes 0.0, whoever met it first
    return {name: Extremes(*map(float, pair)) for name, *pair in zip(names, lows, highs, strict=True)}


class _Job(Generic[Id]):
    """What the workers share: the batches still to run, and what became known on the way."""

    def __init__(self, batches: Sequence[Id], load: Callable[[Id], Batch | None], looker: Looker | None) -> None:
        self.total = len(batches)
        self.done = 0
        self.load = load
        self.looker = looker
        self.options = ort.RunOptions()
        self._rest = iter(enumerate(batches))
        self._open = True
        self._lock = threading.Lock()
        self._sized = threading.Event()
        self._size_bytes = 0

    def pull(self) -> tuple[int, Id] | None:
        """The next batch with its number, handed out in order; None when there is none or the job is closed."""
        with self._lock:
            return next(self._rest, None) if self._open else None

    def finish(self) -> None:
        """Note that one more batch is done."""
        with self._lock:
            self.done += 1

    def close(self) -> None:
        """Hand out no more batches; those under way go on."""
        self._open = False
        self._sized.set()

    def abort(self) -> None:
        """Close, and end the runs under way at their next node."""
        self.options.terminate = True
        self.close()

    def tell_size(self, size_bytes: int) -> None:
        """Let the waiting workers know how much memory the tensors of one run take."""
        if not self._sized.is_set():
            self._size_bytes = size_bytes
            self._sized.set()

    def has_room(self, number: int) -> bool:
        """Whether there is memory for worker `number`; waits until that can be told."""
        if number < _SURE_WORKERS:
            return True
        self._sized.wait()
        return (number + 1) * self._size_bytes <= _MEMORY_BYTES


class _Worker(Generic[Id]):
    """One thread's share: runs batches and counts into its own histograms."""

    def __init__(self, number: int, job: _Job[Id], take_out: TakeOut) -> None:
        self.number = number
        self.position = 0  # of the batch under way
        shapes = frozenset(take_out.shapes.values())
        computed = (name for name in take_out.tensors if name not in shapes)
        self.histograms = {name: Histogram() for name in (*take_out.inputs, *computed)}
        self.ends = np.tile([[np.inf], [-np.inf]], len(take_out.extremes))  # smallest and largest values
        self._job = job
        self._take_out = take_out
        self._bound = None if take_out.session is None else BoundSession(take_out.session, shapes)
        self._is_first = True

    def work(self) -> None:
        """Run batches until there are none, or until one fails."""
        if not self._job.has_room(self.number):
            return
        with contextlib.closing(self._job):
            while (pulled := self._job.pull()) is not None:
                self.position, batch_id = pulled
                if (batch := self._job.load(batch_id)) is not None:
                    self._observe(batch)
                self._job.finish()

    def _observe(self, batch: Batch) -> None:
        activations = self._run(batch)
        if self._is_first:
            self._is_first = False
            self._job.tell_size(sum(array.nbytes for array in activations))
            if sum(array.size for array in activations) * self._job.total >= _WORTH_COMPILING:
                warm_up()
        for name in self._take_out.inputs:
            self._count(name, batch.arrays[name], batch)
        counted = len(self._take_out.tensors)
        found = {
            name: Laid(array, self._take_out.blocked.get(number))
            for number, (name, array) in enumerate(zip(self._take_out.tensors, activations[:counted], strict=True))
        }
        for name, laid in found.items():
            if name in self.histograms:
                self._count(name, laid.array, batch, laid.blocks)
        if (looker := self._job.looker) is not None:
            looker.look(batch, {name: self._rounds_of(name, found) for name in looker.names})
        ends = np.array([float(array) for array in activations[counted:]])
        np.minimum(self.ends[0], ends[::2], out=self.ends[0])
        np.maximum(self.ends[1], ends[1::2], out=self.ends[1])

    def _rounds_of(self, name: str, found: Mapping[str, Laid]) -> list[Laid]:
        """What a tensor held in every round; the one that there is, where it stands in no body."""
        shapes = self._take_out.shapes.get(name)
        if shapes is None:
            return [found[name]]
        return [Laid(array) for array in rounds(found[name].array, found[shapes].array)]

    def _run(self, batch: Batch) -> list[NDArray[Any]]:
        if self._bound is None:
            return []
        with _run_errors(batch):
            return self._bound.run(batch.arrays, self._job.options)

    def _count(self, name: str, array: NDArray[Any], batch: Batch, blocks: Blocks | None = None) -> None:
        values = array if array.dtype.kind == "f" else array.astype(np.float32)  # bfloat16 is of kind "V"
        try:
            for part in (values,) if blocks is None else blocks.values(values):
                self.histograms[name].observe(part)
        except NonFiniteError as error:
            raise not_finite_error(name, array, batch, is_input=name in self._take_out.inputs) from error


def _work(workers: Sequence[_Worker[Any]], job: _Job[Any], on_batch: Progress | None) -> None:
    """Let all workers work; raises the error of the earliest batch that failed.

    Batches are handed out in order and those under way are finished, so which one that is does not depend on timing.
    """
    with hearing_by_asking(), ThreadPoolExecutor(len(workers), thread_name_prefix="observe") as pool:
        futures = {pool.submit(worker.work): worker for worker in workers}
        try:
            _await(futures, job, on_batch)
        finally:
            if any(not future.done() for future in futures):
                job.abort()
    failed = [(worker.position, error) for future, worker in futures.items() if (error := future.exception())]
    if failed:
        raise min(failed, key=lambda pair: pair[0])[1]


def _await(futures: Iterable[Future[None]], job: _Job[Any], on_batch: Progress | None) -> None:
    """Wait for the workers in small portions, so that Ctrl-C gets through everywhere, and tell about progress."""
    pending, told = set(futures), 0
    while pending:
        insist()
        pending = wait(pending, timeout=_POLL_SECONDS).not_done
        if on_batch is not None and job.done > told:
            told = job.done
            on_batch(told, job.total)


def _run_errors(batch: Batch) -> contextlib.AbstractContextManager[None]:
    hint = "Do the samples have the shapes the model is used with?"
    if batch.samples > 1:
        hint = "The model may take one sample a run, whatever it declares: try --batch-size 1."
    return as_model_error(f"run the model on {some_of(batch.sources)}", hint)


class Runner:
    """A model as it is written, for comparing outputs: ONNX Runtime's graph optimizations are off (rules, section 5.4).

    Args:
        source: The model, a file or bytes.
        threads: Threads of a run; None: one a core, shared among the runs abreast.
        abreast: How many batches `run_each` runs at a time, where there are as many cores: two runs of one thread each
            are done sooner than one run after the other on two.
        default: Run it as ONNX Runtime does by default instead: what that gives can depend on the processor.
        entries: Session options besides, by ONNX Runtime's names.
        names: What outputs are called that have another name in the model.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        source: Source,
        *,
        threads: int | None = None,
        abreast: int = 1,
        default: bool = False,
        entries: tuple[tuple[str, str], ...] = (),
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._abreast = min(abreast, cores())
        threads = threads or max(1, cores() // self._abreast)
        options = SessionOptions(threads=threads, optimize=default, fuse=default, entries=entries)
        self._session = make_session(source, options)
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self._halves = {value.name for value in self._session.get_inputs() if value.type == "tensor(float16)"}
        self._codes = codes_in(self._session.get_modelmeta().custom_metadata_map)
        self.outputs = tuple(names.get(value.name, value.name) for value in self._session.get_outputs())

    def _fed(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return what an input is fed: samples of an FP32 model serve one whose inputs became FP16, or integers."""
        taken = as_taken(self._codes, name, array)
        return taken.astype(np.float16) if name in self._halves and taken.dtype == np.float32 else taken

    def repeatedly(self, batch: Batch) -> Callable[[], object]:
        """Return a function that runs a batch as often as it is called, with nothing around ONNX Runtime's own run.

        What it returns is dropped: it is there to be timed.

        Raises:
            DataError: An input has no array.
        """
        feed = {name: self._fed(name, array_for(name, batch.arrays)) for name in self.inputs}

        def run() -> object:
            with _run_errors(batch):
                return self._session.run(None, feed)

        return run

    def run(self, batch: Batch, most_seconds: float = math.inf) -> dict[str, NDArray[Any]]:
        """Return all outputs by name; sequences and maps as `plain` makes tensors of them.

        The run is a thread of its own, so that Ctrl-C ends it at its next node.

        Args:
            batch: What to run.
            most_seconds: How long it may take; a Loop can run forever on data that the model is not for.

        Raises:
            ModelError: The run failed, or took longer.
            DataError: An input has no array.
        """
        insist()
        options, end = ort.RunOptions(), time.monotonic() + most_seconds
        with hearing_by_asking(), ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
            future = pool.submit(self._run, batch, options)
            try:
                while wait([future], timeout=_POLL_SECONDS).not_done:
                    insist()
                    if time.monotonic() > end:
                        raise ModelError(
                            f"One run on {some_of(batch.sources)} took more than {most_seconds:g} seconds."
                        )
            finally:
                options.terminate = not future.done()
            return future.result()

    def run_each(self, batches: Iterable[Batch]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the outputs of every batch, in order; runs are begun ahead, as many at a time as `abreast` says.

        Ended early, it ends the runs under way.

        Raises:
            ModelError: A run failed.
            DataError: An input has no array.
        """
        options, ahead = ort.RunOptions(), deque[Future[dict[str, NDArray[Any]]]]()
        with hearing_by_asking(), ThreadPoolExecutor(self._abreast, thread_name_prefix="run") as pool:
            try:
                for batch in batches:
                    ahead.append(pool.submit(self._run, batch, options))
                    if len(ahead) > self._abreast:
                        yield waited_for(ahead.popleft())
                while ahead:
                    yield waited_for(ahead.popleft())
            finally:
                begun = [future for future in ahead if not future.cancel()]
                options.terminate = any(not future.done() for future in begun)

    def _run(self, batch: Batch, options: ort.RunOptions) -> dict[str, NDArray[Any]]:
        feed = {name: self._fed(name, array_for(name, batch.arrays)) for name in self.inputs}
        with _run_errors(batch):
            found = self._session.run(None, feed, options)
        return {name: self._given(name, output) for name, output in zip(self.outputs, found, strict=True)}

    def _given(self, name: str, found: Any) -> Any:
        """Return what an output gave, as a tensor; floats where it is integers that stand for such."""
        codes = self._codes.get(name)
        return plain(found) if codes is None else codes.dequantized(found)


Outputs = dict[str, NDArray[Any]]
