"""Samples of which some inputs are pictures and others are arrays or numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.array_samples import ArrayPart, Stored, cut_arrays
from qdq_cli.data.arrays import open_npy
from qdq_cli.data.blobs import FileBlob
from qdq_cli.data.cutting import Opened
from qdq_cli.data.image_samples import ImagePart, ImageSetup, set_up_images
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.listed import Column, Table
from qdq_cli.data.sample import Kind, Sample
from qdq_cli.process.errors import DataError


@dataclass(frozen=True)
class ComposedPart:
    """Samples with pictures for some inputs and arrays for the others.

    Args:
        specs: The inputs, in the order of the model.
        pictures: The pictures of each input that takes such, one a sample.
        arrays: The arrays of each sample.
    """

    specs: tuple[InputSpec, ...]
    pictures: tuple[ImagePart, ...]
    arrays: tuple[ArrayPart, ...]
    kind: Kind = "image"

    def __len__(self) -> int:
        return len(self.arrays)

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """See `Part`."""
        known = {part.setup.target.spec.name: part.shapes(index)[0] for part in self.pictures}
        known |= {array.spec.name: array.shape for array in self.arrays[index].arrays}
        return tuple(known[spec.name] for spec in self.specs)

    def name(self, index: int) -> str:
        """See `Part`."""
        return self.pictures[0].name(index) if self.pictures else self.arrays[index].name(0)

    def size_bytes(self, index: int) -> int:
        """See `Part`."""
        return sum(part.size_bytes(index) for part in self.pictures) + self.arrays[index].size_bytes(0)

    def identity(self, index: int) -> str:
        """See `Part`."""
        digest = hashlib.sha256()
        for part in self.pictures:
            digest.update(f"{part.setup.target.spec.name}: {part.identity(index)}\n".encode())
        if self.arrays[index].arrays:
            digest.update(self.arrays[index].identity(0).encode())
        return digest.hexdigest()

    def expect(self, indices: Sequence[int]) -> None:
        """Unpack the pictures of these samples together where one by one would take long."""
        for part in self.pictures:
            part.expect(indices)

    def load(self, index: int) -> Sample:
        """See `Part`."""
        parts = [*(part.load(index) for part in self.pictures), self.arrays[index].load(0)]
        arrays = {name: array for part in parts for name, array in part.arrays.items()}
        ordered = {spec.name: arrays[spec.name] for spec in self.specs}
        return Sample(self.name(index), ordered, next((part.look for part in parts if part.look is not None), None))


def open_table(table: Table, preprocessing: Preprocessing | None) -> Opened:
    """Open the samples of a list with a column for each input.

    Raises:
        DataError: Pictures or arrays do not fit their inputs.
        UsageError: The preprocessing does not fit.
    """
    pictures = [column for column in table.columns if column.pictures]
    others = [column for column in table.columns if not column.pictures]
    parts = tuple(_pictures(column, preprocessing) for column in pictures)
    count = len(table.columns[0].files or table.columns[0].values)
    arrays = tuple(_row(table.root, others, index) for index in range(count))
    specs = tuple(column.spec for column in table.columns)
    setup: ImageSetup | None = parts[0].setup if parts else None
    return Opened((ComposedPart(specs, parts, arrays, "image" if parts else "array"),), table.notes, setup)


def _pictures(column: Column, preprocessing: Preprocessing | None) -> ImagePart:
    return ImagePart(tuple(map(FileBlob, column.files)), set_up_images((column.spec,), preprocessing))


def _row(root: Path, columns: Sequence[Column], index: int) -> ArrayPart:
    """Open the arrays of one line, which is one sample."""
    if not columns:
        return ArrayPart(root, (), 1)
    stored: dict[str, Stored] = {
        column.spec.name: open_npy(column.files[index]) if column.files else column.values[index] for column in columns
    }
    found = cut_arrays(root, stored, [column.spec for column in columns])
    if found.count != 1:
        labels = ", ".join(each.label for each in stored.values())
        raise DataError(
            f"{labels}: {found.count} samples, but a line of '{root}' is one.", "Write one line for each sample."
        )
    return found
