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
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Protocol

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


def open_member(path: Path, member: zipfile.ZipInfo, head_bytes: int, whole: StoredBytes | None = None) -> ZipMember:
    """Open a member of a zip archive, reading its first `head_bytes` and nothing more.

    Args:
        path: The archive.
        member: One of its members.
        head_bytes: How much to read at once.
        whole: The bytes of the archive, where it is no file of its own; `path` then is what errors call it.

    Raises:
        DataError: The archive is damaged or encrypted.
    """
    label = f"{path}: '{member.filename}'"
    if member.flag_bits & 1:
        raise DataError(f"{label} is encrypted.", "Write it without a password.")
    if member.compress_type == zipfile.ZIP_STORED:
        part = stored_part(path, member, whole)
        return ZipMember(part.read(0, min(head_bytes, part.size_bytes)), part)
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise DataError(f"{label} is packed in a way NumPy does not write.", "Write it again with numpy.savez.")
    head = io.BytesIO()
    try:
        unpack(path, member, head, head_bytes, whole)
    except OSError as error:
        raise unreadable(path, error) from error
    return ZipMember(
        head.getvalue(),
        Unpacked(label, member.file_size, lambda file: unpack(path, member, file, member.file_size, whole)),
    )


class Slice:
    """Some of the bytes of others."""

    def __init__(self, whole: StoredBytes, offset: int, size_bytes: int) -> None:
        self._whole = whole
        self._offset = offset
        self.size_bytes = size_bytes

    def read(self, start: int, size_bytes: int) -> bytes:
        """See `StoredBytes`."""
        return self._whole.read(self._offset + start, size_bytes)


class _AsFile(io.RawIOBase):
    """Stored bytes as a file to read."""

    def __init__(self, stored: StoredBytes) -> None:
        self._stored = stored
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._stored.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._stored.size_bytes - self._place))
        buffer[:size] = self._stored.read(self._place, size)
        self._place += size
        return size


def opened(path: Path, whole: StoredBytes | None = None) -> BufferedReader:
    """Open a file, or bytes that stand for one (`open_member`), to read.

    Raises:
        OSError: The file cannot be opened.
    """
    return open_regular(path) if whole is None else BufferedReader(_AsFile(whole))


def _part(path: Path, offset: int, size_bytes: int, whole: StoredBytes | None) -> StoredBytes:
    return FilePart(path, offset, size_bytes) if whole is None else Slice(whole, offset, size_bytes)


def stored_part(path: Path, member: zipfile.ZipInfo, whole: StoredBytes | None = None) -> StoredBytes:
    """The bytes of a member that is stored as it is."""
    return _part(path, _start_of(path, member, whole), member.file_size, whole)


def _start_of(path: Path, member: zipfile.ZipInfo, whole: StoredBytes | None) -> int:
    """Find where a member's bytes begin, behind its local header (PKWARE APPNOTE 4.3.7)."""
    head = _part(path, member.header_offset, _LOCAL_HEADER_BYTES, whole).read(0, _LOCAL_HEADER_BYTES)
    name_bytes, extra_bytes = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    return member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def unpack(
    path: Path, member: zipfile.ZipInfo, file: IO[bytes], most_bytes: int, whole: StoredBytes | None = None
) -> None:
    """Write the first `most_bytes` of a member to `file`; OSErrors of writing are the caller's.

    The directory of the archive, as long as it has members, is not read again for each of them.

    Raises:
        DataError: The archive is damaged.
    """
    start = _start_of(path, member, whole)
    try:
        with opened(path, whole) as archive:
            archive.seek(start)
            packed = zipfile.ZipExtFile(archive, "r", member)
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
