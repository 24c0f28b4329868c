"""Clocks that tests hand to what is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def ticking(milliseconds: Iterable[float]) -> Callable[[], float]:
    """A clock that is read at both ends of runs which take so long, one after the other."""

    def readings() -> Iterator[float]:
        now = 0.0
        for each in milliseconds:
            yield now
            now += each / 1000
            yield now

    return readings().__next__


def in_turn(first: float, second: float, rounds: int) -> Callable[[], float]:
    """A clock for two models that take so many milliseconds each: a pilot, then rounds in which they change places."""
    swapped = ([first, second] if number % 2 == 0 else [second, first] for number in range(rounds))
    return ticking([first, second, *(each for pair in swapped for each in pair)])
