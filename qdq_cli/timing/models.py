"""Time two model files in turn, in one runtime, on the same batch."""

from __future__ import annotations

import time
from pathlib import Path

from qdq_cli.data.batches import Batch
from qdq_cli.process.processor import this_processor
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.running.session import cores
from qdq_cli.timing.measure import Clock, Effort, interleaved, median_of, timing_of
from qdq_cli.timing.record import Speed
from qdq_cli.timing.runtimes import RUNTIMES


def time_models(
    models: tuple[Path, Path],
    batch: Batch,
    runtime: str,
    effort: Effort,
    clock: Clock = time.perf_counter,
    listener: Listener = SILENT,
) -> Speed:
    """Run both in turn and say how fast the second is beside the first.

    Args:
        models: The float model and the other one.
        batch: What both are fed.
        runtime: Name of what runs them (`RUNTIMES`).
        effort: How much is measured.
        clock: What the time is.
        listener: Told about progress.

    Raises:
        ModelError: The runtime cannot load or run one of them.
        DataError: An input has no array.
    """
    threads, known = cores(), RUNTIMES[runtime]
    first, second = (known.prepare(path, batch, threads) for path in models)
    rounds = interleaved((first, second), effort, clock, listener)
    ratio, interval = median_of([before / max(after, _NO_TIME) for before, after in rounds])
    return Speed(
        runtime=known.title(),
        processor=this_processor(),
        threads=threads,
        batch_size=batch.samples,
        rounds=len(rounds),
        reference=timing_of([before for before, _ in rounds]),
        quantized=timing_of([after for _, after in rounds]),
        ratio=round(ratio, 4),
        interval=(round(interval[0], 4), round(interval[1], 4)),
    )


_NO_TIME = 1e-9
"""Seconds that no clock tells from none."""
