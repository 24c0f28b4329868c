"""The page of `qdq tune`: the target, the frontier of accuracy against work in INT8, what is left float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdq_cli.quantizing.page import verification_section
from qdq_cli.recovering.page import recovery_section, recovery_text
from qdq_cli.screen.amounts import decibels, share_text
from qdq_cli.screen.page import Bar, Bars, Block, Cell, Curve, Facts, Note, Page, Point, Section, Tone, Verdict
from qdq_cli.screen.page_text import number
from qdq_cli.screen.sentences import count_text
from qdq_cli.sensitivity.text import work_text
from qdq_cli.tuning import record
from qdq_cli.tuning.record import TuneReport
from qdq_cli.tuning.text import (
    against_float_text,
    agreement_text,
    cost_text,
    few_text,
    goal_text,
    result_text,
    timed_text,
    unmet_text,
)
from qdq_cli.tuning.typed_text import changes, search_text, title_of, types_section, types_text

_LEFT_FLOAT = (
    "The share of each in the sum of the noises of all operators; in brackets what {type} loses of the "
    "multiply-accumulates and of the activation traffic."
)


def tune_page(report: TuneReport) -> Page:
    """Compose the page of a run."""
    notes = tuple(Note(text) for text in report.notes)
    return Page(
        "Tuning",
        report.model,
        (
            Section("Summary", "", (verdict_of(report), Facts(tuple(_summary(report))), *notes)),
            Section("Frontier", _about_frontier(report), tuple(_curves(report))),
            types_section(report.search)
            if report.search is not None
            else Section("Left float", _about_left_float(report), tuple(_left_float(report))),
            *((recovery_section(report.quantize.recovery),) if report.quantize.recovery else ()),
            *((verification_section(report.quantize.verification),) if report.quantize.verification else ()),
        ),
    )


def _about_frontier(report: TuneReport) -> str:
    if report.search is not None:
        what = f"Time is that of the kernels at the peak rates of {report.search.device}, as predicted"
    else:
        what = (
            f"{report.type_title} work is the mean of the shares of multiply-accumulates and of activation traffic "
            "that are predicted in it"
        )
    return (
        f"Every variant that was measured; the line joins those that no other is better than in both. {what}. A point "
        "tells its values when it is pointed at."
    )


def _about_left_float(report: TuneReport) -> str:
    return _LEFT_FLOAT.format(type=report.type_title) if report.left_float else ""


_MOST_LOOKS = 3


def verdict_of(report: TuneReport) -> Verdict:
    """Say whether the target is met, and which operators left float cost most of the work in INT8."""
    chosen = report.frontier[report.chosen]
    if not report.met:
        return Verdict(Tone.STANDALONE, "bad", unmet_text(report))
    if report.search is not None:
        looks = tuple(
            (f"{entry.op_type} {entry.name} is {title_of(entry.type)} instead of {title_of(entry.fastest)}.", "")
            for entry in changes(report.search)[:_MOST_LOOKS]
        )
        kept = f"The target is met with {result_text(report)}, {decibels(chosen.sqnr_db)}."
        return Verdict(Tone.GOOD, "good", kept, looks)
    dearest = sorted(report.left_float, key=lambda operator: -operator.macs_percent)[:_MOST_LOOKS]
    looks = tuple(
        (f"{entry.op_type} {entry.name} stays float: {work_text(entry.macs_percent, entry.traffic_percent)}.", "")
        for entry in dearest
    )
    kept = f"{share_text(chosen.quantized_work_percent)} of the work in {report.type_title}, {decibels(chosen.sqnr_db)}"
    return Verdict(Tone.GOOD, "good", f"The target is met with {kept}.", looks)


def _summary(report: TuneReport) -> Iterator[tuple[str, Cell]]:
    yield "target", goal_text(report.goal, report.type_title)
    yield "result", result_text(report)
    if report.search is not None:
        yield "types", search_text(report.search)
    if report.is_timed:
        yield "cost", timed_text(report)
    if report.built is not None:
        yield "cost", "\n".join(filter(None, (cost_text(report.built), against_float_text(report))))
    yield "output", report.output
    yield "samples", f"{report.samples} set aside, {report.held_back} held back for verification"
    if few := few_text(report):
        yield "few samples", few
    if report.quantize.recovery is not None:
        yield "recovery", recovery_text(report.quantize.recovery)
    if report.float_metric is not None:
        yield "metric of the float model", number(report.float_metric)


def _curves(report: TuneReport) -> Iterator[Block]:
    if report.float_metric is not None:
        yield _curve(report, "metric", [point.metric for point in report.frontier])
    elif report.goal.min_agreement is not None:
        yield _curve(report, "top-1 agreement, %", [point.agreement for point in report.frontier])
    yield _curve(report, "SQNR, dB", [point.sqnr_db for point in report.frontier])
    if report.is_timed:
        yield _curve(
            report,
            "times as fast as FP32",
            [None if each.speed is None else each.speed.ratio for each in report.frontier],
        )
    if report.built is not None:
        moved = [None if point.built_bytes is None else point.built_bytes / 1e6 for point in report.frontier]
        yield _curve(report, "moved by kernels as built, MB", moved, lower_is_better=True)


def _curve(report: TuneReport, label: str, values: list[float | None], *, lower_is_better: bool = False) -> Curve:
    points = tuple(
        Point(
            point.quantized_work_percent if point.time_percent is None else 100.0 - point.time_percent,
            float("nan") if value is None else value,
            _label(point, report.type_title),
        )
        for point, value in zip(report.frontier, values, strict=True)
    )
    best = frontier_of(points, lower_is_better=lower_is_better)
    if report.search is not None:
        return Curve("predicted time saved, %", label, points, report.chosen, best)
    return Curve(f"{report.type_title} work, %", label, points, report.chosen, best, x_end=100.0)


def frontier_of(points: Sequence[Point], *, lower_is_better: bool = False) -> tuple[int, ...]:
    """Return the places of the points that none at least as far right is better than, from the right to the left."""
    sign = -1.0 if lower_is_better else 1.0
    known = [place for place, point in enumerate(points) if not math.isnan(point.y)]
    found: list[int] = []
    best = -math.inf
    for place in sorted(known, key=lambda place: (points[place].x, sign * points[place].y), reverse=True):
        if sign * points[place].y > best:
            found.append(place)
            best = sign * points[place].y
    return tuple(found)


def _label(point: record.Point, title: str) -> str:
    if point.types:
        return f"{types_text(point.types)}; {agreement_text(point)}".removesuffix("; ") + "; target met" * point.met
    count = len(point.left_float)
    text = f"all in {title}" if not count else f"{count_text(count, 'operator')} left float"
    if point.agreement is not None:
        text += f"; agreement {agreement_text(point)}"
    return f"{text}; {share_text(point.quantized_macs_percent)} of the MACs in {title}" + (
        "; target met" if point.met else ""
    )


def _left_float(report: TuneReport) -> Iterator[Block]:
    if report.left_float:
        rows = tuple(
            Bar(
                f"{operator.op_type} {operator.name}",
                (operator.noise_percent,),
                f"({work_text(operator.macs_percent, operator.traffic_percent)})",
            )
            for operator in report.left_float
        )
        yield Bars("%", ("share of the noise",), rows)
