"""How a long run tells the outside what it does, without knowing of a terminal."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from typing import Protocol, TypeVar


class Listener(Protocol):
    """What the pipeline talks to; `console.Console` is one."""

    def note(self, text: str) -> None:
        """Take a sentence the user should read now."""
        ...

    def detail(self, text: str) -> None:
        """Take a sentence for those who ask how the work is done; it may differ from machine to machine."""
        ...

    def warning(self, text: str) -> None:
        """Take a sentence the user must not miss: a result that is not what was asked for."""
        ...

    def progress(self, title: str, total: int) -> contextlib.AbstractContextManager[Callable[[int, int], None]]:
        """Open a progress display for `total` runs; what it yields is told (done, total) so far."""
        ...


class _Silent:
    def note(self, text: str) -> None:
        """Ignore the note."""

    def detail(self, text: str) -> None:
        """Ignore the detail."""

    def warning(self, text: str) -> None:
        """Ignore the warning; it is in the report too."""

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Yield a function that does nothing."""
        yield lambda done, total: None


SILENT: Listener = _Silent()
"""Says nothing; what library callers get by default."""

Item = TypeVar("Item")

_STAGE: ContextVar[tuple[Listener, str] | None] = ContextVar("stage", default=None)


@contextlib.contextmanager
def telling(listener: Listener, title: str) -> Iterator[None]:
    """Within the block, let loops that count what they do, however deep inside, tell a listener under a title."""
    before = _STAGE.set((listener, title))
    try:
        yield
    finally:
        _STAGE.reset(before)


@contextlib.contextmanager
def counted(total: int) -> Iterator[Callable[[int, int], None]]:
    """Open a progress display of the stage that runs; yields what is told (done, total). Outside of stages, nobody is.

    For work that a stage waits for, in rooms that know of no listener. Whoever shows it does so where it lasts.

    Args:
        total: How much there is to do.
    """
    stage = _STAGE.get()
    if stage is None:
        yield lambda done, total: None
        return
    listener, title = stage
    with telling(SILENT, title), listener.progress(title, total) as advance:  # what is inside is part of it
        yield advance


def each(items: Collection[Item]) -> Iterator[Item]:
    """Yield items one by one, and tell the stage that runs how many of them are done."""
    if not items:
        return
    with counted(len(items)) as advance:
        for done, item in enumerate(items, 1):
            yield item
            advance(done, len(items))


@contextlib.contextmanager
def stepping(total: int) -> Iterator[Callable[[], None]]:
    """Open a progress display of the stage that runs, for steps of different kinds; yields what is called behind each.

    Args:
        total: How many steps there are.
    """
    with counted(total) as advance:
        done = itertools.count(1)
        yield lambda: advance(next(done), total)
