"""Take pieces of activations from a few calibration samples, for whoever tries ranges on them (`calibrators.excerpts`).

Of a tensor in a body it is one round that the sample's key draws. Which samples these are follows from their keys, so
it does not depend on the order or the shares they are run in. They are run once more behind the observation, which
leaves its tensors in the processor's own layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Histogram
from calibrators.excerpts import MOST
from qdq_cli.data.batches import Batch, Group, load_readable_batch
from qdq_cli.data.samples import SampleSet
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.model.linear import Linear
from qdq_cli.process.progress import each
from qdq_cli.running.outputs import part_for
from qdq_cli.running.runner import Runner

_VALUES = 4096
"""Values of a piece, but at least what one result of the operator needs."""


@dataclass(frozen=True)
class Place:
    """Where a sample was run.

    Args:
        group: The samples of that run.
        position: Of this one among those that could be read.
    """

    group: Group
    position: int


def take_pieces(
    model: ir.Model,
    readers: Mapping[str, Sequence[Linear]],
    histograms: Mapping[str, Histogram],
    every: SampleSet,
    places: Mapping[str, Place],
) -> None:
    """Add pieces of some tensors to the excerpts beside their histograms.

    Args:
        model: The prepared float model.
        readers: Tensor -> how the operators compute that read it; never an input of the graph, nor none at all.
        histograms: Tensor -> what is added to.
        every: The samples.
        places: Key of each sample that was run -> where.

    Raises:
        DataError: A sample cannot be read any more.
        ModelError: The model cannot be run.
    """
    runs: dict[Group, list[str]] = {}
    for key in sorted(places)[:MOST]:
        runs.setdefault(places[key].group, []).append(key)
    part = part_for(model, list(readers), shaped=True)
    runner = Runner(part.source, default=True)
    for group, keys in each(sorted(runs.items())):
        batch = load_readable_batch(every, group, UnreadableSamples(len(places)))
        if batch is None:
            continue
        tensors = part.rounds_of(runner.run(batch))
        for name, linears in readers.items():
            _add(histograms[name], _rows_of(tensors[name], batch, [places[key] for key in keys], keys), linears)


def _rows_of(
    rounds: Sequence[NDArray[np.generic]], batch: Batch, places: Sequence[Place], keys: Sequence[str]
) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """The first row of each sample in a batch, with the sample's key as a number.

    Args:
        rounds: What the tensor held; in a body, round by round, of which the key draws one.
        batch: What was run.
        places: Where the samples are in it.
        keys: Their keys.
    """
    fitting = [array for array in rounds if _is_of(array, batch)]
    for place, key in zip(places, keys, strict=True) if fitting else ():
        number = int(key, 16)
        array = fitting[0 if len(fitting) == 1 else int(np.random.default_rng([number, 1]).integers(len(fitting)))]
        start = place.position * (len(array) // batch.samples)
        yield number, array[start : start + 1]


def _is_of(array: NDArray[np.generic], batch: Batch) -> bool:
    """Say whether an array has rows of every sample of a batch."""
    return array.dtype.kind == "f" and array.ndim > 0 and array.size > 0 and not len(array) % batch.samples


def _add(histogram: Histogram, rows: Iterator[tuple[int, NDArray[np.generic]]], linears: Sequence[Linear]) -> None:
    for key, row in rows:
        if histogram.excerpts.takes(key):
            histogram.excerpts.add(key, _piece(row, linears, np.random.default_rng(key)).astype(np.float32))


def _piece(row: NDArray[np.generic], linears: Sequence[Linear], rng: np.random.Generator) -> NDArray[np.generic]:
    """A window over the spatial axes that holds what every reader needs, or some rows of what is multiplied."""
    if not any(linear.is_spatial for linear in linears):
        flat = row.reshape(-1, row.shape[-1])
        count = min(len(flat), max(1, _VALUES // flat.shape[1]))
        return flat[np.sort(rng.choice(len(flat), count, replace=False))]
    spatial = row.shape[2:]
    side = int((_VALUES / row.shape[1]) ** (1 / len(spatial)))
    window = [slice(None), slice(None)]
    for axis, extent in enumerate(spatial):
        size = min(extent, max(side, *(linear.reach(axis) for linear in linears if linear.is_spatial)))
        start = int(rng.integers(extent - size + 1))
        window.append(slice(start, start + size))
    return row[tuple(window)]
