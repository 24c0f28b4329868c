"""Folders to work in that a killed process leaves behind, and the next one removes: a lock tells dead from living.

Nobody can clean up after `kill -9`. So each folder is held with a lock that the system lets go of when its process
ends, however it ends; a folder that can be locked has nobody who works in it. Where the system or the file system knows
no such locks, everything is taken for living, and stays.

Source: flock(2), which locks the open file, not the process id, and so holds across containers and reused numbers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def working_folder(parent: Path, prefix: str, suffix: str) -> Iterator[Path]:
    """Make a folder for this process alone, which is removed at the end of the block.

    Raises:
        OSError: It cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))
    held = _lock(folder)
    while not folder.exists():  # another process took it for abandoned in the moment before it was locked
        os.close(held)
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))
        held = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def remove_abandoned(
    parent: Path, prefix: str, suffix: str, before: Callable[[Path], object] = lambda folder: None
) -> None:
    """Remove the folders of this user that processes left which are dead; those of living ones stay.

    Args:
        parent: Where they are.
        prefix: How their names start; nothing else may be called so.
        suffix: How their names end.
        before: Is given each before it goes.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(parent)):
            if entry.name.startswith(prefix) and entry.name.endswith(suffix) and entry.is_dir(follow_symlinks=False):
                _remove_if_abandoned(Path(entry), before)


def _remove_if_abandoned(folder: Path, before: Callable[[Path], object]) -> None:
    if fcntl is None or folder.lstat().st_uid != os.geteuid():
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before(folder)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # somebody works in it, or no such locks exist here
        return
    finally:
        os.close(held)


def _lock(folder: Path) -> int:
    """Hold a folder until the returned file is closed, or this process ends."""
    if fcntl is None:
        return os.open(os.devnull, os.O_RDONLY)
    try:
        held = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(os.devnull, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a file system without locks: nobody can lock it, so nobody removes it
        fcntl.flock(held, fcntl.LOCK_EX)
    return held
