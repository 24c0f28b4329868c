"""Samples whose inputs come from several sources side by side: pictures of a folder for one, arrays or a number for
another.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qdq_cli.data.inputs import InputSpec, near_names
from qdq_cli.data.sample import Kind, Sample
from qdq_cli.process.errors import DataError, UsageError


class Source(Protocol):
    """Samples of some of the inputs; `SampleSet` is one."""

    specs: tuple[InputSpec, ...]

    def __len__(self) -> int: ...
    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """See `Part`."""
        ...

    def name(self, index: int) -> str:
        """See `Part`."""
        ...

    def size_bytes(self, index: int) -> int:
        """See `Part`."""
        ...

    def identity(self, index: int) -> str:
        """See `Part`."""
        ...

    def load(self, index: int) -> Sample:
        """See `Part`."""
        ...

    def expect(self, indices: Iterable[int]) -> None:
        """See `SampleSet`."""
        ...


@dataclass(frozen=True)
class AlignedPart:
    """Samples put together from several sources; one that holds a single sample gives it to all.

    Args:
        specs: The inputs, in the order of the model.
        sources: Samples of some inputs each, all inputs together.
        kind: What the samples are made from: pictures where one source has any.
    """

    specs: tuple[InputSpec, ...]
    sources: tuple[Source, ...]
    kind: Kind

    def __len__(self) -> int:
        return max(map(len, self.sources))

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """See `Part`."""
        known = {
            spec.name: shape
            for source in self.sources
            for spec, shape in zip(source.specs, source.shapes(_place(source, index)), strict=True)
        }
        return tuple(known[spec.name] for spec in self.specs)

    def name(self, index: int) -> str:
        """See `Part`."""
        leading = next((source for source in self.sources if len(source) > 1), self.sources[0])
        return leading.name(_place(leading, index))

    def size_bytes(self, index: int) -> int:
        """See `Part`."""
        return sum(source.size_bytes(_place(source, index)) for source in self.sources)

    def identity(self, index: int) -> str:
        """See `Part`."""
        digest = hashlib.sha256()
        for source in sorted(self.sources, key=lambda each: each.specs[0].name):
            names = ", ".join(spec.name for spec in source.specs)
            digest.update(f"{names}: {source.identity(_place(source, index))}\n".encode())
        return digest.hexdigest()

    def expect(self, indices: Sequence[int]) -> None:
        """Unpack these samples together where one by one would take long."""
        for source in self.sources:
            source.expect(sorted({_place(source, index) for index in indices}))

    def load(self, index: int) -> Sample:
        """See `Part`."""
        loaded = [source.load(_place(source, index)) for source in self.sources]
        arrays = {name: array for sample in loaded for name, array in sample.arrays.items()}
        look = next((sample.look for sample in loaded if sample.look is not None), None)
        return Sample(self.name(index), {spec.name: arrays[spec.name] for spec in self.specs}, look)


def _place(source: Source, index: int) -> int:
    return index if len(source) > 1 else 0


def require_alike(sources: Sequence[Source]) -> None:
    """Refuse sources of different lengths, but for those of a single sample.

    Raises:
        DataError: It is so.
    """
    counts = {len(source) for source in sources} - {1}
    if len(counts) > 1:
        each = ", ".join(f"{len(source):,} for '{source.specs[0].name}'" for source in sources)
        raise DataError(
            f"The inputs have different numbers of samples: {each}.",
            "Give as many for each input, or one that is for all.",
        )


def split_named(paths: Sequence[Path], specs: Sequence[InputSpec]) -> tuple[dict[str, list[Path]], list[Path]]:
    """Tell paths that are for one input (`NAME=PATH`) from those that are for all others.

    Args:
        paths: What was given; a file that is called so is that file.
        specs: The inputs.

    Returns:
        Input -> its paths; and the others.

    Raises:
        UsageError: A name is no input, and what is behind it is there.
    """
    named: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in paths:
        name = None if os.path.lexists(path) else _name_of(str(path), specs)
        if name is None:
            others.append(path)
        else:
            named.setdefault(name, []).append(Path(str(path)[len(name) + 1 :]))
    return named, others


def _name_of(text: str, specs: Sequence[InputSpec]) -> str | None:
    fitting = [spec.name for spec in specs if text.startswith(f"{spec.name}=") and text != f"{spec.name}="]
    if fitting:
        return max(fitting, key=len)
    name, separator, path = text.partition("=")
    if separator and path and os.path.lexists(path):
        names = [spec.name for spec in specs]
        raise UsageError(f"--calib {text} names '{name}', which is no input of the model.", near_names(name, names))
    return None
