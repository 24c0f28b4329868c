"""Arrays that come once, kept on disk: they are read again in any order, and memory holds one of them at a time."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import IO

import numpy as np

from qdq_cli.process.errors import DataError

_IN_MEMORY_BYTES = 16 << 20
"""Arrays that together take no more are not written."""


class Spool:
    """A temporary file without a name; it is gone with this object. Safe for threads."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115, closed with this object
        self._lock = threading.Lock()
        self.size_bytes = 0
        weakref.finalize(self, self._file.close)

    def add(self, array: np.ndarray, label: str) -> int:
        """Keep the elements of an array in C order; returns where they begin.

        Raises:
            DataError: There is no room for it.
        """
        return self.write(lambda file: file.write(array.tobytes()), label)

    def write(self, fill: Callable[[IO[bytes]], object], label: str) -> int:
        """Keep what a function writes to a file; returns where it begins.

        Args:
            fill: The function; a DataError of its own comes through.
            label: What errors call it.

        Raises:
            DataError: There is no room for it.
        """
        with self._lock:
            start = self.size_bytes
            try:
                self._file.seek(start)
                fill(self._file)
                self.size_bytes = self._file.tell()
            except OSError as error:
                raise DataError(
                    f"{label} cannot be kept in the temporary folder {tempfile.gettempdir()}: "
                    f"{error.strerror or error}.",
                    "Name a folder with room in TMPDIR, or take fewer samples.",
                ) from error
        return start

    def read(self, start: int, size_bytes: int) -> bytes:
        """See `StoredBytes`."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size_bytes)
