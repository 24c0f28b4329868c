"""Work in a process of its own, which may be killed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Run a function in a child process, which ends with 0 whatever comes of it; returns its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests have started
        child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child
