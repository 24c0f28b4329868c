"""Archives of samples: zip and tar, plain or packed, read in place. Nothing is unpacked under a name of the archive's.

Members are found by the directory of a zip archive, or by the headers of a tar archive; what is no regular file,
hidden, or outside of the archive (`../`, an absolute path) is left alone. Sizes are those that the archive declares,
and no more is ever unpacked of a member.

Format: PKWARE APPNOTE 6.3; POSIX.1-2001 pax, with the extensions of GNU tar.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from calibrators.regular_file import open_regular
from qdq_cli.config.data import ARCHIVE_ENDINGS
from qdq_cli.data.blobs import Member
from qdq_cli.data.sifting import is_visible, kind_of
from qdq_cli.data.spool import Spool
from qdq_cli.data.stored import FilePart, stored_part, unpack, unreadable
from qdq_cli.process.errors import DataError

VALUE_ENDINGS = (".json", ".cls")
"""How members are called that hold numbers as text."""

_COPY_BYTES = 1 << 20
_LARGEST_HEADER_BYTES = 1 << 20
"""Of one header of a tar archive: names and attributes, which tarfile reads into memory whole."""

_MOST_MEMBERS = 1 << 22
_LARGEST_GROWTH = 200
_ALLOWED_BYTES = 1 << 32
"""A packed archive may grow to this size, and further only by less than the factor above."""

_DAMAGED = (
    OSError, EOFError, ValueError, OverflowError, NotImplementedError, zlib.error, lzma.LZMAError, tarfile.TarError,
    zipfile.BadZipFile,
)  # fmt: skip
"""What the readers of archives raise for content that is none."""


def is_archive(path: Path) -> bool:
    """Whether a file of this name is taken for an archive; how one of tar is packed is told by its first bytes."""
    return path.name.lower().endswith(ARCHIVE_ENDINGS)


def open_archive(path: Path) -> list[Member]:
    """List the visible files in an archive; nothing but names and sizes is read.

    Args:
        path: A zip archive, or a tar archive, plain or packed by gzip, bzip2 or xz.

    Raises:
        DataError: It is damaged or encrypted, or grows beyond all measure.
    """
    list_members = _in_zip if path.name.lower().endswith(".zip") else _in_tar
    found = list({member.place: member for member in list_members(path)}.values())
    if len(found) > _MOST_MEMBERS:
        raise DataError(
            f"The archive '{path}' holds {len(found):,} files; at most {_MOST_MEMBERS:,} are read.",
            "Unpack it, and give its folder, or choose some with a list.",
        )
    return found


def _place(name: str) -> PurePosixPath | None:
    """The path of a member below the archive; None for one that is hidden, or that leads out of it."""
    place = PurePosixPath(name.replace("\\", "/"))
    return place if place.parts and not place.is_absolute() and all(map(is_visible, place.parts)) else None


def _in_zip(path: Path) -> Iterator[Member]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except _DAMAGED as error:
        raise unreadable(path, error, "It is no zip archive, or damaged; write it again.") from error
    spool = Spool()
    for entry in entries:
        place = _place(entry.filename)
        if place is None or entry.is_dir() or stat.S_ISLNK(entry.external_attr >> 16):
            continue
        kind = kind_of(place)
        if kind is not None and entry.flag_bits & 1:
            raise DataError(f"{path}: '{entry.filename}' is encrypted.", "Write the archive without a password.")
        yield Member(path, place, _InZip(path, entry, spool if kind == "array" else None))


class _InZip:
    """The bytes of a member of a zip archive: in place, or unpacked each time, or once where they are read in pieces.

    Args:
        path: The archive.
        entry: The member.
        spool: Keeps what is unpacked; None for a member that is read once and whole.
    """

    def __init__(self, path: Path, entry: zipfile.ZipInfo, spool: Spool | None) -> None:
        self.size_bytes = entry.file_size
        self._path = path
        self._entry = entry
        self._spool = spool
        self._lock = threading.Lock()
        self._start: int | None = None

    def read(self, start: int, size_bytes: int) -> bytes:
        """See `StoredBytes`."""
        if self._entry.compress_type == zipfile.ZIP_STORED:
            return stored_part(self._path, self._entry).read(start, size_bytes)
        if self._spool is None:
            file = io.BytesIO()
            unpack(self._path, self._entry, file, start + size_bytes)
            return file.getvalue()[start:]
        with self._lock:
            if self._start is None:
                self._start = self._spool.write(self._fill, str(self._path))
        return self._spool.read(self._start + start, size_bytes)

    def _fill(self, file: IO[bytes]) -> None:
        unpack(self._path, self._entry, file, self.size_bytes)


def _in_tar(path: Path) -> Iterator[Member]:
    packed = _PackedTar(path)
    try:
        with packed.opened() as stream, tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # not looked up again, and they would fill the memory
                place = _place(entry.name)
                if place is None or not entry.isreg() or entry.issparse():
                    continue
                if not stream.packed:
                    yield Member(path, place, FilePart(path, entry.offset_data, entry.size))
                elif kind_of(place) is not None or place.suffix.lower() in VALUE_ENDINGS:
                    yield packed.member(place, entry.offset_data, entry.size)
    except _DAMAGED as error:
        raise unreadable(path, error, "It is no tar archive, or damaged; write it again.") from error


class _Stream:
    """An archive as it is unpacked, read forward: no more at once than a header takes, and no further than allowed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_regular(path)
        start = self._file.read(6)
        self._file.seek(0)
        self.packed = True
        self._whole: IO[bytes]
        if start.startswith(b"\x1f\x8b"):
            self._whole = cast(IO[bytes], gzip.GzipFile(fileobj=self._file))
        elif start.startswith(b"BZh"):
            self._whole = bz2.BZ2File(self._file)
        elif start.startswith(b"\xfd7zXZ"):
            self._whole = cast(IO[bytes], lzma.LZMAFile(self._file))  # noqa: SIM115 - closed with this
        else:
            self._whole, self.packed = self._file, False
        size_bytes = path.stat().st_size
        self._most_bytes = max(_ALLOWED_BYTES, size_bytes * _LARGEST_GROWTH) if self.packed else size_bytes + 1

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self._whole.close()
        self._file.close()

    def read(self, size_bytes: int) -> bytes:
        """Read some bytes.

        Raises:
            DataError: More than any header has.
        """
        if size_bytes > _LARGEST_HEADER_BYTES:
            raise DataError(f"{self._path} has a header of {size_bytes:,} bytes.", "It is no archive of samples.")
        return self._whole.read(size_bytes)

    def tell(self) -> int:
        """Where the next byte is."""
        return self._whole.tell()

    def seek(self, place: int) -> int:
        """Go to a place.

        Raises:
            DataError: It is so far behind that no data set is packed so well.
        """
        if place > self._most_bytes:
            grows = f"to more than {_LARGEST_GROWTH} times its size" if self.packed else "beyond its end"
            raise DataError(f"{self._path} reaches {grows}; it is no archive of samples.", "Is it damaged?")
        return self._whole.seek(place)


