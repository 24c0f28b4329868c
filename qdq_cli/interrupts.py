"""Ending a long run early without losing what it has done: Ctrl-C and SIGTERM become a question the run can ask."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

Stop = Callable[[], bool]
"""Says whether the user wants to end the run early."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP is unknown to Windows


def never() -> bool:
    """Go on to the end."""
    return False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Within the block, the first signal only makes the yielded function return True; a second one ends at once.

    Outside of the main thread, where Python sets no handlers, signals do what they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield never
        return
    asked = threading.Event()
    before: dict[int, Any] = {}

    def ask(number: int, frame: object) -> None:
        asked.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for name in _SIGNALS:
        if (number := getattr(signal, name, None)) is not None:
            before[number] = signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        restore()
