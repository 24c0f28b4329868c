"""Listeners that tests look into."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


class Titles:
    """A listener that keeps the titles of progress, and the notes."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warning(self, text: str) -> None:
        self.notes.append(text)

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        self.titles.append(title)
        yield lambda done, total: None
