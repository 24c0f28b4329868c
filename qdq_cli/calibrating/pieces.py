"""Take pieces of activations from a few calibration samples, for whoever tries ranges on them (`calibrators.excerpts`).

Which samples these are follows from their keys, so it does not depend on the order or the shares they are run in. They
are taken while the samples are observed, from the tensors that are counted: whenever a sample has one of the smallest
keys so far, which becomes rare soon. Of a tensor in a body it is one round that the sample's key draws.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calibrators import Histogram
from calibrators.excerpts import Excerpts
from qdq_cli.data.batches import Batch
from qdq_cli.model.linear import Linear
from qdq_cli.running.blocks import Laid

_VALUES = 4096
"""Values of a piece, but at least what one result of the operator needs."""


class Pieces:
    """Pieces of some tensors, taken behind each run. Safe for threads.

    Args:
        readers: Tensor -> how the operators compute that read it; never an input of a graph.
        keys_of: Says the key of each sample of a batch, as sixteen hexadecimal digits.
    """

    def __init__(self, readers: Mapping[str, Sequence[Linear]], keys_of: Callable[[Batch], Sequence[str]]) -> None:
        self._readers = readers
        self._keys_of = keys_of
        self._found = {name: Excerpts() for name in readers}
        self._lock = threading.Lock()

    @property
    def names(self) -> Collection[str]:
        """The tensors that are looked at."""
        return self._readers.keys()

    def look(self, batch: Batch, tensors: Mapping[str, Sequence[Laid]]) -> None:
        """Take a piece of each tensor from those samples of a batch that are among those to be kept so far.

        Args:
            batch: What was run.
            tensors: Name -> what the tensor held; in a body, round by round, of which the key draws one.
        """
        for position, key in enumerate(int(key, 16) for key in self._keys_of(batch)):
            for name, linears in self._readers.items():
                with self._lock:
                    takes = self._found[name].takes(key)
                fitting = [held for held in tensors[name] if _is_of(held.array, batch)] if takes else []
                if not fitting:
                    continue
                held = fitting[_drawn(key, len(fitting))]
                row = position * (len(held.array) // batch.samples)
                piece = _piece(held, row, linears, np.random.default_rng(key)).astype(np.float32)
                with self._lock:
                    self._found[name].add(key, piece)

    def add_to(self, histograms: Mapping[str, Histogram]) -> None:
        """Put the pieces beside the histograms of their tensors."""
        for name, found in self._found.items():
            histograms[name].excerpts.merge(found)


def _drawn(key: int, count: int) -> int:
    """Which of several rounds a sample's key draws."""
    return 0 if count == 1 else int(np.random.default_rng([key, 1]).integers(count))


def _is_of(array: NDArray[np.generic], batch: Batch) -> bool:
    """Say whether an array has rows of every sample of a batch."""
    return array.dtype.kind == "f" and array.ndim > 0 and array.size > 0 and not len(array) % batch.samples


def _piece(tensor: Laid, row: int, linears: Sequence[Linear], rng: np.random.Generator) -> NDArray[np.generic]:
    """A window over the spatial axes that holds what every reader needs, or some rows of what is multiplied."""
    if not any(linear.is_spatial for linear in linears):
        plain = tensor.part(row)
        flat = plain.reshape(-1, plain.shape[-1])
        count = min(len(flat), max(1, _VALUES // flat.shape[1]))
        return flat[np.sort(rng.choice(len(flat), count, replace=False))]
    spatial = tensor.shape[2:]
    side = int((_VALUES / tensor.shape[1]) ** (1 / len(spatial)))
    window = []
    for axis, extent in enumerate(spatial):
        size = min(extent, max(side, *(linear.reach(axis) for linear in linears if linear.is_spatial)))
        start = int(rng.integers(extent - size + 1))
        window.append(slice(start, start + size))
    return tensor.part(row, tuple(window))
