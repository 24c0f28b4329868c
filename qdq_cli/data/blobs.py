"""The bytes of one sample, wherever they are: in a file of its own, or as a member of an archive."""

from __future__ import annotations

import errno
import io
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Protocol

from calibrators.regular_file import open_regular
from qdq_cli.data.stored import StoredBytes
from qdq_cli.process.errors import DataError

LARGEST_PICTURE_BYTES = 256 << 20
"""Of a member of an archive that is decoded from memory."""


class Blob(Protocol):
    """Bytes with a name. Methods are safe for threads."""

    @property
    def label(self) -> str:
        """How sentences call it."""
        ...

    @property
    def folder(self) -> str:
        """Where it lies, with the ending of its name."""
        ...

    def size_bytes(self) -> int:
        """How many there are, 0 where that cannot be told: opening them will say why."""
        ...

    def open(self) -> BufferedReader | io.BytesIO:
        """Open them to be read.

        Raises:
            OSError: They cannot be read; `strerror` ends a sentence.
        """
        ...

    def stored(self) -> StoredBytes | None:
        """Return them for reading in pieces; None for a file, which is read by its path."""
        ...


@dataclass(frozen=True)
class FileBlob:
    """A file."""

    path: Path

    @property
    def label(self) -> str:
        """See `Blob`."""
        return str(self.path)

    @property
    def folder(self) -> str:
        """See `Blob`."""
        return str(self.path.parent / f"*{self.path.suffix}")

    def size_bytes(self) -> int:
        """See `Blob`."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def open(self) -> BufferedReader | io.BytesIO:
        """See `Blob`."""
        return open_regular(self.path)

    def stored(self) -> StoredBytes | None:
        """See `Blob`."""
        return None


class Packed(Protocol):
    """Members that are cheaper to unpack together."""

    def expect(self, numbers: Sequence[int]) -> None:
        """Unpack these.

        Raises:
            DataError: The archive is damaged, or there is no room for them.
        """
        ...


@dataclass(frozen=True, eq=False)
class Member:
    """A member of an archive.

    Args:
        archive: The archive.
        place: Its path inside.
        content: Its bytes.
        packed: Whoever unpacks several together; None where each is as good by itself.
        number: Which of its members it is.
    """

    archive: Path
    place: PurePosixPath
    content: StoredBytes
    packed: Packed | None = None
    number: int = 0

    @property
    def label(self) -> str:
        """See `Blob`."""
        return f"{self.archive}/{self.place}"

    @property
    def folder(self) -> str:
        """See `Blob`."""
        return f"{self.archive}/{self.place.parent / f'*{self.place.suffix}'}"

    def size_bytes(self) -> int:
        """See `Blob`."""
        return self.content.size_bytes

    def open(self) -> BufferedReader | io.BytesIO:
        """See `Blob`."""
        size = self.content.size_bytes
        if size > LARGEST_PICTURE_BYTES:
            raise OSError(errno.EFBIG, f"it takes {size:,} bytes, and one picture may take {LARGEST_PICTURE_BYTES:,}")
        try:
            return io.BytesIO(self.content.read(0, size))
        except DataError as error:
            raise OSError(errno.EIO, f"it cannot be unpacked ({error.message.removesuffix('.')})") from error

    def stored(self) -> StoredBytes | None:
        """See `Blob`."""
        return self.content


class Cells(Protocol):
    """Cells of a table that are read together."""

    def expect(self, keys: Sequence[tuple[int, int]]) -> None:
        """Read these.

        Raises:
            DataError: The table is damaged, or there is no room for them.
        """
        ...

    def read(self, key: tuple[int, int]) -> bytes:
        """Return one of them.

        Raises:
            OSError: There is nothing in it.
            DataError: The table is damaged, or there is no room for it.
        """
        ...


@dataclass(frozen=True, eq=False)
class Cell:
    """The bytes in a cell of a table.

    Args:
        table: The file.
        column: Its column.
        row: Its row in this file, from 0 on.
        cells: Whoever reads several together.
        key: Which of these it is.
    """

    table: Path
    column: str
    row: int
    cells: Cells
    key: tuple[int, int]

    @property
    def label(self) -> str:
        """See `Blob`."""
        return f"{self.table}[{self.row}]"

    @property
    def folder(self) -> str:
        """See `Blob`."""
        return f"{self.table}, column {self.column}"

    def size_bytes(self) -> int:
        """See `Blob`; nobody knows before it is read."""
        return 0

    def open(self) -> BufferedReader | io.BytesIO:
        """See `Blob`."""
        try:
            return io.BytesIO(self.cells.read(self.key))
        except DataError as error:
            raise OSError(errno.EIO, error.message.removesuffix(".")) from error

    def stored(self) -> StoredBytes | None:
        """See `Blob`."""
        return None


def expect_blobs(blobs: Sequence[Blob]) -> None:
    """Unpack members together whose archive is read from its start each time.

    Raises:
        DataError: An archive is damaged, or there is no room for them.
    """
    wanted: dict[int, tuple[Packed, list[int]]] = {}
    cells: dict[int, tuple[Cells, list[tuple[int, int]]]] = {}
    for blob in blobs:
        if isinstance(blob, Cell):
            cells.setdefault(id(blob.cells), (blob.cells, []))[1].append(blob.key)
        if isinstance(blob, Member) and blob.packed is not None:
            wanted.setdefault(id(blob.packed), (blob.packed, []))[1].append(blob.number)
    for packed, numbers in wanted.values():
        packed.expect(numbers)
    for together, keys in cells.values():
        together.expect(keys)
