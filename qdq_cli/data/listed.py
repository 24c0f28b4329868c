"""Lists of samples: a text file with one path a line, or a table with a column for each input.

A relative path is looked for below the folder of the list, then below the current one; which of the two it is, and
whether backslashes separate folders, is settled by the first line.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from calibrators.regular_file import open_regular
from qdq_cli.config.data import LIST_ENDINGS
from qdq_cli.data.array_samples import Stored
from qdq_cli.data.held import HeldArray
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.sifting import Found, kind_of
from qdq_cli.data.stored import unreadable
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import some_of

_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t"}
_LARGEST_BYTES = 1 << 28
_PATHS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "images",
    "image_path",
    "img",
    "name",
)
"""What people call the column of paths, in lower case."""

_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


def is_list(path: Path) -> bool:
    """Whether a file of this name is taken for a list."""
    return path.suffix.lower() in LIST_ENDINGS


@dataclass(frozen=True)
class Row:
    """A line of a list: its number, and its cells."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """What a list says about one input.

    Args:
        spec: The input.
        files: A file for each sample, pictures or arrays; empty where `values` are given.
        values: An array for each sample, of numbers in the list itself.
    """

    spec: InputSpec
    files: tuple[Path, ...] = ()
    values: tuple[Stored, ...] = ()

    @property
    def pictures(self) -> bool:
        """Whether the files are pictures."""
        return bool(self.files) and kind_of(self.files[0]) == "image"


@dataclass(frozen=True)
class Table:
    """A list with a column for each input.

    Args:
        root: The list.
        columns: In the order of the inputs.
        notes: Sentences the user should read.
    """

    root: Path
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()


def read_list(path: Path, specs: Sequence[InputSpec]) -> Found | Table:
    """Read a list.

    Args:
        path: A text file: one path a line, empty lines and those that begin with # left out; further columns behind
            tabs or spaces. Or a table (.csv, .tsv), with or without a line of names.
        specs: The model's inputs.

    Returns:
        The files of the one column that is used, of one kind; or the columns of several inputs.

    Raises:
        DataError: The list cannot be read, or a line of it is no sample.
    """
    reader = _Reader(path, tuple(specs))
    rows = _rows(path, reader.finds)
    if not rows:
        raise DataError(f"The list '{path}' names no sample.", "Write one path a line.")
    names, rows = reader.header(rows)
    if not rows:
        raise DataError(f"The list '{path}' has names of columns and nothing below them.", "Write one path a line.")
    return reader.read(names, rows)


def _rows(path: Path, finds: Callable[[str], bool]) -> list[Row]:
    text = _text(path)
    separators = _SEPARATORS.get(path.suffix.lower())
    if separators is not None:
        first = text.partition("\n")[0]
        separator = max(separators, key=first.count)
        try:
            table = csv.reader(text.splitlines(), delimiter=separator, strict=False)
            return [
                Row(table.line_num, tuple(cell.strip() for cell in cells))
                for cells in table
                if any(map(str.strip, cells))
            ]
        except csv.Error as error:
            raise DataError(f"The list '{path}' is no table: {error}.", "Write one path a line.") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        return []
    split = _splitter(lines[0][1], finds)
    return [Row(number, tuple(split(line))) for number, line in lines]


def _splitter(line: str, finds: Callable[[str], bool]) -> Callable[[str], list[str]]:
    """How lines are divided: not at all where the first one is a path as it stands."""
    if "\t" in line:
        return lambda each: [cell.strip() for cell in each.split("\t")]
    if not finds(_unquoted(line)) and finds(_unquoted(line.split(maxsplit=1)[0])):
        return str.split
    if not finds(_unquoted(line)) and finds(line.rpartition(" ")[0].strip()):  # a path with spaces, and a label
        return lambda each: [cell.strip() for cell in each.rpartition(" ")[::2]]
    return lambda each: [each]


def _text(path: Path) -> str:
    """The text of a list; bytes that are no UTF-8 are kept as the file system keeps them."""
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) > _LARGEST_BYTES:
        raise DataError(f"The list '{path}' has more than {_LARGEST_BYTES:,} bytes.", "Is it a list of paths?")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding, "surrogateescape")
    except UnicodeDecodeError as error:
        raise DataError(f"The list '{path}' is no text: {error.reason}.", "Write it in UTF-8.") from error
    if "\0" in text:
        raise DataError(f"The list '{path}' is no text: it holds zero bytes.", "Write one path a line, in UTF-8.")
    return text


def _unquoted(cell: str) -> str:
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "\"'" else cell


@dataclass(frozen=True)
class _Reader:
    """Reads the rows of one list."""

    path: Path
    specs: tuple[InputSpec, ...]

    def finds(self, cell: str) -> bool:
        """Whether a cell leads to a file, in any of the ways."""
        return self._way(cell) is not None

    def _way(self, cell: str) -> Callable[[str], Path] | None:
        cell = _unquoted(cell)
        folder = self.path.parent
        ways: tuple[Callable[[str], Path], ...] = (
            lambda text: folder / text,
            Path,
            lambda text: folder / text.replace("\\", "/"),
            lambda text: Path(text.replace("\\", "/")),
        )
        return next((way for way in ways if cell and os.path.lexists(way(cell))), None)

    def header(self, rows: list[Row]) -> tuple[tuple[str, ...], list[Row]]:
        """Take off the line of names, if there is one."""
        first = rows[0].cells
        known = {spec.name for spec in self.specs}
        is_header = not any(map(self.finds, first)) and (
            not known.isdisjoint(first)
            or (len(self.specs) == 1 and any(cell.lower() in _PATHS for cell in first))
            or (len(rows) > 1 and any(map(self.finds, rows[1].cells)) and not any(kind_of(PurePath(c)) for c in first))
        )
        return (first, rows[1:]) if is_header else ((), rows)

    def read(self, names: tuple[str, ...], rows: list[Row]) -> Found | Table:
        """Read the rows below the names."""
        places = self._places(names, rows)
        used = set(places)
        width = len(rows[0].cells)
        others = [names[k] if names else f"{k + 1}" for k in range(width) if k not in used]
        notes = [f"{self.path}: column {some_of(others)} is for no input and is not used."] if others else []
        first = _unquoted(rows[0].cells[places[0]])
        if len(places) == 1 and kind_of(PurePath(first)) is not None:
            files = self._files(rows, places[0])
            kind = kind_of(files[0])
            assert kind is not None
            return Found(self.path, kind, files, tuple(notes))
        columns = tuple(self._column(spec, rows, k) for spec, k in zip(self.specs, places, strict=False))
        return Table(self.path, columns, tuple(notes))

    def _places(self, names: tuple[str, ...], rows: list[Row]) -> tuple[int, ...]:
        """Which column is for which input, in their order."""
        cells = rows[0].cells
        if names and all(spec.name in names for spec in self.specs):
            return tuple(names.index(spec.name) for spec in self.specs)
        if len(self.specs) == 1 or _unquoted(cells[0]).lower().endswith(".npz"):
            named = [k for k, name in enumerate(names) if name.lower() in _PATHS]
            found = [k for k, cell in enumerate(cells) if self.finds(cell)]
            return ((named + found + [0])[0],)
        wanted = ", ".join(f"'{spec.name}'" for spec in self.specs)
        if names:
            missing = next(spec.name for spec in self.specs if spec.name not in names)
            raise DataError(f"The list '{self.path}' has no column '{missing}'.", f"The inputs are {wanted}.")
        if len(cells) < len(self.specs):
            raise DataError(
                f"The list '{self.path}' has {len(cells)} columns, but the model has {len(self.specs)} inputs: "
                f"{wanted}.",
                "Write a column for each input, with tabs between: the path of a picture or an array, or a number.",
            )
        return tuple(range(len(self.specs)))

    def _cell(self, row: Row, place: int) -> str:
        if place >= len(row.cells) or not row.cells[place]:
            raise DataError(f"{self.path}, line {row.number}: there is nothing in column {place + 1}.", "Fill it in.")
        return _unquoted(row.cells[place])

    def _files(self, rows: list[Row], place: int) -> tuple[Path, ...]:
        first = self._cell(rows[0], place)
        way = self._way(first)
        if way is None:
            raise DataError(
                f"{self.path}, line {rows[0].number}: '{first}' does not exist, neither below the folder of the list "
                "nor below the current one.",
                "Write paths that lead from one of these to the files, or absolute ones.",
            )
        kind = kind_of(PurePath(first))
        files = []
        for row in rows:
            file = way(self._cell(row, place))
            if kind_of(file) != kind:
                raise DataError(
                    f"{self.path}, line {row.number}: '{self._cell(row, place)}' is no {kind} file, unlike the others.",
                    "Give lists of one kind of file each.",
                )
            files.append(file)
        return tuple(files)

    def _column(self, spec: InputSpec, rows: list[Row], place: int) -> Column:
        if kind_of(PurePath(self._cell(rows[0], place))) is not None:
            return Column(spec, self._files(rows, place))
        return Column(spec, values=tuple(self._value(spec, row, place) for row in rows))

    def _value(self, spec: InputSpec, row: Row, place: int) -> Stored:
        """Read a number, or a list of them in brackets, for one sample."""
        cell = self._cell(row, place)
        array = numbers_in(cell, spec)
        if array is None:
            raise DataError(
                f"{self.path}, line {row.number}: '{cell}' is neither a picture or an array, nor a number of the type "
                f"{spec.dtype.name} for input '{spec.name}'.",
                "Write a path, a number, or numbers in brackets: [640, 640].",
            )
        return HeldArray(f"{self.path}, line {row.number}: '{cell}'", array)


def numbers_in(text: str, spec: InputSpec) -> np.ndarray | None:
    """Read a number, which fills an input, or numbers in brackets; None where it is neither, or of another type."""
    try:
        return filled(json.loads(text), spec)
    except (ValueError, RecursionError):
        return None


def filled(number: object, spec: InputSpec) -> np.ndarray | None:
    """Make an array for one sample of an input of a number, which fills it, or of a list; None where it is neither."""
    try:
        array = np.asarray(number, spec.dtype)
        is_cut = spec.dtype.kind in "iu" and not np.array_equal(array, np.asarray(number))
    except (ValueError, TypeError, OverflowError):
        return None
    if is_cut or not array.size or array.item(0) is None:
        return None
    return array if array.ndim else np.full([dim if isinstance(dim, int) else 1 for dim in spec.shape], array)
