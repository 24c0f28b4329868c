"""A listener that tests look into."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


class Ear:
    """Remembers what it is told: the notes, and the title, the total and the steps of each progress."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[tuple[str, int]] = []
        self.progress_told: list[tuple[int, int]] = []

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.stages]

    def note(self, text: str) -> None:
        self.notes.append(text)

    def detail(self, text: str) -> None:
        pass

    def warning(self, text: str) -> None:
        self.notes.append(text)

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        self.stages.append((title, total))
        yield lambda done, total: self.progress_told.append((done, total))
