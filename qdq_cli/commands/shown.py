"""The report of `qdq quantize` on the screen, as every command shows it that writes a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdq_cli.quantizing.report import Report
    from qdq_cli.screen.console import Console


def show_report(screen: Console, report: Report) -> None:
    """Show one JSON document, or the summary and, where every detail is wanted, the plan."""
    from qdq_cli.quantizing.plan_text import plan_lines
    from qdq_cli.quantizing.summary import summary_lines

    width = screen.width()
    screen.result(report, lambda: summary_lines(report, width, screen.bold))
    if screen.verbose and not screen.as_json:
        screen.write(plan_lines(report, width, full=True))
