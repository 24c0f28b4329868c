"""Which calibration samples recovery learns from, and which it is judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.data.batches import Batch, Group, load_readable_batch, plan_batches
from qdq_cli.data.inputs import batch_axis
from qdq_cli.data.unreadable import UnreadableSamples

JUDGE_SAMPLES = 32
"""Enough for the noise of an output to be known within a few percent on the measured models."""

FEW_SAMPLES = 8
"""With fewer, what a change gains on them says little of others; the report says so."""


@dataclass(frozen=True)
class Split:
    """The calibration samples in two parts that share none, where there are at least two runs' worth.

    Args:
        learn: Runs whose activations steps may look at.
        judge: Runs that decide whether a change stays.
    """

    samples: Samples
    learn: tuple[Group, ...]
    judge: tuple[Group, ...]

    def load(self, groups: tuple[Group, ...]) -> Iterator[Batch]:
        """Read runs one after the other; those that cannot be decoded are left out.

        Raises:
            DataError: Too many cannot be decoded, or one does not fit the model.
        """
        unreadable = UnreadableSamples(len(self.samples.selection.calibration))
        for group in groups:
            batch = load_readable_batch(self.samples.every, group, unreadable)
            if batch is not None:
                yield batch


def split(samples: Samples, judge: int = JUDGE_SAMPLES) -> Split:
    """Set every fourth calibration sample aside for judging, at most `judge`, evenly spread.

    What `--verify` holds back is in neither part, so that verification stays independent.

    Raises:
        DataError: There are fewer samples than the model takes in one run.
    """
    every = samples.selection.calibration
    size = batch_axis(samples.every.specs).size or 1
    count = max(size, min(judge, len(every) // 4))
    positions = {round((number + 0.5) * len(every) / count - 0.5) for number in range(count)}
    aside = tuple(index for position, index in enumerate(every) if position in positions)
    rest = tuple(index for position, index in enumerate(every) if position not in positions)
    if len(rest) < size:
        aside = rest = every
    batch_size = samples.batches.batch_size
    return Split(
        samples,
        plan_batches(samples.every, rest, batch_size).groups,
        plan_batches(samples.every, aside, batch_size).groups,
    )
