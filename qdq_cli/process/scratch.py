"""Folders for temporary files, outside of what the user sees; what a killed process left of them is removed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from calibrators.leftovers import remove_abandoned, working_folder

_PREFIX = "qdq-scratch-"
_SUFFIX = ".tmp"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder in the system's temporary one; it is gone at the end of the block.

    Raises:
        OSError: There is no temporary folder that can be written.
    """
    parent = Path(tempfile.gettempdir()).resolve()
    remove_abandoned(parent, _PREFIX, _SUFFIX)
    with working_folder(parent, _PREFIX, _SUFFIX) as folder:
        yield folder
