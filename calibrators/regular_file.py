"""Opening files that others name: regular files alone, because a pipe can wait for ever and a device never ends."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "it is a named pipe"),
    (stat.S_ISSOCK, errno.EINVAL, "it is a socket"),
    (stat.S_ISCHR, errno.EINVAL, "it is a device"),
    (stat.S_ISBLK, errno.EINVAL, "it is a device"),
)
"""What a path can be besides a file: test of its mode, error number, and the words for it."""


def open_regular(path: Path | str) -> BufferedReader:
    """Open a regular file to read its bytes; symbolic links are followed.

    It never waits: a named pipe without a writer is refused like every other one.

    Raises:
        OSError: The file cannot be opened, or the path leads to something else than a regular file; `strerror` says
            to what, in words that end a sentence ("it is a named pipe, and only regular files are read").
    """
    _check_regular(os.stat(path).st_mode)  # noqa: PTH116 - asked first: to open a device can have effects of its own
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open() takes no opener
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)  # the path may lead elsewhere by now
    except OSError:
        file.close()
        raise
    return file


def _check_regular(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    for is_kind, number, words in _KINDS:
        if is_kind(mode):
            raise OSError(number, f"{words}, and only regular files are read")
    raise OSError(errno.EINVAL, "it is no regular file")


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe, on systems that have such."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
