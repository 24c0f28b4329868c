"""A note that few samples calibrate, as records have it: whoever reads a record needs no room that reads data."""

from __future__ import annotations

from dataclasses import dataclass

MANY_SAMPLES, SOME_SAMPLES = 64, 16
"""With fewer than the first, reports say that few samples calibrate; with fewer than the second, in stronger words."""

FEW, VERY_FEW = "few", "very_few"


@dataclass(frozen=True)
class FewSamples:
    """A note that few samples calibrate: it changes no exit code, and --strict does not refuse it.

    Args:
        level: `few` below 64 samples, `very_few` below 16.
        text: What that means, a finished sentence.
    """

    level: str
    text: str


def note_of_few(samples: int) -> FewSamples | None:
    """Say that few samples calibrate; None for 64 or more, and for 0, where nobody knows how many did.

    Args:
        samples: How many calibrated.
    """
    if not 0 < samples < MANY_SAMPLES:
        return None
    if samples >= SOME_SAMPLES:
        text = f"Fewer than {MANY_SAMPLES} samples: rare large values may be missing. Some hundred are usual."
        return FewSamples(FEW, text)
    return FewSamples(
        VERY_FEW,
        f"Fewer than {SOME_SAMPLES} samples: expect ranges that do not fit other data. Give {MANY_SAMPLES} or more; "
        "some hundred are usual.",
    )
