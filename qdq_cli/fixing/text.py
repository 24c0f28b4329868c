"""A repair report as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

from collections import defaultdict

from qdq_cli.fixing.record import Left, Repair, RepairReport, State
from qdq_cli.inspecting.text import names_text
from qdq_cli.quantizing.report import Distance
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.lines import row, wrapped
from qdq_cli.screen.sentences import count_text

MAX_LEFT = 6


def report_lines(report: RepairReport, *, full: bool = False) -> list[str]:
    """Return what was repaired rule by rule, what was left, and how far the outputs moved.

    Args:
        report: The report.
        full: List every repair instead of one line a kind.
    """
    lines = row("model", report.model) + row("output", report.output)
    lines += row("repairs", str(len(report.repairs)) if report.repairs else "nothing to repair")
    lines += row("before", _state(report.before)) + row("after", _state(report.after))
    for number, (name, distance) in enumerate(report.outputs.items()):
        lines += row("outputs" if number == 0 else "", f"{name}: {distance_text(distance)}")
    for note in report.notes:
        lines += row("note", note)
    lines += repair_lines(report.repairs, full=full)
    lines += left_lines(report.left, full=full)
    if report.findings:
        codes = names_text(entry.code for entry in report.findings)
        remain = f"{count_text(len(report.findings), 'error')} {'remains' if len(report.findings) == 1 else 'remain'}"
        lines += ["", f"{remain} ({codes}): qdq inspect {report.output}"]
    return lines


def left_lines(left: tuple[Left, ...], *, full: bool) -> list[str]:
    """List what was left: each by itself, or by rule and reason."""
    if not left:
        return []
    by_reason: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for entry in left:
        by_reason[entry.rule, entry.why, entry.node if full else ""].append(entry.node)
    groups = list(by_reason.items())
    shown = groups if full else groups[:MAX_LEFT]
    lines = ["", "left as it is:"]
    lines += [line for (rule, why, _), nodes in shown for line in wrapped(f"{rule}  {names_text(nodes)}: {why}")]
    hidden = sum(len(nodes) for _, nodes in groups[len(shown) :])
    return [*lines, f"  ... and {hidden} more (-v)"] if hidden else lines


def _state(state: State) -> str:
    return (
        f"{count_text(state.errors, 'error')}, {count_text(state.warnings, 'warning')}, "
        f"{state.standalone} stand-alone Q/DQ, "
        f"{count_text(state.quantized_to_quantized, 'weighted operator')} from codes to codes"
    )


def distance_text(distance: Distance) -> str:
    """Write how far an output is from the one it was compared with."""
    if distance.equal:
        return "equal before and after"
    return f"SQNR {decibels(distance.sqnr_db)}, cosine {distance.cosine:.6f}, max error {distance.max_error:.3g}"


def repair_lines(repairs: tuple[Repair, ...], *, full: bool) -> list[str]:
    """List repairs: each by itself, or by rule with the first as an example."""
    if full:
        return ["", *(line for entry in repairs for line in wrapped(f"{entry.rule}  {entry.node}: {entry.done}"))]
    by_rule: dict[tuple[str, bool], list[Repair]] = defaultdict(list)
    for entry in repairs:
        by_rule[entry.rule, entry.exact].append(entry)
    lines = []
    for (rule, exact), entries in by_rule.items():
        kind = "same numbers" if exact else "changes roundings"
        lines += ["", f"{rule}  {len(entries)}x  {kind}"]
        lines += wrapped(f"{entries[0].node}: {entries[0].done}")
        if len(entries) > 1:
            lines += wrapped(f"also {names_text(entry.node for entry in entries[1:])}")
    return lines
