"""An engine beside the prediction as lines of text for people, 80 columns wide."""

from __future__ import annotations

from qdq_cli.building.engine import EngineReport
from qdq_cli.building.loss_text import MAX_LOSSES, conversions_time_text, loss_lines, time_text
from qdq_cli.building.text import agreement_text, differing_lines, traffic_text, types_text
from qdq_cli.screen.lines import Paint, plain, row
from qdq_cli.screen.sentences import count_text


def engine_lines(report: EngineReport, paint: Paint = plain, *, full: bool = False) -> list[str]:
    """Return the report that fits one screen.

    Args:
        report: What was found.
        paint: Colours a text.
        full: Show everything that costs time.
    """
    lines = row("model", report.model) + row("engine", report.layer_info)
    if report.total_ms is not None:
        lines += row("time", time_text(report.total_ms, len(report.times_ms), report.untimed))
    types = ", ".join(f"{count} in {kind}" for kind, count in report.built_types.items())
    lines += row("weighted", f"{count_text(len(report.operators), 'operator')}: {types or 'in no layer of the engine'}")
    lines += row("prediction", agreement_text(report.agreement))
    lines += row("layers", types_text(report.types)) + row("bytes", traffic_text(report.traffic))
    found = f"{count_text(len(report.conversions), 'layer')} of their own"
    lines += row("Q/DQ", f"{found}{conversions_time_text(report.conversions_ms, report.total_ms)}")
    most = 10**9 if full else MAX_LOSSES
    lines += differing_lines(report.operators, paint, most)
    return lines + loss_lines(report.losses, paint, most, timed=report.total_ms is not None)
