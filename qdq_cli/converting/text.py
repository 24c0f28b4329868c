"""A conversion as lines of text for people; the console prints them."""

from __future__ import annotations

from collections.abc import Iterable

from qdq_cli.converting.record import Conversion
from qdq_cli.quantizing.float_text import float_lines, kept_lines, unweighed_lines
from qdq_cli.quantizing.plan_text import Paint, build_lines
from qdq_cli.quantizing.summary import verification_lines
from qdq_cli.screen.amounts import seconds_text, size_text
from qdq_cli.screen.lines import beside, labelled, plain, quoted, short_path
from qdq_cli.screen.sentences import count_text


def conversion_lines(report: Conversion, width: int = 80, paint: Paint = plain, *, full: bool = False) -> list[str]:
    """Return the summary.

    Args:
        report: What a run did.
        width: Columns of the screen.
        paint: Makes a label stand out.
        full: List every operator that stays FP32.
    """
    rows: list[tuple[str, Iterable[str]]] = [
        ("model", [f"{short_path(report.model)}  ({size_text(report.size_bytes.before)})"]),
        ("floats", float_lines(report.float_rest, width)),
        ("observed", observed_lines(report, width)),
    ]
    if report.verification is not None:
        rows.append(("verification", verification_lines(report.verification, width, "the model as it came")))
    if report.output is not None:
        after = size_text(report.size_bytes.after or 0)
        rows.append(("output", [f"{short_path(report.output)}  (opset {report.opset}, {after})"]))
    rows.append(("seconds", beside(seconds_text(report.seconds), width)))
    if report.output is not None:
        rows.append(("next", [line for build in report.builds for line in build_lines(build, report.output, width)]))
    if report.unmet_limit is not None:
        rows.append(("not written", beside(report.unmet_limit, width)))
    lines = [line for label, texts in rows for line in labelled(label, texts, paint)]
    return lines + (kept_lines(report.float_rest) if full else [])


def observed_lines(report: Conversion, width: int = 80) -> list[str]:
    """Say by what it is known how large the tensors get."""
    if not report.tensors:
        return beside("nothing: how large activations get was not checked (--calib does)", width)
    parts = [count_text(report.tensors, "tensor"), f"on {count_text(report.samples, 'sample')}"]
    source = "" if report.cache is None else f", read from {quoted(report.cache)}"
    lines = beside(" ".join(parts) + source, width)
    if report.preprocessing:
        assumed = " (assumed; --preprocess chooses)" if report.assumed else ""
        lines += beside(report.preprocessing + assumed, width, indent=2)
    return lines + unweighed_lines(report.float_rest, width)
