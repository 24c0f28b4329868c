"""Times of layers as lines of text: all of them, those of stand-alone Q/DQ, and what to mend first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdq_cli.building.agreement import types_text
from qdq_cli.building.record import Kernel, Loss
from qdq_cli.screen.amounts import share_text, size_text
from qdq_cli.screen.lines import Paint, elided, wrapped
from qdq_cli.screen.sentences import count_text, some_of

MAX_LOSSES = 8


def time_text(total_ms: float, layers: int, untimed: int) -> str:
    """Say what all layers take."""
    without = f"; {count_text(untimed, 'layer')} without a time" if untimed else ""
    return f"{total_ms:.3f} ms in {count_text(layers, 'layer')}{without}"


def conversions_time_text(conversions_ms: float | None, total_ms: float | None) -> str:
    """Say behind the number of stand-alone Q/DQ what they take; "" where nothing was measured."""
    if conversions_ms is None or not total_ms:
        return ""
    return f", {1000 * conversions_ms:.1f} us, {share_text(100 * conversions_ms / total_ms)} of the time"


def loss_lines(losses: Sequence[Loss], paint: Paint, most: int, *, timed: bool) -> list[str]:
    """Return what costs time and could be mended, with the advice.

    Args:
        losses: All of them, in their order.
        paint: Colours a text.
        most: Most that are shown.
        timed: Whether there are times, or bytes give the order.
    """
    if not losses:
        return []
    lines = ["", f"what to mend, most {'time' if timed else 'bytes'} first:"]
    for loss in losses[:most]:
        lines += ["", f"  {paint(loss.found, 'yellow')}  {elided(loss.subject, 44)}  {cost_text(loss)}".rstrip()]
        lines += wrapped(loss.advice, 4)
    left = len(losses) - most
    return lines + ([f"  ... and {left} more (-v, --json)"] if left > 0 else [])


def cost_text(loss: Loss) -> str:
    """Write the time of a loss, or else its bytes."""
    if loss.time_ms is not None:
        return f"{1000 * loss.time_ms:.1f} us"
    return "" if loss.size_bytes is None else size_text(loss.size_bytes)


def layer_time_lines(kernels: Sequence[Kernel], times_ms: Mapping[str, float]) -> list[str]:
    """Return the table of all layers, with their times where they are known."""
    lines = [f"{'types':<22}  {'layer and its nodes':<42}  {'us':>10}"]
    for kernel in kernels:
        name = elided(f"{kernel.kind} {some_of(kernel.nodes, 1)}", 42)
        time = times_ms.get(kernel.name)
        lines.append(
            f"{types_text(kernel):<22}  {name:<42}  {'' if time is None else f'{1000 * time:.1f}':>10}".rstrip()
        )
    return lines
