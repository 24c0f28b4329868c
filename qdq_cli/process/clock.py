"""How long each stage of a run takes, and how much of that certain parts of it do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Part:
    """What a part of a stage took: how often there was one, and the seconds of all together."""

    count: int = 0
    seconds: float = 0.0


@dataclass
class Tally:
    """What the stages of a command took, however many clocks it has.

    Args:
        seconds: Stage -> wall time.
        parts: Stage -> the parts that tell themselves (`part`), by what one of them is called.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    parts: dict[str, dict[str, Part]] = field(default_factory=dict)


_TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)
_STAGE: ContextVar[str] = ContextVar("stage of the clock", default="")


@contextlib.contextmanager
def tallying() -> Iterator[Tally]:
    """Within the block, let every clock add its stages to one tally too."""
    tally = Tally()
    before = _TALLY.set(tally)
    try:
        yield tally
    finally:
        _TALLY.reset(before)


@contextlib.contextmanager
def part(name: str) -> Iterator[None]:
    """Tell the stage that runs, where somebody keeps a tally, that the block is a part of it, and what it took.

    Args:
        name: What one of them is called, such as "session".
    """
    tally, stage = _TALLY.get(), _STAGE.get()
    if tally is None or not stage:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        found = tally.parts.setdefault(stage, {}).setdefault(name, Part())
        found.count += 1
        found.seconds += time.perf_counter() - start


class Clock:
    """Wall time by stage, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        tally, outer = _TALLY.get(), _STAGE.set(name)
        if tally is not None:
            tally.seconds.setdefault(name, 0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self._seconds[name] = self._seconds.get(name, 0.0) + took
            if tally is not None:
                tally.seconds[name] += took
            _STAGE.reset(outer)

    def has_run(self, name: str) -> bool:
        """Say whether a stage has been through before."""
        return name in self._seconds

    def seconds(self) -> dict[str, float]:
        """Stage -> seconds, rounded to tenths of a millisecond."""
        return {name: round(value, 4) for name, value in self._seconds.items()}
