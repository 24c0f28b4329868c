"""How a long run tells the outside what it does, without knowing of a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol


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
