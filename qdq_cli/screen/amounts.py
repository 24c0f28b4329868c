"""Sizes, counts, shares, ratios and times as people read them: each kind is written in one way, here."""

from __future__ import annotations

import math
from collections.abc import Mapping

_PREFIXES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def size_text(size_bytes: int) -> str:
    """Write a size with its unit, in powers of 1000: "512 B", "694.6 kB", "2.7 GB"."""
    text = short_count(size_bytes)
    return f"{text}B" if " " in text else f"{text} B"


def short_count(number: int) -> str:
    """Write a count with its prefix: "870", "12.3 k", "1.2 G"."""
    for limit, prefix in _PREFIXES:
        if number >= 0.99995 * limit:  # 999,960 is 1.0 M, not 1000.0 k
            return f"{number / limit:.1f} {prefix}"
    return str(number)


def share_text(percent: float) -> str:
    """Write a share in percent so that "100.0 %" means all of it, and "0.0 %" nothing."""
    return f"{percent:.1f} %" if percent in (0.0, 100.0) else f"{min(max(percent, 0.1), 99.9):.1f} %"


def digits_percent(percent: float) -> str:
    """Write a percentage that may be tiny or far above 100 with three digits: "0.0123 %", "1.2e+03 %"."""
    return f"{percent:.3g} %"


def decibels(sqnr_db: float) -> str:
    """Write an SQNR: "34.8 dB"."""
    return f"{sqnr_db:.1f} dB"


def seconds_text(seconds: Mapping[str, float]) -> str:
    """Write the time of a run, and of the stages that took some: "0.7  (prepare 0.1, observe 0.3)"."""
    shown = [f"{stage} {value:.1f}" for stage, value in seconds.items() if value >= 0.05]
    return f"{math.fsum(seconds.values()):.1f}" + (f"  ({', '.join(shown)})" if shown else "")


def times_text(ratio: float) -> str:
    """Write how many times as much something is: "0.41 times", "1.61 times", "12.4 times"."""
    return f"{ratio:.2f} times" if ratio < 9.995 else f"{ratio:.1f} times"


def milliseconds_text(milliseconds: float) -> str:
    """Write a time of a run with three digits: "0.0421 ms", "3.10 ms", "1240 ms"."""
    digits = max(0, 2 - math.floor(math.log10(milliseconds))) if milliseconds > 0 else 0
    return f"{milliseconds:.{min(digits, 4)}f} ms"
