"""Doubts: what makes calibration data look unfit, told to quiet users too, and refused where a run is strict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qdq_cli.process.errors import DataError

ENOUGH_SAMPLES = 8
"""Fewer say little of the values a model will meet; TensorRT's Developer Guide names about 500 pictures as enough."""


@dataclass(frozen=True)
class Doubt:
    """A reason to distrust calibration data.

    Args:
        text: What was found, a finished sentence.
        hint: What to do about it, another one.
    """

    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text} {self.hint}"


def tell_doubts(doubts: Iterable[Doubt], warn: Callable[[str], None], *, strict: bool) -> None:
    """Warn of each doubt.

    Args:
        doubts: What was found.
        warn: Told each, as one text.
        strict: Whether a doubt ends the run.

    Raises:
        DataError: There is a doubt, and the run is strict; names the first.
    """
    for doubt in doubts:
        if strict:
            raise DataError(doubt.text, f"--strict refuses such data. {doubt.hint}")
        warn(str(doubt))


def few_samples(count: int) -> tuple[Doubt, ...]:
    """Doubt a calibration on fewer than eight samples."""
    if count >= ENOUGH_SAMPLES:
        return ()
    noun = "sample calibrates" if count == 1 else "samples calibrate"
    return (
        Doubt(
            f"Only {count} {noun} the model: the ranges of so few may not fit other data.",
            f"Give {ENOUGH_SAMPLES} or more; some hundred are usual.",
        ),
    )
