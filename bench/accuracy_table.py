"""The measured figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Figure
from bench.ledger import Entry

TITLES = {
    "fp32": "FP32",
    "auto": "auto (default)",
    "mse": "mse",
    "entropy": "entropy",
    "minmax": "minmax",
    "percentile-99.99": "percentile 99.99",
    "percentile-99.999": "percentile 99.999",
    "default": "as the command gives it",
    "recover": "--recover",
    "tune": "tune",
    "mse-no-range-rules": "without the range rule",
    "mse-every-operator": "every weighted operator",
    "minmax-inputs-only": "minmax, weighted inputs only",
    "ort-minmax": "ORT MinMax",
    "ort-minmax-weighted": "ORT MinMax, weighted operators",
    "ort-entropy": "ORT Entropy",
    "ort-percentile": "ORT Percentile",
}
"""Column -> its title."""

Cells = Mapping[str, Entry]


@dataclass(frozen=True)
class _Table:
    """Columns that belong side by side; each table begins with FP32 and the default."""

    title: str
    columns: tuple[str, ...]


_TABLES = (
    _Table("Methods", ("mse", "entropy", "minmax", "percentile-99.99", "percentile-99.999")),
    _Table("Recovery and tuning", ("default", "recover", "tune")),
    _Table("Placement", ("mse-no-range-rules", "mse-every-operator", "minmax-inputs-only")),
    _Table(
        "Beside onnxruntime.quantization (ORT)", ("ort-minmax", "ort-minmax-weighted", "ort-entropy", "ort-percentile")
    ),
)


def markdown(entries: Mapping[str, Cells]) -> str:
    """Tables of these models, with the columns that any of them has.

    Proportions carry their 95 % interval; a dash is a figure that could not be had, and the reasons come last.
    """
    parts = []
    for table in _TABLES:
        columns = [column for column in table.columns if any(column in cells for cells in entries.values())]
        if columns:
            parts += [f"### {table.title}", "", *_lines(entries, ["fp32", "auto", *columns]), ""]
    failures = [
        f"* {name}, {TITLES[column]}: {entry.failure}"
        for name, cells in entries.items()
        for column, entry in cells.items()
        if entry.failure
    ]
    return "\n".join([*parts, *failures]).rstrip()


def _lines(entries: Mapping[str, Cells], columns: Sequence[str]) -> Iterator[str]:
    yield "| model | metric | test samples | operators in INT8 | " + " | ".join(TITLES[key] for key in columns) + " |"
    yield "| --- | --- | ---: | ---: |" + " ---: |" * len(columns)
    for name, cells in entries.items():
        yield "| " + " | ".join([name, *_about(cells), *(_cell(cells.get(column)) for column in columns)]) + " |"


def _about(cells: Cells) -> tuple[str, str, str]:
    """Metric, size of the test set, and how many weighted operators the default quantizes."""
    figure = next((entry.figure for entry in cells.values() if entry.figure), None)
    operators = str(cells["auto"].details.get("int8_operators", "")) if "auto" in cells else ""
    return (figure.metric, f"{figure.count:,}", operators) if figure else ("", "", operators)


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return _text(entry.figure) if entry.figure else "-"


def _text(figure: Figure) -> str:
    value = f"{figure.value:.3f}" if "db" in figure.metric.casefold() else f"{figure.value:.2f}"
    return f"{value} ({figure.interval[0]:.1f}-{figure.interval[1]:.1f})" if figure.interval else value
