"""What enlarging nearly dead channels gained, as a frozen record; it is part of the `--json` document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpreadGain:
    """What was done to the channels in front of one depthwise convolution.

    Args:
        operator: Its name.
        enlarged: How many channels are larger by powers of two.
        folded: How many are constant and went into its bias.
        before_db: SQNR of its own output without that, channels counted alike, dB; None where no pieces were kept, or
            where it is not quantized.
        after_db: The same with it.
    """

    operator: str
    enlarged: int
    folded: int
    before_db: float | None = None
    after_db: float | None = None
