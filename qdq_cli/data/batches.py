"""Samples put together for a run: planned up front from shapes alone, so that any thread can load any batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qdq_cli.data.inputs import InputSpec, batch_axis
from qdq_cli.data.looks import Look
from qdq_cli.data.sample import Sample
from qdq_cli.data.samples import SampleSet
from qdq_cli.data.shapes import shape_text
from qdq_cli.data.unreadable import UnreadableSampleError, UnreadableSamples
from qdq_cli.process.errors import DataError, UsageError

Group = tuple[int, ...]


@dataclass(frozen=True)
class BatchPlan:
    """Which samples run together.

    Attributes:
        groups: Sample indices of each run, in the order of their first sample.
        batch_size: Most samples in a run.
        dropped: Samples left over because the model takes exactly `batch_size` and they do not fill a run.
    """

    groups: tuple[Group, ...]
    batch_size: int
    dropped: int = 0


@dataclass(frozen=True, eq=False)
class Batch:
    """What one run is fed.

    Attributes:
        arrays: Input name -> array.
        sources: The file of each sample.
        samples: How many samples these are.
        indices: The place of each in its `SampleSet`; () for samples of none.
        looks: What the pictures among them look like.
    """

    arrays: Mapping[str, np.ndarray]
    sources: tuple[str, ...]
    samples: int
    indices: Group = ()
    looks: tuple[Look, ...] = ()


def plan_batches(sample_set: SampleSet, indices: Sequence[int], batch_size: int | None = None) -> BatchPlan:
    """Group samples into runs. Reads no sample, and gives the same plan every time.

    Samples go together when all inputs have their samples on a dynamic axis 0 and their shapes are equal; a sample that
    already holds a whole batch runs alone. A model with a fixed batch gets exactly that many single samples a run.

    Args:
        sample_set: The samples.
        indices: Which to use, in order.
        batch_size: Most samples a run; None: what the model fixes, else 1.

    Raises:
        UsageError: `batch_size` is below 1, or the model takes another number.
        DataError: Fewer samples than the model takes in one run.
    """
    size = _batch_size(sample_set.specs, batch_size)
    groups, waiting = _group(sample_set, indices, size)
    return _finish(groups, waiting, size, batch_axis(sample_set.specs).size)


def full_runs(sample_set: SampleSet, indices: Sequence[int]) -> tuple[Group, ...]:
    """The runs that some samples fill, as many samples each as the model fixes, else one; none where they are too few.

    They are in the order in which the indices fill them.
    """
    return tuple(_group(sample_set, indices, _batch_size(sample_set.specs, None))[0])


def _group(sample_set: SampleSet, indices: Sequence[int], size: int) -> tuple[list[Group], list[list[int]]]:
    """Full runs, and the samples of each shape that do not fill one."""
    groups: list[Group] = []
    pending: dict[object, list[int]] = {}
    for index in indices:
        shapes = sample_set.shapes(index)
        if not _is_single(shapes) or size == 1:
            groups.append((index,))
            continue
        waiting = pending.setdefault(shapes, [])
        waiting.append(index)
        if len(waiting) == size:
            groups.append(tuple(pending.pop(shapes)))
    return groups, list(pending.values())


def load_readable_batch(sample_set: SampleSet, group: Group, unreadable: UnreadableSamples) -> Batch | None:
    """Read the samples of one run, leaving out those that cannot be decoded while they are few.

    Returns:
        The batch; None when nothing of it can be run: no sample is left, or too few for a fixed batch.

    Raises:
        DataError: Too many cannot be decoded (`UnreadableSamples`), or see `SampleSet.load`.
    """
    samples = {}
    for index in group:
        try:
            samples[index] = sample_set.load(index)
        except UnreadableSampleError as error:
            unreadable.add(error)
    is_short = len(samples) < len(group) and batch_axis(sample_set.specs).size is not None
    return None if not samples or is_short else _join(samples)


def _batch_size(specs: Sequence[InputSpec], asked: int | None) -> int:
    axis = batch_axis(specs)
    if asked is not None and asked < 1:
        raise UsageError(f"--batch-size is {asked}; expected 1 or more.")
    if axis.size is None:
        return asked or 1
    if asked is not None and asked != axis.size:
        inputs = ", ".join(f"'{spec.name}' {shape_text(spec.shape)}" for spec in specs)
        why = "" if axis.stacked else " because its inputs do not all have the samples on axis 0"
        raise UsageError(
            f"--batch-size is {asked}, but the model takes {axis.size} a run{why}: {inputs}.",
            f"Leave --batch-size out, or use {axis.size}.",
        )
    return axis.size


def _is_single(shapes: tuple[tuple[int, ...], ...]) -> bool:
    return all(shape[:1] == (1,) for shape in shapes)


def _finish(groups: list[Group], waiting: list[list[int]], size: int, fixed: int | None) -> BatchPlan:
    if fixed is None:
        groups += [tuple(indices) for indices in waiting]
        return BatchPlan(tuple(sorted(groups)), size)
    dropped = sum(map(len, waiting))
    if not groups and dropped:
        raise DataError(
            f"The model takes exactly {fixed} samples a run, but there are only {dropped} of equal shape.",
            "Give more samples, or export the model with a dynamic batch.",
        )
    return BatchPlan(tuple(sorted(groups)), size, dropped)


def _join(by_index: Mapping[int, Sample]) -> Batch:
    samples = list(by_index.values())
    arrays = samples[0].arrays
    if len(samples) > 1:
        arrays = {name: np.concatenate([sample.arrays[name] for sample in samples]) for name in arrays}
    looks = tuple(sample.look for sample in samples if sample.look is not None)
    return Batch(arrays, tuple(sample.source for sample in samples), len(samples), tuple(by_index), looks)
