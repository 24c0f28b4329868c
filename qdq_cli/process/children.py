"""Programs that a run starts: ended with everything they started where the run does not wait for them any more."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

SHOWN_LINES = 12
"""Most lines of a program's output that go on to the user where it fails."""


@contextlib.contextmanager
def ending(process: subprocess.Popen[Any]) -> Iterator[None]:
    """End a program at the end of the block, and on POSIX what it started in its session, where it still runs."""
    try:
        yield
    finally:
        if process.poll() is None:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()


def ended_text(code: int) -> str:
    """Write how a program ended that did not end well, in a part of a sentence."""
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"


def last_lines(text: str, heading: str) -> tuple[str, ...]:
    """Return the last lines of an output, under a heading; nothing for an empty one."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ()
    cut = ("...",) if len(lines) > SHOWN_LINES else ()
    return (heading, *cut, *lines[-SHOWN_LINES:])
