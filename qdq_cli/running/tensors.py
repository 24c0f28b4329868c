"""Hand tensors of a model out of its runs as arrays, batch by batch; of bodies, what each round held."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.data.batches import Batch
from qdq_cli.running.inside import rounds
from qdq_cli.running.outputs import part_for
from qdq_cli.running.runner import Runner

Held = Mapping[str, Sequence[NDArray[np.generic]]]
"""Tensor -> what it held in a run: one array; in a body, which runs never or many times, one a round."""


class TensorRunner:
    """Runs the part of a model that some of its tensors need, and hands these out.

    Args:
        model: Left as it is; its weights have to stay as they are.
        tensors: Names of graph inputs and of computed values, and of both in bodies.
        abreast: How many batches run at a time.

    Raises:
        ModelError: A tensor is not there, or the model cannot be run.
    """

    def __init__(self, model: ir.Model, tensors: Sequence[str], *, abreast: int = 1) -> None:
        fed = {value.name for value in model.graph.inputs}
        self._fed = [name for name in tensors if name in fed]
        self._computed = [name for name in tensors if name not in fed]
        self._runner: Runner | None = None
        if self._computed:
            part = part_for(model, self._computed, shaped=self._computed)
            self._runner = Runner(part.source, abreast=abreast)
            self._values = {name: output for output, name in part.tensors.items()}
            self._shapes = part.shapes

    def run_each(self, batches: Iterable[Batch]) -> Iterator[Held]:
        """Yield the tensors of every batch by name, in order.

        Raises:
            ModelError: A run failed.
        """
        if self._runner is None:
            yield from ({name: [batch.arrays[name]] for name in self._fed} for batch in batches)
            return
        first, second = itertools.tee(batches)
        for batch, found in zip(first, self._runner.run_each(second), strict=True):
            computed = {name: self._rounds_of(name, found) for name in self._computed}
            yield {**{name: [batch.arrays[name]] for name in self._fed}, **computed}

    def _rounds_of(self, name: str, found: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """What a computed tensor held in each round; in the main graph there is one."""
        if name not in self._shapes:
            return [found[name]]
        return list(rounds(found[self._values[name]], found[self._shapes[name]]))
