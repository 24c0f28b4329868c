"""How long each stage of a run takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Wall time by stage, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def has_run(self, name: str) -> bool:
        """Say whether a stage has been through before."""
        return name in self._seconds

    def seconds(self) -> dict[str, float]:
        """Stage -> seconds, rounded to tenths of a millisecond."""
        return {name: round(value, 4) for name, value in self._seconds.items()}
