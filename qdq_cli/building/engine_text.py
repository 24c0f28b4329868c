"""An engine beside the prediction as lines of text for people, 80 columns wide."""

from __future__ import annotations

from qdq_cli.building.agreement import types_text as kernel_types
from qdq_cli.building.engine import EngineReport, Loss
from qdq_cli.building.text import agreement_text, differing_lines, traffic_text, types_text
from qdq_cli.screen.amounts import share_text, size_text
from qdq_cli.screen.lines import Paint, elided, plain, row, wrapped
from qdq_cli.screen.sentences import count_text, some_of

MAX_LOSSES = 8


def engine_lines(report: EngineReport, paint: Paint = plain, *, full: bool = False) -> list[str]:
    """Return the report that fits one screen.

    Args:
        report: What was found.
        paint: Colours a text.
        full: Show everything that costs time.
    """
    lines = row("model", report.model) + row("engine", report.layer_info)
    if report.total_ms is not None:
        untimed = f"; {count_text(report.untimed, 'layer')} without a time" if report.untimed else ""
        lines += row("time", f"{report.total_ms:.3f} ms in {count_text(len(report.times_ms), 'layer')}{untimed}")
    types = ", ".join(f"{count} in {kind}" for kind, count in report.built_types.items())
    lines += row("weighted", f"{count_text(len(report.operators), 'operator')}: {types or 'in no layer of the engine'}")
    lines += row("prediction", agreement_text(report.agreement))
    lines += row("layers", types_text(report.types)) + row("bytes", traffic_text(report.traffic))
    lines += row("Q/DQ", _conversions(report))
    most = 10**9 if full else MAX_LOSSES
    lines += differing_lines(report.operators, paint, most)
    return lines + _losses(report, paint, most)


def _conversions(report: EngineReport) -> str:
    text = f"{count_text(len(report.conversions), 'layer')} of their own"
    if report.conversions_ms is None or not report.total_ms:
        return text
    share = share_text(100 * report.conversions_ms / report.total_ms)
    return f"{text}, {1000 * report.conversions_ms:.1f} us, {share} of the time"


def _losses(report: EngineReport, paint: Paint, most: int) -> list[str]:
    if not report.losses:
        return []
    order = "bytes" if report.total_ms is None else "time"
    lines = ["", f"what to mend, most {order} first:"]
    for loss in report.losses[:most]:
        lines += ["", f"  {paint(loss.found, 'yellow')}  {elided(loss.subject, 44)}  {_cost(loss)}".rstrip()]
        lines += wrapped(loss.advice, 4)
    left = len(report.losses) - most
    return lines + ([f"  ... and {left} more (-v, --json)"] if left > 0 else [])


def _cost(loss: Loss) -> str:
    if loss.time_ms is not None:
        return f"{1000 * loss.time_ms:.1f} us"
    return "" if loss.size_bytes is None else size_text(loss.size_bytes)


def engine_layer_lines(report: EngineReport) -> list[str]:
    """Return the table of all layers, with their times where they are known."""
    lines = [f"{'types':<22}  {'layer and its nodes':<42}  {'us':>10}"]
    for kernel in report.kernels:
        name = elided(f"{kernel.kind} {some_of(kernel.nodes, 1)}", 42)
        time = report.times_ms.get(kernel.name)
        lines.append(
            f"{kernel_types(kernel):<22}  {name:<42}  {'' if time is None else f'{1000 * time:.1f}':>10}".rstrip()
        )
    return lines
