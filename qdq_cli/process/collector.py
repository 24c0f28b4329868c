"""Python's cycle collector, paused where much is made and nothing becomes garbage: imports, and large graphs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking through a growing graph again and again: half the time of a large model."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # counts all of it as old, so that it is not looked through at once
                gc.freeze()
                gc.unfreeze()
            gc.enable()
