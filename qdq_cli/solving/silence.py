"""Keep native code from writing to the terminal.

HiGHS prints lines of its own to the process's standard output before it can be told not to, and now and then whatever
its options say; one JSON document has to stay one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_OUTPUT = 1  # the process's standard output, whatever Python's sys.stdout is


@contextlib.contextmanager
def native_output_hidden() -> Iterator[None]:
    """Within the block, what C code prints goes nowhere; what Python has not yet flushed is not touched."""
    try:
        kept = os.dup(_OUTPUT)
    except OSError:  # closed by the caller: there is nothing to hide
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    _flush()
    try:
        os.dup2(nowhere, _OUTPUT)
        yield
    finally:
        _flush()  # C buffers what it prints into pipes and files
        os.dup2(kept, _OUTPUT)
        os.close(kept)
        os.close(nowhere)


def _flush() -> None:
    """Write out what the C library holds back."""
    library = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
    library.fflush(None)
