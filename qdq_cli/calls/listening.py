"""What a call tells while it runs, by functions of the caller."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from qdq_cli.process.errors import UsageError

OnProgress: TypeAlias = Callable[[str, int, int], object]
"""Told the title of a stage, how many of its runs are done, and how many there are."""

OnNote: TypeAlias = Callable[[str], object]
"""Told a sentence that the user should read; the report holds them too."""


@dataclass(frozen=True)
class Told:
    """A listener (`qdq_cli.process.progress`) made of functions.

    Args:
        on_progress: Told about progress; None for nobody.
        on_note: Told notes and warnings; None for nobody.
    """

    on_progress: OnProgress | None = None
    on_note: OnNote | None = None

    def __post_init__(self) -> None:
        for name in ("on_progress", "on_note"):
            told = getattr(self, name)
            if told is not None and not callable(told):
                raise UsageError(f"{name} is {told!r:.60} ({type(told).__name__}); expected a function, or None.")

    def note(self, text: str) -> None:
        """See `Listener`."""
        if self.on_note is not None:
            self.on_note(text)

    def detail(self, text: str) -> None:
        """See `Listener`; callers are told what the report says, which this does not."""

    def warning(self, text: str) -> None:
        """See `Listener`."""
        self.note(text)

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """See `Listener`."""

        def advance(done: int, total: int) -> None:
            if self.on_progress is not None:
                self.on_progress(title, done, total)

        yield advance


def told_of(given: Mapping[str, Any]) -> Told:
    """Make a listener of the functions among the keywords of a call."""
    return Told(given.get("on_progress"), given.get("on_note"))
