"""How fast a model is, in words."""

from __future__ import annotations

from qdq_cli.screen.amounts import milliseconds_text, times_text
from qdq_cli.screen.lines import beside
from qdq_cli.screen.sentences import count_text
from qdq_cli.timing.record import Speed

_WIDE = 0.2
"""From this width on, as a share of the ratio, an interval is said to be wide."""


def speed_text(speed: Speed, reference: str = "FP32") -> str:
    """Say how many times as fast, and where: `1.61 times as fast as FP32 on this CPU (AVX2), batch 1`."""
    where = f"on this CPU ({speed.processor.units_text}), batch {speed.batch_size}"
    return f"{times_text(speed.ratio)} as fast as {reference} {where} (95 % interval {interval_text(speed)})"


def speed_lines(speed: Speed, width: int, reference: str = "FP32") -> list[str]:
    """How fast a model is and how that was measured, wrapped beside a label."""
    return [*beside(speed_text(speed, reference), width), *beside(times_of(speed), width, indent=2)]


def interval_text(speed: Speed) -> str:
    """Both ends of the interval: `1.58 to 1.63`."""
    return f"{speed.interval[0]:.2f} to {speed.interval[1]:.2f}"


def times_of(speed: Speed) -> str:
    """Both medians, and how they were measured: `3.10 ms instead of 4.98, medians of 101 runs in turn`."""
    after, before = (milliseconds_text(each.median_ms) for each in (speed.quantized, speed.reference))
    threads = count_text(speed.threads, "thread")
    busy = "; the spread is wide: other programs are running" if _is_wide(speed) else ""
    return f"{after} instead of {before}, medians of {speed.rounds} runs in turn, {threads}; {speed.runtime}{busy}"


def _is_wide(speed: Speed) -> bool:
    return speed.interval[1] - speed.interval[0] > _WIDE * speed.ratio
