"""Ending a run early: by KeyboardInterrupt, or without losing what it has done, as a question the run can ask."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from qdq_cli.process.errors import ExitCode

Stop = Callable[[], bool]
"""Says whether the user wants to end the run early."""

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those that ask a program to end; SIGHUP is unknown to Windows."""

_interrupted = threading.Event()
_heard_by_asking = 0
"""Blocks of `hearing_by_asking` the main thread is in."""


def interrupt_on_signals() -> None:
    """Let each signal that asks the program to end raise KeyboardInterrupt, unless it is handled or ignored already."""
    _interrupted.clear()
    sys.unraisablehook = _tell_unless_interrupted
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def interrupt(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt, wherever the main thread is just now; where it asks, only note that."""
    _interrupted.set()
    if not _heard_by_asking:
        raise KeyboardInterrupt


def end_at_once_on_signals() -> None:
    """Let each of these signals end the process without a word from now on: all is done, or told."""
    for number in _SIGNALS:
        if signal.getsignal(number) is interrupt:
            signal.signal(number, _leave)


def _leave(number: int, frame: object) -> NoReturn:
    os._exit(ExitCode.INTERRUPTED)


def _tell_unless_interrupted(found: sys.UnraisableHookArgs) -> None:
    """Show what Python cannot raise, but not an interrupt: `insist` raises that again."""
    if not isinstance(found.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(found)


def insist() -> None:
    """Raise an interrupt again that led nowhere; long work asks this between its steps.

    Python drops what is raised in the callback of a weak reference, and a compiled module what is raised while it is
    set up: without this, a Ctrl-C while `numpy.random` is imported goes unheard.

    Raises:
        KeyboardInterrupt: The program was asked to end.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def hearing_by_asking() -> Iterator[None]:
    """Within the block, a signal raises nothing by itself: the block calls `insist` often, and its end does.

    For whatever starts threads or waits for them. Raised inside Python's own locks, KeyboardInterrupt becomes another
    error ("release unlocked lock"), leaves a lock taken for ever, or is dropped in the callback of a weak reference.

    Raises:
        KeyboardInterrupt: The program was asked to end.
    """
    global _heard_by_asking  # noqa: PLW0603 - a handler has no other place to look
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's alone
        yield
        return
    _heard_by_asking += 1
    try:
        yield
    finally:
        _heard_by_asking -= 1
    insist()


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

    for number in _SIGNALS:
        before[number] = signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        restore()
