"""What each type keeps of the accuracy, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from bench.ledger import Entry

FLOAT, HALF, INT8, MIX = "fp32", "fp16", "int8", "mix"

COLUMNS = {
    FLOAT: "FP32",
    HALF: "FP16",
    INT8: "INT8",
    "int8-minmax": "INT8, minmax",
    "fp8": "FP8",
    "fp8-minmax": "FP8, minmax",
    MIX: "mix",
}
"""Column -> its title."""

Cells = Mapping[str, Entry]


def markdown(entries: Mapping[str, Cells]) -> str:
    """Four tables: the metric, the SQNR, the mixes, and the tensors; and below them why a figure could not be had."""
    failures = [
        f"* {name}, {COLUMNS[column]}: {entry.failure}"
        for name, cells in entries.items()
        for column, entry in cells.items()
        if entry.failure
    ]
    parts = [
        *("### Metric", "", *_metrics(entries), ""),
        *("### SQNR", "", *_sqnrs(entries), ""),
        *("### Mix", "", *_mixes(entries), ""),
        *("### Tensors", "", *_tensors(entries), ""),
        *failures,
    ]
    return "\n".join(parts).rstrip()


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(texts: int, numbers: int) -> str:
    return _row(*["---"] * texts, *["---:"] * numbers)


def _metrics(entries: Mapping[str, Cells]) -> Iterator[str]:
    yield _row("model", "metric", "samples", *COLUMNS.values())
    yield _rule(2, 1 + len(COLUMNS))
    for name, cells in entries.items():
        figure = next((entry.figure for entry in cells.values() if entry.figure), None)
        about = (figure.metric, f"{figure.count:,}") if figure else ("", "")
        yield _row(name, *about, *(_figure(cells.get(column)) for column in COLUMNS))


def _figure(entry: Entry | None) -> str:
    if entry is None or entry.figure is None:
        return "" if entry is None else "-"
    figure = entry.figure
    return f"{figure.value:.3f}" if "db" in figure.metric.casefold() else f"{figure.value:.2f}"


def _sqnrs(entries: Mapping[str, Cells]) -> Iterator[str]:
    """The operators are those in INT8 and in FP8."""
    columns = [column for column in COLUMNS if column != FLOAT]
    yield _row("model", "in INT8", "in FP8", *(COLUMNS[column] for column in columns))
    yield _rule(1, 2 + len(columns))
    for name, cells in entries.items():
        counts = [_detail(cells, column, "operators") for column in (INT8, "fp8")]
        operators = ["" if count is None else f"{count[0]} of {count[1]}" for count in counts]
        yield _row(name, *operators, *(_number(_detail(cells, column, "sqnr_db"), 1) for column in columns))


def _mixes(entries: Mapping[str, Cells]) -> Iterator[str]:
    yield _row("model", "types", "asked, dB", "reached, dB", "predicted time, % of FP16", "everything in INT8, %")
    yield _rule(2, 4)
    for name, cells in entries.items():
        types = _detail(cells, MIX, "types")
        if types is None:
            continue
        words = ", ".join(f"{count} {title}" for title, count in types.items() if count)
        words += ", recovered" * bool(_detail(cells, MIX, "recovered"))
        words += "" if _detail(cells, MIX, "met") else " (not met)"
        numbers = (_number(_detail(cells, MIX, key), 1) for key in ("asked_db", "sqnr_db", "time_percent"))
        yield _row(name, words, *numbers, _number(_time_of(_detail(cells, MIX, "frontier"), "INT8"), 1))


def _time_of(frontier: list[Any], title: str) -> float | None:
    """Predicted time of the variant in which all that is quantized has one type; None where it was not measured."""
    alone = [
        time
        for types, time, _ in frontier
        if [key for key, count in types.items() if count and key != "float"] == [title]
    ]
    return min(alone, default=None)


def _tensors(entries: Mapping[str, Cells]) -> Iterator[str]:
    yield _row(
        *("model", "tensors", "amax / RMS: median", "largest", "INT8 at amax: median dB", "FP8", "better in FP8"),
        *("weights", "INT8: median dB", "FP8"),
    )
    yield _rule(1, 9)
    for name, cells in entries.items():
        found, weights = (_detail(cells, "int8-minmax", key) for key in ("tensors", "weights"))
        if not found:
            continue
        crests, int8, fp8 = zip(*found, strict=True)
        better = sum(theirs > ours for ours, theirs in zip(int8, fp8, strict=True))
        middle = [_number(median(values), 1) for values in zip(*weights, strict=True)] if weights else ["", ""]
        facts = (_number(value, 1) for value in (median(crests), max(crests), median(int8), median(fp8)))
        yield _row(name, str(len(found)), *facts, str(better), str(len(weights or [])), *middle)


def _detail(cells: Cells, column: str, key: str) -> Any:
    return cells[column].details.get(key) if column in cells else None


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
