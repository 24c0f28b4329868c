"""The float rest of a model as lines of text."""

from __future__ import annotations

from collections import Counter

from qdq_cli.quantizing.float_record import FloatRest
from qdq_cli.screen.lines import beside
from qdq_cli.screen.sentences import count_text

MAX_REASONS = 3


def float_lines(rest: FloatRest, width: int = 80) -> list[str]:
    """Return what of the float rest stays FP32, and the commonest reasons."""
    lines = beside(float_text(rest), width)
    by_reason = Counter((kept.code, _short(kept.reason)) for kept in rest.kept).most_common()
    for (code, reason), count in by_reason[:MAX_REASONS]:
        lines += beside(f"{count} x {code}: {reason}", width, indent=4)
    more = sum(count for _, count in by_reason[MAX_REASONS:])
    lines += [f"and {more} more for other reasons (-v lists them)"] if more else []
    return lines


def unweighed_lines(rest: FloatRest, width: int = 80) -> list[str]:
    """Say how many tensors nothing is known of; nothing where there are none."""
    return beside(unweighed_text(rest), width) if rest.unobserved else []


def float_text(rest: FloatRest) -> str:
    """Write the float type, how many operators stay FP32, and the Casts between."""
    name = rest.float_type.upper()
    kept = f"{len(rest.kept)} of {count_text(rest.operators, 'operator')} stay FP32" if rest.kept else "all of it"
    if rest.casts is None:
        later = "; calibration may find more"
        return f"{name}, {kept} whatever the data{later}" if rest.kept else f"{name}{later} that stay FP32"
    return f"{name}, {kept}; {count_text(rest.casts, 'Cast')}"


def _short(reason: str) -> str:
    """A reason without what was found of one operator."""
    return reason.partition(":")[0]


def unweighed_text(rest: FloatRest) -> str:
    """Say how many tensors nothing is known of."""
    return f"{count_text(len(rest.unobserved or ()), 'tensor')} not observed, so their size was not weighed"


def kept_lines(rest: FloatRest) -> list[str]:
    """List every operator that stays FP32."""
    found = [f"  {kept.code:<24} {kept.op_type} {kept.node}: {kept.reason}" for kept in rest.kept]
    return ["", f"FP32 beside {rest.float_type.upper()}:", *found] if found else []
