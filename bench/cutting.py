"""Test sets that are cut into groups: what an evaluation says of all samples but those of one group."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.figures import PROPORTIONS, Figure

Run = Callable[[Path, int | None], Figure]
"""Evaluates a model by the program in a folder of models, on the first so many samples, or on all."""


class Cuttable(Protocol):
    """A test set that can be cut."""

    def whole_and_without(self, run: Run, groups: int) -> tuple[Figure, list[float]]:
        """The figure of the whole test set, and what it is without one group after the other."""


def groups_of(count: int, groups: int) -> list[range]:
    """Cut so many samples into groups of neighbours, as equal as can be: pictures of one video stay together.

    Args:
        count: How many samples.
        groups: How many groups; as many as there are samples, at most.
    """
    parts = min(count, groups)
    ends = [count * number // parts for number in range(parts + 1)]
    return [range(start, end) for start, end in pairwise(ends)]


@dataclass(frozen=True)
class Files:
    """A test set of files, for any metric: each group is left out in a copy of the folder by links.

    Args:
        folder: Folder of models, laid out as `bench.kit` says.
        files: What the evaluation goes through, relative to the folder, in order.
        labels: JSON file, relative to the folder, of an object whose keys are names of files without their ending: a
            key of a file that is left out is left out as well. None where labels are files of their own.
    """

    folder: Path
    files: Sequence[Path]
    labels: Path | None = None

    def whole_and_without(self, run: Run, groups: int) -> tuple[Figure, list[float]]:
        """The figure of the whole test set, and what it is without one group after the other."""
        whole, *without = self._measured(run, ((), *self._cut(groups)))
        return whole, [figure.value for figure in without]

    def _cut(self, groups: int) -> Iterator[Sequence[Path]]:
        return (self.files[part.start : part.stop] for part in groups_of(len(self.files), groups))

    def _measured(self, run: Run, each: Sequence[Sequence[Path]]) -> Iterator[Figure]:
        for left_out in each:
            with tempfile.TemporaryDirectory() as work:
                self.copy(folder := Path(work) / "models", left_out)
                yield run(folder, None)

    def copy(self, target: Path, left_out: Collection[Path]) -> None:
        """Write a copy of the folder by links, without some of the files; programs are copied, to find each other."""

        def absent(folder: str, names: list[str]) -> set[str]:
            inside = Path(folder).relative_to(self.folder)
            return {name for name in names if inside / name in left_out}

        def put(source: str, copy: str) -> None:
            if source.endswith(".py"):
                shutil.copyfile(source, copy)
            else:
                Path(copy).symlink_to(Path(source).resolve())

        shutil.copytree(self.folder, target, ignore=absent, copy_function=put)
        if self.labels is not None:
            stems = {path.stem for path in left_out}
            document = json.loads((self.folder / self.labels).read_text(encoding="utf-8"))
            kept = {name: value for name, value in document.items() if name not in stems}
            (target / self.labels).unlink()  # the link, or the labels themselves would be written over
            (target / self.labels).write_text(json.dumps(kept), encoding="utf-8")


@dataclass(frozen=True)
class FirstSamples:
    """A test set in one file, for metrics that are a mean over samples: what a group adds to the first ones is told.

    Args:
        folder: Folder of models, whose programs evaluate the first so many samples where they are asked to.
    """

    folder: Path

    def whole_and_without(self, run: Run, groups: int) -> tuple[Figure, list[float]]:
        """The figure of the whole test set, and what it is without one group after the other."""
        whole = run(self.folder, None)
        samples = whole.count // run(self.folder, 1).count  # a sample may ask for more decisions than one
        parts = groups_of(samples, groups)
        firsts = [*(run(self.folder, part.stop) for part in parts[:-1]), whole]
        sums, counts = ([0.0, *map(_sum, firsts)], [0, *(figure.count for figure in firsts)])
        return whole, ((sums[-1] - np.diff(sums)) / (counts[-1] - np.diff(counts))).tolist()


def _sum(figure: Figure) -> float:
    """What the samples add up to; of shares in percent it is a hundred times a whole number."""
    total = figure.value * figure.count
    share = any(word in figure.metric.casefold() for word in PROPORTIONS)
    return 100.0 * round(total / 100) if share else total
