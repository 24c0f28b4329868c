"""The result of tuning as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

from collections.abc import Sequence

from qdq_cli.quantizing.agreement import interval_text
from qdq_cli.quantizing.summary import verification_lines
from qdq_cli.screen.amounts import milliseconds_text, seconds_text, share_text, size_text
from qdq_cli.screen.lines import WIDTH, Paint, labelled, row, shortened
from qdq_cli.screen.sentences import count_text
from qdq_cli.sensitivity.text import noise_text, value_text
from qdq_cli.timing.text import speed_text
from qdq_cli.tuning import typed_text
from qdq_cli.tuning.record import BuiltCost, Goal, Point, TuneReport
from qdq_cli.tuning.typed_text import built_cell, change_lines, frontier_lines, search_text, sqnr_cell

MAX_LEFT_FLOAT = 12

_TITLE = 11
"""Letters in front of the column of multiply-accumulates, where the type is a short one."""

_AGREEMENT = 24
"""Letters of the column of agreements."""


def tune_lines(report: TuneReport, paint: Paint, *, full: bool) -> list[str]:
    """Return the target, the frontier and what is left float; cut to one screen unless `full`."""
    lines = row("target", goal_text(report.goal, report.type_title))
    lines += row("judged on", _judged_on(report))
    lines += row("few samples", few) if (few := few_text(report)) else []
    lines += row("operators", _operators(report)) if report.search is None else row("types", search_text(report.search))
    if report.built is not None:
        lines += row("cost", cost_text(report.built))
    if report.is_timed:
        lines += row("cost", timed_text(report))
    lines += row("seconds", seconds_text(report.seconds))
    lines += row("result", result_text(report))
    lines += _verification(report)
    lines += row("", against_float_text(report)) if against_float_text(report) else []
    lines += ["", *_frontier(report, paint)]
    return [*lines, *change_lines(report, paint, full=full), *_left_float(report, paint, full=full), ""]


def goal_text(goal: Goal, type_title: str) -> str:
    """What was asked, in words; `type_title` is what quantized work runs in."""
    parts = []
    if goal.min_sqnr is not None:
        parts.append(f"SQNR of at least {goal.min_sqnr:g} dB")
    if goal.min_agreement is not None:
        parts.append(f"top-1 agreement of at least {goal.min_agreement:g} %")
    if goal.max_drop is not None:
        parts.append(f"metric at most {goal.max_drop:g} worse than the float model's")
    if goal.min_quantized_macs is not None:
        parts.append(f"at least {goal.min_quantized_macs:g} % of the MACs in {type_title}")
    return ", ".join(parts)


def result_text(report: TuneReport) -> str:
    """What came out, in a sentence."""
    if report.search is not None:
        return typed_text.result_text(report)
    chosen = report.frontier[report.chosen]
    count, title = len(chosen.left_float), report.type_title
    left = f"{count_text(count, 'operator')} left float" if count else f"everything in {title}"
    if not report.met:
        return f"the target is not met; the best that was found has {left}"
    if not count:
        recovered = ", recovered," if report.quantize.recovery is not None else ""
        return f"everything in {title}{recovered} meets the target; nothing had to be left float"
    return f"{left}, {share_text(chosen.quantized_macs_percent)} of the MACs in {title}"


def few_text(report: TuneReport) -> str:
    """That few samples calibrate, in sentences; "" where enough do."""
    calibration = report.quantize.calibration
    return "" if calibration is None or calibration.few is None else calibration.few.text


def _verification(report: TuneReport) -> list[str]:
    """How far the outputs of the result are from FP32, the low ones first, each with its reason."""
    found = report.quantize.verification
    return [] if found is None else labelled("verification", verification_lines(found, WIDTH))


def timed_text(report: TuneReport) -> str:
    """What variants were timed in, and how fast the chosen one is; "" where none were."""
    speed = report.frontier[report.chosen].speed
    if speed is None:
        return ""
    text = f"the time of a run; chosen: {speed_text(speed)}; {speed.runtime}, {count_text(speed.threads, 'thread')}"
    return text if speed.ratio >= 1.0 else f"{text}. No variant that meets the target is faster than the float model"


def cost_text(built: BuiltCost) -> str:
    """What was built to compare variants by, and why some were not."""
    text = f"bytes that kernels move: {count_text(built.builds, 'variant')} given to {built.compiler} for {built.gpu}"
    return (
        f"{text}. {built.unbuilt} Quantized work as predicted decides where nothing is built."
        if built.unbuilt
        else text
    )


def against_float_text(report: TuneReport) -> str:
    """What the chosen variant moves against the float model; "" where one is not known."""
    chosen, built = report.frontier[report.chosen], report.built
    if built is None or chosen.built_bytes is None or not built.float_bytes:
        return ""
    sizes = f"{size_text(chosen.built_bytes)} against {size_text(built.float_bytes)} in the float model"
    saved = 100 * (1 - chosen.built_bytes / built.float_bytes)
    if saved > 0:
        return f"kernels move {sizes}: {saved:.0f} % less"
    return f"kernels move {sizes}: {report.type_title} saves no traffic here (qdq build shows other forms)"


def unmet_text(report: TuneReport) -> str:
    """That the target is not met, by how much, and where the best is; in sentences."""
    chosen = report.frontier[report.chosen]
    kept = f"The best that was found is kept at {report.output}."
    if chosen.undecided(report.goal) and chosen.agreement_interval is not None:
        ends = interval_text(chosen.agreement_interval)
        return (
            f"Whether the target is met cannot be told from so few samples: {', '.join(_missing(report))}, and its "
            f"95 % interval is {ends} %. {kept}"
        )
    return f"The target is not met: {', '.join(_missing(report))}. {kept}"


def _missing(report: TuneReport) -> list[str]:
    """Which parts of the target the best variant misses, each with both numbers."""
    chosen, goal = report.frontier[report.chosen], report.goal
    asked = (
        ("SQNR", " dB", chosen.sqnr_db, goal.min_sqnr),
        ("top-1 agreement", " %", chosen.agreement, goal.min_agreement),
        (f"MACs in {report.type_title}", " %", chosen.quantized_macs_percent, goal.min_quantized_macs),
    )
    parts = [
        f"{what} {found:.2f}{unit} instead of at least {least:g}{unit}"
        for what, unit, found, least in asked
        if least is not None and found is not None and found < least
    ]
    if goal.max_drop is not None and chosen.drop is not None and chosen.drop > goal.max_drop:
        worse = f"metric {value_text(chosen.drop)} worse than the float model's"
        parts.append(f"{worse} instead of at most {goal.max_drop:g}")
    return parts or [f"nothing is left in {report.type_title}"]


def command_lines(words: Sequence[str]) -> list[str]:
    """The command that makes the same model again, as a shell takes it, on lines that continue."""
    lines = ["the same model without tuning:", f"  {words[0]}"]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= WIDTH - 2:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {word}")
    return lines


def _judged_on(report: TuneReport) -> str:
    text = f"{report.samples} samples set aside from the calibration data"
    return f"{text} and {report.held_back} held back; the worse counts" if report.held_back else text


def _operators(report: TuneReport) -> str:
    text = f"{report.operators} can be left float"
    return (
        text
        if report.adding_up is None
        else f"{text}; their single noises sum up to {report.adding_up:.2f} times that of all"
    )


def _frontier(report: TuneReport, paint: Paint) -> list[str]:
    points = report.frontier
    agreement = any(point.agreement is not None for point in points)
    metric = any(point.metric is not None for point in points)
    built, timed = report.built is not None, report.is_timed
    if report.search is not None:
        cells = [agreement_text(point) for point in points]
        lines = frontier_lines(report, (_AGREEMENT if agreement else 0, cells), paint)
        return lines + _float_model(report, 18 + (_AGREEMENT if agreement else 0), metric=False)
    title = f"{f'  in {report.type_title}:':<10} "
    head = f"{title}MACs  traffic  left float     SQNR"
    lines = [
        head
        + (f"{'agreement (95 %)':>{_AGREEMENT}}" if agreement else "")
        + ("    metric" if metric else "")
        + "     built" * built
        + "      time  times FP32" * timed
    ]
    for number, point in enumerate(points):
        shifted = " " * (len(title) - _TITLE) + _point(point, agreement=agreement, metric=metric)
        lines.append(shifted + (built_cell(point.built_bytes) if built else "") + (_timed(point) if timed else ""))
        if number == report.chosen:
            lines[-1] = paint(f"{lines[-1]}  <- chosen", "green")
        elif point.met:
            lines[-1] += "  met"
    return lines + _float_model(report, len(head) + (_AGREEMENT if agreement else 0), metric=metric)


def _float_model(report: TuneReport, width: int, *, metric: bool) -> list[str]:
    """The row of the float model, with what is known of it."""
    size = None if report.built is None else report.built.float_bytes
    if report.float_metric is None and size is None:
        return []
    value = "" if report.float_metric is None else value_text(report.float_metric)
    return [
        f"{'  float model':<{width}}{value:>{10 * metric}}{'' if report.built is None else built_cell(size)}".rstrip()
    ]


def _timed(point: Point) -> str:
    if point.speed is None:
        return f"{'not timed':>22}"
    return f"{milliseconds_text(point.speed.quantized.median_ms):>10}{point.speed.ratio:>12.2f}"


def _point(point: Point, *, agreement: bool, metric: bool) -> str:
    macs, traffic = point.quantized_macs_percent, point.quantized_traffic_percent
    text = f"         {macs:5.1f}%   {traffic:5.1f}%  {len(point.left_float):10d}"
    text += f"  {sqnr_cell(point)}"
    if agreement:
        text += f"{agreement_text(point):>{_AGREEMENT}}"
    return text + ("" if point.metric is None or not metric else f"{value_text(point.metric):>10}")


def agreement_text(point: Point) -> str:
    """Top-1 agreement and its 95 % interval; "" where there are no class scores."""
    if point.agreement is None:
        return ""
    ends = "" if point.agreement_interval is None else f" ({interval_text(point.agreement_interval)})"
    return f"{share_text(point.agreement)}{ends}"


def _left_float(report: TuneReport, paint: Paint, *, full: bool) -> list[str]:
    if not report.left_float:
        return []
    lines = [
        "",
        f"left float, most noise first (share of all noise; what {report.type_title} loses of the MACs",
        "and of the traffic):",
    ]
    shown = report.left_float if full else report.left_float[:MAX_LEFT_FLOAT]
    for operator in shown:
        cells = f"  {operator.noise_percent:4.1f}%  {noise_text(operator.noise):>8} alone  "
        cells += f"{operator.macs_percent:4.1f}%  {operator.traffic_percent:4.1f}%  "
        room = WIDTH - len(cells) - len(operator.op_type) - 1
        lines.append(f"{cells}{paint(operator.op_type, 'blue')} {shortened(operator.name, room)}")
    more = len(report.left_float) - len(shown)
    return [*lines, *([f"  ... and {more} more (-v, --json)"] if more else [])]
