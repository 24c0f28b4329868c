"""NumPy files: .npy and .npz opened by their headers only, and read a few rows at a time.

Format: numpy.lib.format (NEP 1), versions 1.0 to 3.0. Pickled objects are refused: reading them runs code.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from qdq_cli.config.data import ARRAY_ENDINGS
from qdq_cli.data.stored import FilePart, StoredBytes, Unpacked, open_member, opened, unreadable
from qdq_cli.process.errors import DataError

EXTENSIONS = frozenset(ARRAY_ENDINGS)

_HEADER_ERRORS = (
    ValueError, TypeError, SyntaxError, KeyError, AttributeError, OverflowError, EOFError, MemoryError, RecursionError,
    tokenize.TokenError,
)  # fmt: skip
"""What NumPy raises for a header that is no text it wrote; those of Python 2 go through the tokenizer first."""

_VERSIONS = ((1, 0), (2, 0), (3, 0))
_MOST_REORDERED_BYTES = 1 << 30
_HEAD_BYTES = 128 << 10
"""More than any header NumPy writes or accepts."""


@dataclass(frozen=True)
class StoredArray:
    """An array on disk.

    Attributes:
        source: File it is in, as users know it.
        name: Name inside the file, "" in a .npy.
        shape, dtype: As in the header.
        stored: The bytes; the elements begin at `offset`, in C order.
    """

    source: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    stored: StoredBytes
    offset: int

    @property
    def label(self) -> str:
        """How errors call it: "calib.npz: array 'x'" or "x.npy"."""
        return f"{self.source}: array '{self.name}'" if self.name else str(self.source)

    def item(self, index: int) -> np.ndarray:
        """Read a[index], an array of shape `shape[1:]`.

        Raises:
            DataError: The file cannot be read any more, or its packed content is damaged.
        """
        rest = self.shape[1:]
        size_bytes = math.prod(rest) * self.dtype.itemsize
        data = self.stored.read(self.offset + index * size_bytes, size_bytes)
        return np.frombuffer(data, self.dtype).reshape(rest)

    def whole(self) -> np.ndarray:
        """Read the whole array. Raises: see `item`."""
        data = self.stored.read(self.offset, math.prod(self.shape) * self.dtype.itemsize)
        return np.frombuffer(data, self.dtype).reshape(self.shape)


def open_npy(path: Path, whole: StoredBytes | None = None) -> StoredArray:
    """Open a .npy file.

    Args:
        path: The file.
        whole: Its bytes, where it is a member of an archive; `path` then is what errors call it.

    Raises:
        DataError: No .npy content, pickled or structured elements, or fewer or more bytes than the header says.
    """
    try:
        part = FilePart(path, 0, path.stat().st_size) if whole is None else whole
    except OSError as error:
        raise unreadable(path, error) from error
    return _open_array(path, "", part.read(0, min(_HEAD_BYTES, part.size_bytes)), part)


def list_npz(path: Path, whole: StoredBytes | None = None) -> dict[str, zipfile.ZipInfo]:
    """List the arrays of a .npz file, by name; nothing of them is read, and other members are left alone.

    Args:
        path, whole: As in `open_npy`.

    Raises:
        DataError: No zip archive, or damaged; no arrays in it.
    """
    try:
        with opened(path, whole) as file, zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise unreadable(path, error, "It is no .npz file, or truncated; write it again with numpy.savez.") from error
    if not members:
        raise DataError(f"{path} holds no arrays.", "Write it with numpy.savez(path, NAME=array).")
    return {member.filename.removesuffix(".npy"): member for member in members}


def open_in_npz(path: Path, member: zipfile.ZipInfo, whole: StoredBytes | None = None) -> StoredArray:
    """Open one array of a .npz file.

    Args:
        path, whole: As in `open_npy`.
        member: The array.

    Raises:
        DataError: The archive is damaged, or the array as `open_npy` refuses it.
    """
    found = open_member(path, member, _HEAD_BYTES, whole)
    return _open_array(path, member.filename.removesuffix(".npy"), found.head, found.stored)


def _open_array(path: Path, name: str, head: bytes, stored: StoredBytes) -> StoredArray:
    label = f"{path}: array '{name}'" if name else str(path)
    shape, by_columns, dtype, offset = _parse_header(label, head)
    if dtype.hasobject:
        raise DataError(
            f"{label} holds pickled Python objects, which are not read because that can run code.",
            "Save plain numbers: numpy.save(path, array.astype(numpy.float32)).",
        )
    if dtype.names is not None or dtype.itemsize == 0:
        raise DataError(f"{label} has elements of type {dtype}.", "Save one plain array of numbers an input.")
    need, have = math.prod(shape) * dtype.itemsize, stored.size_bytes - offset
    if have != need:
        raise DataError(
            f"{label} holds {have:,} bytes of data, but its header says {need:,} ({dtype} {list(shape)}).",
            "It is truncated; write it again." if have < need else "Save one array in a file, or use numpy.savez.",
        )
    if by_columns and len(shape) > 1:
        return StoredArray(path, name, shape, dtype, _in_rows(label, shape, dtype, stored, offset), 0)
    return StoredArray(path, name, shape, dtype, stored, offset)


def _in_rows(
    label: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], stored: StoredBytes, offset: int
) -> StoredBytes:
    """Reorder a Fortran-ordered array, whose samples lie interleaved, when it is first read."""
    size_bytes = stored.size_bytes - offset
    if size_bytes > _MOST_REORDERED_BYTES:
        raise DataError(
            f"{label} is stored in Fortran order and too large ({size_bytes:,} bytes) to be reordered.",
            "Save numpy.ascontiguousarray(array).",
        )

    def fill(file: IO[bytes]) -> None:
        for row in np.frombuffer(stored.read(offset, size_bytes), dtype).reshape(shape, order="F"):
            file.write(row.tobytes())

    return Unpacked(label, size_bytes, fill)


def _parse_header(label: str, head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], int]:
    """Read shape, whether the order is Fortran's, type, and where the elements begin."""
    file = io.BytesIO(head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers written by Python 2, and reads them
            version = npy_format.read_magic(file)
            if version not in _VERSIONS:
                raise ValueError(f"unknown format version {version}")
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            if any(size < 0 for size in shape):
                raise ValueError(f"shape {shape} has negative sizes")
    except _HEADER_ERRORS as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(f"{label} is no .npy content: {reason}.", "Write it with numpy.save or numpy.savez.") from error
    return tuple(shape), bool(by_columns), np.dtype(dtype), file.tell()
