"""Files that a run will write, looked at before its work: hours of it must not end at a folder that is not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from qdq_cli.process.errors import UsageError


def check_writable(path: Path, what: str = "the output", option: str = "-o", *, streams: bool = False) -> Path:
    """Return the absolute path of a file to be written, after making sure that it can be, as far as one can tell.

    Args:
        path: The file; it may be there already.
        what: What it is, as a sentence names it.
        option: What names it on the command line.
        streams: A device or a pipe will do too.

    Raises:
        UsageError: It is a folder or a device, its name is too long, or its folder does not exist or may not be
            written.
    """
    target = _absolute(path, option)
    subject = f"{what[0].upper()}{what[1:]} {target}"
    if target.is_dir():
        raise UsageError(f"{subject} is a folder.", f"Name a file with {option}.")
    if target.exists() and not target.is_file():
        if streams:
            return target
        raise UsageError(f"{subject} is a device or a pipe, not a file.", f"Name another file with {option}.")
    folder = target.parent
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"The folder of {what}, {folder}, does not exist: it is a file.", "Name another folder.")
    if not folder.is_dir():
        raise UsageError(f"The folder of {what}, {folder}, does not exist.", "Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"The folder of {what}, {folder}, may not be written: {os.strerror(errno.EACCES)}.",
            f"Name a file in another folder with {option}.",
        )
    return target


def _absolute(path: Path, option: str) -> Path:
    """Make a path absolute; links in it stay.

    Raises:
        UsageError: No file can have such a name.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps "..", resolve() follows links
    try:
        target.exists()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}.", "Name another file.") from error
    return target


def check_apart(path: Path, option: str, others: Iterable[Path]) -> None:
    """Make sure that a file to be written is none of the other files of a run.

    Args:
        path: The file.
        option: What names it on the command line.
        others: Files that are read or written.

    Raises:
        UsageError: It is one of them, by whatever name.
    """
    target = path.absolute().resolve()
    if any(target == other.absolute().resolve() for other in others):
        raise UsageError(f"{option} {path} is another file of this run.", "Name another file.")
