"""The page of `qdq convert --report`: the summary, the outputs, what stays FP32 and why."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.converting.record import Conversion
from qdq_cli.converting.text import observed_lines
from qdq_cli.quantizing.float_section import float_section
from qdq_cli.quantizing.float_text import float_text
from qdq_cli.quantizing.page import verification_section
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.page import Badge, Block, Cell, Facts, Note, Page, Section, Tone


def conversion_page(report: Conversion) -> Page:
    """Compose the page of a conversion."""
    found = report.verification
    verified = () if found is None else (verification_section(found, ("The result", "the model as it came")),)
    summary = Section("Summary", "", tuple(_summary(report)))
    return Page("Conversion", report.model, (summary, *verified, float_section(report.float_rest)))


def _summary(report: Conversion) -> Iterator[Block]:
    if report.unmet_limit is not None:
        yield Note(f"No model was written. {report.unmet_limit}", warning=True)
    yield Facts(tuple(_facts(report)))
    yield from (Note(text) for text in report.notes)


def _facts(report: Conversion) -> Iterator[tuple[str, Cell]]:
    yield "model", f"{report.model} ({size_text(report.size_bytes.before)})"
    yield "floats", float_text(report.float_rest)
    yield "observed", "\n".join(observed_lines(report))
    if report.output is None:
        yield "output", Badge("not written", Tone.WARNING)
    else:
        yield "output", f"{report.output} (opset {report.opset}, {size_text(report.size_bytes.after or 0)})"
