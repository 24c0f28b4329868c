"""What choosing types found, as lines of text for people and as a section of the page."""

from __future__ import annotations

from collections.abc import Mapping

from qdq_cli.config.forms import QuantType
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.lines import WIDTH, Paint, shortened
from qdq_cli.screen.page import Section, Table
from qdq_cli.screen.sentences import FLOAT, any_of, count_text
from qdq_cli.sensitivity.text import noise_text
from qdq_cli.tuning.record import Point, TuneReport, TypedOperator, TypeSearch

MAX_CHANGES = 12

ABOUT = (
    "Every operator that a type was chosen for. Noise is that of the outputs with this operator alone quantized to the "
    "type, estimated; what another type costs is in percent of the time of the float network (as built: of its bytes)."
)


def title_of(kind: str) -> str:
    """How sentences call a type: FP8, INT4 weights, float."""
    return kind if kind == FLOAT else QuantType(kind).title


def types_text(types: Mapping[str, int]) -> str:
    """How many operators have each type: "9 INT8, 4 FP8, 1 float"."""
    return ", ".join(f"{count} {title}" for title, count in types.items() if count)


def search_text(search: TypeSearch) -> str:
    """What there was to choose from, and for what."""
    names = any_of([*map(title_of, search.types), FLOAT])
    operators = count_text(len(search.operators), "operator")
    return f"{names} for each of {operators}, by the time at the peak rates of {search.gpu} ({search.device})"


def result_text(report: TuneReport) -> str:
    """What came out, in a sentence."""
    chosen = report.frontier[report.chosen]
    what = f"{types_text(chosen.types)}; {_time(chosen)} of the predicted time of the float network"
    if not report.met:
        return f"the target is not met; the best that was found has {what}"
    return f"{what}, recovered" if report.quantize.recovery is not None else what


def frontier_lines(report: TuneReport, agreement: tuple[int, list[str]], paint: Paint) -> list[str]:
    """Return the variants that were measured, fastest first.

    Args:
        report: The report.
        agreement: Width of the column of agreements, 0 for none, and its cells.
        paint: Makes the chosen one stand out.
    """
    width, cells = agreement
    built = report.built is not None
    head = f"     time     SQNR{'agreement (95 %)':>{width}}" if width else "     time     SQNR"
    lines = [head + "     built" * built + "  types"]
    for number, (point, cell) in enumerate(zip(report.frontier, cells, strict=True)):
        text = f"  {_time(point):>7}  {sqnr_cell(point)}" + (f"{cell:>{width}}" if width else "")
        text += built_cell(point.built_bytes) if built else ""
        text += f"  {types_text(point.types)}"
        if number == report.chosen:
            text = paint(f"{text}  <- chosen", "green")
        elif point.met:
            text += "  met"
        lines.append(text)
    return lines


def change_lines(report: TuneReport, paint: Paint, *, full: bool) -> list[str]:
    """Return the operators that have another type than in the fastest variant, what it bought and what it costs."""
    if report.search is None or not (changed := changes(report.search)):
        return []
    lines = ["", "not in their fastest type (noise alone before and after; cost of the change):"]
    shown = changed if full else changed[:MAX_CHANGES]
    for operator in shown:
        before, after = operator.choice(operator.fastest), operator.choice(operator.type)
        cells = f"  {title_of(operator.fastest)} {_noise(before.noise)} -> {title_of(operator.type)}"
        cells += "" if operator.type == FLOAT else f" {_noise(after.noise)}"
        cells += f"  {after.cost_percent:+.1f}%  "
        room = max(12, WIDTH - len(cells) - len(operator.op_type) - 1)
        lines.append(f"{cells}{paint(operator.op_type, 'blue')} {shortened(operator.name, room)}")
    more = len(changed) - len(shown)
    return [*lines, *([f"  ... and {more} more (-v, --json)"] if more else [])]


def changes(search: TypeSearch) -> list[TypedOperator]:
    """Return the operators that are not in their fastest type, those with most noise there first."""
    found = [operator for operator in search.operators if operator.type != operator.fastest]
    return sorted(found, key=lambda operator: -(operator.choice(operator.fastest).noise or 0.0))


def types_section(search: TypeSearch) -> Section:
    """Show the type of every operator, and what its other types would cost."""
    rows = tuple(
        (
            operator.op_type,
            operator.name,
            title_of(operator.type),
            title_of(operator.fastest),
            "; ".join(
                f"{title_of(choice.type)} {_noise(choice.noise)} {choice.cost_percent:+.1f} %"
                for choice in operator.choices
                if choice.type != FLOAT or operator.type == FLOAT
            ),
        )
        for operator in search.operators
    )
    return Section("Types", ABOUT, (Table(("operator", "name", "type", "fastest", "noise and cost of each"), rows),))


def _noise(noise: float | None) -> str:
    return "" if noise is None else noise_text(noise)


def _time(point: Point) -> str:
    return "" if point.time_percent is None else f"{point.time_percent:.1f}%"


def sqnr_cell(point: Point) -> str:
    """The SQNR of a variant, seven letters wide."""
    return f"{point.sqnr_db:4.1f} dB" if point.sqnr_db < 200 else "  equal"


def built_cell(size: int | None) -> str:
    """The bytes a variant moves as built, ten letters wide."""
    return f"{'not built' if size is None else size_text(size):>10}"
