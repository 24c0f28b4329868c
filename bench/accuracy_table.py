"""The measured figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from bench.figures import Figure
from bench.ledger import Entry

TITLES = {
    "fp32": "FP32",
    "mse": "mse (default)",
    "entropy": "entropy",
    "minmax": "minmax",
    "percentile-99.99": "percentile 99.99",
    "percentile-99.999": "percentile 99.999",
    "mse-no-range-rules": "mse, no range rules",
    "mse-every-operator": "mse, every weighted operator",
    "minmax-inputs-only": "minmax, weighted inputs only",
    "ort-minmax": "ORT MinMax",
    "ort-minmax-weighted": "ORT MinMax, weighted operators",
    "ort-entropy": "ORT Entropy",
    "ort-percentile": "ORT Percentile",
}
"""Column -> its title, in the order of the table."""


def markdown(entries: Mapping[str, Mapping[str, Entry]]) -> str:
    """A table of these models and their columns.

    Proportions carry their 95 % interval; a dash is a figure that could not be had, and the reasons follow the table.
    """
    columns = [column for column in TITLES if any(column in cells for cells in entries.values())]
    lines = [
        "| model | metric | test samples | operators in INT8 | "
        + " | ".join(TITLES[column] for column in columns)
        + " |",
        "| --- | --- | ---: | ---: |" + " ---: |" * len(columns),
    ]
    for name, cells in entries.items():
        figure = next((entry.figure for entry in cells.values() if entry.figure), None)
        operators = str(cells["mse"].details.get("int8_operators", "")) if "mse" in cells else ""
        about = [name, figure.metric, f"{figure.count:,}", operators] if figure else [name, "", "", operators]
        lines.append("| " + " | ".join([*about, *(_cell(cells.get(column)) for column in columns)]) + " |")
    failures = [
        f"* {name}, {TITLES.get(column, column)}: {entry.failure}"
        for name, cells in entries.items()
        for column, entry in cells.items()
        if entry.failure
    ]
    return "\n".join([*lines, *(["", *failures] if failures else [])])


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return _text(entry.figure) if entry.figure else "-"


def _text(figure: Figure) -> str:
    value = f"{figure.value:.3f}" if "db" in figure.metric.casefold() else f"{figure.value:.2f}"
    return f"{value} ({figure.interval[0]:.1f}-{figure.interval[1]:.1f})" if figure.interval else value
