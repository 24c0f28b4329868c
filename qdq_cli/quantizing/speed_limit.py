"""Hold the speed of a result against the limit of the user."""

from __future__ import annotations

from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.agreement import HeldLimit, Standing, standing_of
from qdq_cli.timing.record import Speed
from qdq_cli.timing.text import interval_text

SPEED = "min_speedup"
"""What the limit of speed is called; it is of the whole model, not of an output."""

QUIET = "Measure on a machine where nothing else runs."
"""What decides about a limit of speed."""


def held_speed(speed: Speed | None, least: float | None) -> tuple[HeldLimit, ...]:
    """Say how the speed stands to its limit; nothing where there is none of the two."""
    if speed is None or least is None:
        return ()
    standing = standing_of(speed.interval, least)
    return (HeldLimit("", SPEED, least, speed.ratio, standing, speed.interval, speed.rounds),)


def unmet_speed(speed: Speed | None, least: float | None, hint: str) -> LimitError | None:
    """Hold the speed against its limit; return what is wrong."""
    if least is None:
        return None
    if speed is None:
        return LimitError(f"--min-speedup is {least:g}, and the speed could not be measured.", hint, slow=True)
    (held,) = held_speed(speed, least)
    if not held.fails:
        return None
    if held.standing is Standing.UNDECIDED:
        return LimitError(f"{undecided_speed(held)}.", f"{QUIET} {hint}".rstrip(), undecided=True)
    return LimitError(
        f"The model runs {speed.ratio:.2f} times as fast as FP32 (95 % interval {interval_text(speed)}); --min-speedup "
        f"is {least:g}.",
        hint,
        slow=True,
    )


def undecided_speed(held: HeldLimit) -> str:
    """That the limit of speed is not decided, and why, in a sentence without its end."""
    low, high = held.interval or (held.found, held.found)
    return (
        f"The model runs {held.found:.2f} times as fast as FP32, and the 95 % interval, {low:.2f} to {high:.2f}, holds "
        f"the limit: --min-speedup {held.asked:g} can be met or not"
    )