class _PackedTar:
    """A packed tar archive: what is wanted of it is unpacked in one pass, into a temporary file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._spool = Spool()
        self._places: list[tuple[int, int]] = []
        self._starts: dict[int, int] = {}

    def opened(self) -> _Stream:
        """Open it at its start."""
        return _Stream(self._path)

    def member(self, place: PurePosixPath, offset: int, size_bytes: int) -> Member:
        """Take note of a member."""
        number = len(self._places)
        self._places.append((offset, size_bytes))
        return Member(self._path, place, _InTar(self, number, size_bytes), self, number)

    def expect(self, numbers: Sequence[int]) -> None:
        """See `Packed`."""
        with self._lock:
            wanted = sorted((*self._places[number], number) for number in numbers if number not in self._starts)
            if not wanted:
                return
            with self.opened() as stream:
                for offset, size_bytes, number in wanted:
                    pieces = _Pieces(self._path, stream, offset, size_bytes)
                    self._starts[number] = self._spool.write(pieces.copy, str(self._path))

    def read(self, number: int, start: int, size_bytes: int) -> bytes:
        """Read some bytes of a member."""
        self.expect((number,))
        return self._spool.read(self._starts[number] + start, size_bytes)


@dataclass(frozen=True)
class _Pieces:
    """Bytes of a stream that are copied a piece at a time."""

    path: Path
    stream: _Stream
    offset: int
    size_bytes: int

    def copy(self, file: IO[bytes]) -> None:
        """Copy them; OSErrors of writing are the caller's."""
        left, piece = self.size_bytes, b""
        while left:
            try:
                if left == self.size_bytes:
                    self.stream.seek(self.offset)
                piece = self.stream.read(min(left, _COPY_BYTES))
                if not piece:
                    raise EOFError("it ends too early")
            except _DAMAGED as error:
                raise unreadable(self.path, error, "It is damaged; write it again.") from error
            file.write(piece)
            left -= len(piece)


class _InTar:
    """The bytes of a member of a packed tar archive."""

    def __init__(self, archive: _PackedTar, number: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._archive = archive
        self._number = number

    def read(self, start: int, size_bytes: int) -> bytes:
        """See `StoredBytes`."""
        return self._archive.read(self._number, start, size_bytes)
