"""Bytes of stored arrays, read a piece at a time: a part of a file, or a member of a zip archive.

Memory never holds more than the piece asked for, whatever the size of the file: a compressed member, which can only be
read from its start, is unpacked once into an unnamed temporary file (a small one into memory). All of it is safe for
threads.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from calibrators.regular_file import open_regular
from qdq_cli.process.errors import DataError

_IN_MEMORY_BYTES = 16 << 20
"""Compressed members up to this size are kept in memory."""

_COPY_BYTES = 1 << 20
_IN_PLACE = "Save it in a form that can be read in place: numpy.savez (not compressed), C order."
_LOCAL_HEADER_BYTES = 30


class StoredBytes(Protocol):
    """A run of bytes somewhere on disk."""

    size_bytes: int

    def read(self, start: int, size_bytes: int) -> bytes:
        """Read exactly `size_bytes` from `start`.

        Raises:
            DataError: They cannot be read, or the file has become shorter.
        """
        ...


class FilePart:
    """Bytes of a file from `offset` on."""

    def __init__(self, path: Path, offset: int, size_bytes: int) -> None:
        self._path = path
        self._offset = offset
        self.size_bytes = size_bytes

    def read(self, start: int, size_bytes: int) -> bytes:
        """See `StoredBytes`. Opens the file each time: threads share no position, and no handle stays open."""
        try:
            with open_regular(self._path) as file:
                file.seek(self._offset + start)
                data = file.read(size_bytes)
        except OSError as error:
            raise unreadable(self._path, error) from error
        if len(data) < size_bytes:
            raise DataError(f"{self._path} ends too early.", "It is truncated; write it again.")
        return data


class Unpacked:
    """Bytes that have to be made from a file before they can be read in any order: made once, when first asked for.

    Args:
        label: How errors call them.
        size_bytes: How many there will be.
        fill: Writes them to a file; raises DataError.
    """

    def __init__(self, label: str, size_bytes: int, fill: Callable[[IO[bytes]], None]) -> None:
        self.size_bytes = size_bytes
        self._label = label
        self._fill = fill
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def read(self, start: int, size_bytes: int) -> bytes:
        """See `StoredBytes`."""
        with self._lock:
            if self._file is None:
                self._file = self._make()
            self._file.seek(start)
            data = self._file.read(size_bytes)
        if len(data) < size_bytes:
            raise DataError(f"{self._label} ends too early.", "It is truncated; write it again.")
        return data

    def _make(self) -> IO[bytes]:
        if self.size_bytes > _IN_MEMORY_BYTES and self.size_bytes > shutil.disk_usage(tempfile.gettempdir()).free:
            raise DataError(
                f"{self._label} takes {self.size_bytes:,} bytes when unpacked, more than the temporary folder has room "
                "for.",
                _IN_PLACE,
            )
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115, closed with this object
        weakref.finalize(self, file.close)
        try:
            self._fill(file)
        except DataError:
            file.close()
            raise
        except OSError as error:
            file.close()
            raise DataError(
                f"{self._label} cannot be unpacked into a temporary file: {error.strerror}.",
                _IN_PLACE,
            ) from error
        return file


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip archive.

    Attributes:
        head: Its first bytes.
        stored: All of its bytes, read in place where they are stored as they are.
    """

    head: bytes
    stored: StoredBytes


def open_member(path: Path, member: zipfile.ZipInfo, head_bytes: int) -> ZipMember:
    """Open a member of a zip archive, reading its first `head_bytes` and nothing more.

    Raises:
        DataError: The archive is damaged or encrypted.
    """
    label = f"{path}: '{member.filename}'"
    if member.flag_bits & 1:
        raise DataError(f"{label} is encrypted.", "Write it without a password.")
    if member.compress_type == zipfile.ZIP_STORED:
        part = _stored_part(path, member)
        return ZipMember(part.read(0, min(head_bytes, part.size_bytes)), part)
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise DataError(f"{label} is packed in a way NumPy does not write.", "Write it again with numpy.savez.")
    head = io.BytesIO()
    try:
        _unpack(path, member, head, head_bytes)
    except OSError as error:
        raise unreadable(path, error) from error
    return ZipMember(
        head.getvalue(), Unpacked(label, member.file_size, lambda file: _unpack(path, member, file, member.file_size))
    )


def _stored_part(path: Path, member: zipfile.ZipInfo) -> FilePart:
    """The bytes of a member that is stored as it is."""
    return FilePart(path, _start_of(path, member), member.file_size)


def _start_of(path: Path, member: zipfile.ZipInfo) -> int:
    """Find where a member's bytes begin, behind its local header (PKWARE APPNOTE 4.3.7)."""
    head = FilePart(path, member.header_offset, _LOCAL_HEADER_BYTES).read(0, _LOCAL_HEADER_BYTES)
    name_bytes, extra_bytes = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    return member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def _unpack(path: Path, member: zipfile.ZipInfo, file: IO[bytes], most_bytes: int) -> None:
    """Write the first `most_bytes` of a member to `file`; OSErrors of writing are the caller's.

    The directory of the archive, as long as it has members, is not read again for each of them.
    """
    start = _start_of(path, member)
    try:
        with open_regular(path) as whole:
            whole.seek(start)
            packed = zipfile.ZipExtFile(whole, "r", member)
            while most_bytes > 0 and (piece := packed.read(min(most_bytes, _COPY_BYTES))):
                file.write(piece)
                most_bytes -= len(piece)
    except (EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise unreadable(path, error, "It is damaged; write it again.") from error


def unreadable(path: Path, error: BaseException, hint: str = "") -> DataError:
    """The error for a file that cannot be opened or is damaged."""
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    reason = reason.rstrip(".") or type(error).__name__
    return DataError(f"{path} cannot be read: {reason}.", hint or "Check that it is complete and may be read.")
