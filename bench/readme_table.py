"""Where a folder of models keeps its calibration data, and what each model is for: read from its README's tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_RULE = re.compile(r":?-+:?")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Row:
    """What a README says about one model.

    Args:
        task: The cell of the column that names the task or metric; "" where there is none.
        calibration: What the cell of the column on calibration data may name as a path, likeliest first.
    """

    task: str = ""
    calibration: tuple[str, ...] = ()


def model_rows(text: str, names: Sequence[str]) -> dict[str, Row]:
    """Find the rows of a README's Markdown tables whose first cell is the name of a model.

    Columns are found by their titles: "calib..." for the data, "task" or "metric" for the task; their order does not
    matter. Where several tables speak of a model, the first that has such a column wins.

    Args:
        text: The README.
        names: Names of the models' folders.

    Returns:
        Name -> row, for the models that are in a table.
    """
    found: dict[str, Row] = {}
    for header, rows in tables(text):
        calibration, task = _column(header, "calib"), _column(header, "task", "metric")
        for cells in rows:
            name = _plain(cells[0]).strip("/")
            if name in names:
                known = found.get(name, Row())
                found[name] = Row(
                    known.task or _plain(_cell(cells, task)),
                    known.calibration or _paths(_cell(cells, calibration)),
                )
    return found


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the header and the rows of each Markdown table: a line of cells, a line of dashes, lines of cells."""
    lines = text.splitlines()
    for number in range(1, len(lines)):
        rule = _cells(lines[number])
        if "|" in lines[number - 1] and rule and all(_RULE.fullmatch(cell) for cell in rule):
            rows = []
            for line in lines[number + 1 :]:
                if "|" not in line:
                    break
                rows.append(_cells(line))
            yield _cells(lines[number - 1]), rows


def inside(folder: Path, texts: Sequence[str]) -> Path | None:
    """Return the first of these texts that is a path of something that is there, inside of the folder."""
    root = folder.resolve()
    for text in texts:
        relative = PurePosixPath(text.replace("\\", "/"))
        path = root.joinpath(*relative.parts)
        if relative.parts and path.exists() and path.resolve().is_relative_to(root):
            return path
    return None


def _cells(line: str) -> list[str]:
    stripped = line.strip().removeprefix("|")
    cells = _CELL_END.split(stripped)
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _column(header: Sequence[str], *words: str) -> int | None:
    titles = [_plain(cell).casefold() for cell in header]
    return next((number for word in words for number, title in enumerate(titles) if word in title), None)


def _cell(cells: Sequence[str], column: int | None) -> str:
    return cells[column] if column is not None and column < len(cells) else ""


def _plain(cell: str) -> str:
    return _LINK.sub(r"\1", cell).replace("`", "").replace("*", "").strip()


def _paths(cell: str) -> tuple[str, ...]:
    """Link targets first, then what stands in backticks, the whole cell, and each of its words."""
    links = [target.strip("<> ") for _, target in _LINK.findall(cell)]
    quoted = re.findall(r"`([^`]+)`", cell)
    whole = _plain(cell)
    return tuple(dict.fromkeys(text for text in [*links, *quoted, whole, *whole.split()] if text))
