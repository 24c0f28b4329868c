"""A program that a run waits for, within limits on its time and on the memory that it and what it started hold.

Memory is looked at from outside, at the rate at which interrupts are: the one way that is the same on Linux, macOS and
Windows, and that suits programs with large reserved address spaces, such as those that use CUDA, which a limit of the
system on addresses would refuse.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

from qdq_cli.process.interrupts import insist

_LOOK_SECONDS = 0.2
"""How often a waiting run looks at the program, and whether it was interrupted itself."""


@dataclass(frozen=True)
class Limits:
    """What a program may take.

    Args:
        seconds: Most time.
        memory_bytes: Most memory.
    """

    seconds: float
    memory_bytes: int


class Exceeded(Enum):
    """The limit that a program did not keep."""

    TIME = "time"
    MEMORY = "memory"


def wait_within(process: subprocess.Popen[Any], limits: Limits) -> int | Exceeded:
    """Wait for a program; the caller ends it where it exceeds a limit.

    Returns:
        Its exit code, or the limit that it exceeds.

    Raises:
        KeyboardInterrupt: The run is interrupted.
    """
    end = time.monotonic() + limits.seconds
    while True:
        left = end - time.monotonic()
        try:
            return process.wait(timeout=max(0.0, min(_LOOK_SECONDS, left)))
        except subprocess.TimeoutExpired:
            insist()
        if held_bytes(process.pid) > limits.memory_bytes:
            return Exceeded.MEMORY
        if left <= 0:
            return Exceeded.TIME


def held_bytes(pid: int) -> int:
    """Return the resident memory of a program and of everything it started; 0 for one that has ended."""
    import psutil

    gone = (psutil.NoSuchProcess, psutil.AccessDenied)
    with contextlib.suppress(*gone):
        process = psutil.Process(pid)
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(*gone):
                total += child.memory_info().rss
        return int(total)
    return 0
