"""What was done about channels and tensors before they are rounded, and what it gained: parts of `--json` documents."""

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


@dataclass(frozen=True)
class ShiftGain:
    """A tensor that is shifted, so that its values use all codes.

    Args:
        tensor: Its name.
        step: From one code to the next, in the tensor's own units.
        step_before: The same without the shift.
    """

    tensor: str
    step: float
    step_before: float


@dataclass(frozen=True)
class SteadyGain:
    """An operator whose bias makes up for the rounding of channels that hardly move.

    Args:
        operator: Its name.
        before_db: SQNR of its own output without that, dB.
        after_db: The same with it.
    """

    operator: str
    before_db: float
    after_db: float
