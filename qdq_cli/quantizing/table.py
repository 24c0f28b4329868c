"""The calibration table of a run that wrote no cache, put together afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from calibrators import CalibrationTable
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.sample_keys import SampleKeys
from qdq_cli.calibrating.stored import portrait_for, table_of, with_groupings
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.quantizing.run import Outcome


def table_of_run(outcome: Outcome) -> CalibrationTable | None:
    """Make the table that `--cache` would have written; None where nothing was run.

    Args:
        outcome: What the run left.

    Raises:
        DataError: The samples cannot be read any more.
    """
    model, seen, samples = outcome.model, outcome.observed, outcome.samples
    if model is None or seen is None or samples is None or not seen.histograms:
        return None
    keys = seen.digests or frozenset(_keys(samples, seen.samples))
    portrait = portrait_for(model, samples)
    table = table_of(model, seen.histograms, samples.feeding, keys, portrait, seen.extremes)
    return table if outcome.placement is None else with_groupings(table, model, *outcome.placement)


def _keys(samples: Samples, counted: int) -> Iterator[str]:
    """The keys of the samples that were counted: all, unless some could not be read."""
    indices = [index for group in samples.batches.groups for index in group]
    keys = SampleKeys(samples.every, samples.selection.calibration)
    for index in indices:
        if counted == len(indices) or _is_readable(samples, index):
            yield keys.of(index)


def _is_readable(samples: Samples, index: int) -> bool:
    try:
        samples.every.load(index)
    except UnreadableSampleError:
        return False
    return True
