"""A migration as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

from collections import Counter, defaultdict

from qdq_cli.fixing.text import distance_text, left_lines, repair_lines
from qdq_cli.inspecting.text import names_text
from qdq_cli.migrating.record import Change, Compared, MigrationReport, TableUse
from qdq_cli.quantizing.float_record import FloatRest
from qdq_cli.quantizing.float_text import float_lines, kept_lines
from qdq_cli.quantizing.plan_text import build_lines
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.lines import WIDTH, beside, labelled, quoted, row, short_path
from qdq_cli.screen.sentences import count_text

MAX_REASONS = 5


def report_lines(report: MigrationReport, *, full: bool = False) -> list[str]:
    """Return what came from the table, what the result has in which type, and what changed against the old build.

    Args:
        report: The report.
        full: List every name, change and repair.
    """
    lines = row("model", f"{short_path(report.model)}  ({size_text(report.size_bytes.before)})")
    lines += _table(report.table) if report.table is not None else []
    lines += row("pairs", _repaired(report)) if report.table is None else []
    ops = report.weighted_ops
    lines += row("quantized", f"{ops.quantized} of {count_text(ops.total, 'weighted operator')}")
    lines += labelled("float rest", _rest(report.rest))
    lines += labelled("changed", _changed(report))
    lines += labelled("outputs", _compared(report.compared)) if report.compared is not None else []
    sizes = f"opset {report.opset}, {size_text(report.size_bytes.after or 0)}"
    lines += row("output", f"{short_path(report.output)}  ({sizes})")
    if not report.findings:
        builds = [line for build in report.builds for line in build_lines(build, report.output, WIDTH)]
        lines += labelled("next", builds)
    lines += repair_lines(report.repairs, full=full) if report.repairs else []
    lines += left_lines(report.left, full=full)
    lines += _remaining(report)
    return lines + (_everything(report) if full else [])


def _table(table: TableUse) -> list[str]:
    lines = row("table", f"{short_path(table.file)}" + (f"  ({table.header})" if table.header else ""))
    parts = [f"{len(table.matched)} of {count_text(table.ranges, 'name')} are tensors of the model"]
    if table.importers:
        parts.append(f"{len(table.importers)} of layers that TensorRT made itself")
    if table.unknown:
        parts.append(f"{len(table.unknown)} of neither ({names_text(table.unknown)})")
    lines += labelled("names", beside(", ".join(parts)))
    if table.lacking:
        text = f"{count_text(len(table.lacking), 'tensor')} without a range: {names_text(table.lacking)}"
        left = count_text(len(table.left_float), "operator")
        lines += row("lacking", f"{text}; {left} left float" if table.left_float else text)
    return lines


def _repaired(report: MigrationReport) -> str:
    if not report.repairs:
        return "kept as they came, nothing to repair"
    rules = Counter(entry.rule for entry in report.repairs)
    counted = ", ".join(f"{count} x {rule}" for rule, count in rules.items())
    return f"kept where they were, {count_text(len(report.repairs), 'repair')} ({counted})"


def _rest(rest: FloatRest | None) -> list[str]:
    return ["as it came"] if rest is None else float_lines(rest)


def _changed(report: MigrationReport) -> list[str]:
    if report.table is None:
        return beside(_BY_THE_FILE) if report.rest is not None else []
    if not report.changes:
        return ["nothing that could run in INT8 by the table is float now"]
    return _float_now(report.changes)


_BY_THE_FILE = "what is not quantized has the types of the file, where --fp16 took the faster of FP32 and FP16"


def _float_now(changes: tuple[Change, ...]) -> list[str]:
    verb = "is" if len(changes) == 1 else "are"
    lines = beside(f"{count_text(len(changes), 'operator')} could run in INT8 by the table and {verb} float now:")
    by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in changes:
        by_reason[f"{entry.code}: {entry.reason}"][entry.op_type] += 1
    ranked = sorted(by_reason.items(), key=lambda item: -item[1].total())
    for reason, types in ranked[:MAX_REASONS]:
        counted = ", ".join(f"{count} {op_type}" for op_type, count in types.most_common())
        lines += beside(f"{types.total()} x {reason} ({counted})", indent=4)
    more = sum(types.total() for _, types in ranked[MAX_REASONS:])
    return [*lines, f"and {more} more for other reasons (-v lists them)"] if more else lines


def _compared(compared: Compared) -> list[str]:
    against = {"FP32 rest": "the same model with an FP32 rest", "float model": "the float model"}
    other = against.get(compared.against, "the model as it came")
    kind = "random sample" if compared.random else "sample"
    lines = beside(f"{count_text(compared.samples, kind)}, against {other}:")
    for name, distance in compared.outputs.items():
        lines += beside(f"{name}: {distance_text(distance)}", indent=2)
    return lines


def _remaining(report: MigrationReport) -> list[str]:
    if not report.findings:
        return []
    codes = names_text(entry.code for entry in report.findings)
    count = count_text(len(report.findings), "error")
    verb = "remains" if len(report.findings) == 1 else "remain"
    return ["", f"{count} {verb} for TensorRT 11 ({codes}): qdq inspect {quoted(report.output)} --trt 11"]


def _everything(report: MigrationReport) -> list[str]:
    lines: list[str] = []
    table = report.table
    if table is not None:
        for title, names in (
            ("names of layers that TensorRT made:", table.importers),
            ("names of neither the model nor TensorRT:", table.unknown),
            ("tensors without a range:", table.lacking),
            ("float, because a range is lacking:", table.left_float),
        ):
            lines += ["", title, *(f"  {name}" for name in names)] if names else []
    if report.changes:
        lines += ["", "could run in INT8 before, float now:"]
        lines += [f"  {entry.code:<24} {entry.op_type} {entry.node}" for entry in report.changes]
    lines += kept_lines(report.rest) if report.rest is not None else []
    return lines
