"""Tables of samples: Parquet files, and the Arrow files of Hugging Face `datasets`, with a column for each input.

A picture is the bytes of its file, in a column of its own or in the struct `{bytes, path}` of `datasets`; an array is a
list of numbers, nested or not, or one number. Rows that are wanted are read in one pass, a few at a time, and kept in a
temporary file. pyarrow does the reading (the extra `parquet`).

Format: Apache Parquet 2; Apache Arrow IPC, streams and files; features in the metadata `huggingface` of the schema.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibrators.regular_file import open_regular
from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.array_samples import ArrayPart, cut_arrays
from qdq_cli.data.arrays import StoredArray
from qdq_cli.data.blobs import Cell
from qdq_cli.data.composed import ComposedPart
from qdq_cli.data.cutting import Opened
from qdq_cli.data.image_samples import ImagePart, set_up_images
from qdq_cli.data.inputs import InputSpec, near_names
from qdq_cli.data.listed import filled
from qdq_cli.data.sample import Part
from qdq_cli.data.spool import Spool
from qdq_cli.data.stored import unreadable
from qdq_cli.process.errors import DataError
from qdq_cli.process.extras import install_line
from qdq_cli.screen.sentences import some_of

_ROWS_AT_ONCE = 16
_FILE_MAGIC = b"ARROW1"


@dataclass(frozen=True)
class _Column:
    """A column that an input takes.

    Args:
        name: Its name.
        spec: The input.
        pictures: Whether it holds the bytes of pictures.
    """

    name: str
    spec: InputSpec
    pictures: bool


def open_rows(
    root: Path, files: Sequence[Path], specs: Sequence[InputSpec], preprocessing: Preprocessing | None
) -> Opened:
    """Open the rows of some files as samples.

    Args:
        root: What sentences call the whole.
        files: Parquet or Arrow files with the same columns.
        specs: The inputs.
        preprocessing: What the user chose for pictures, or None.

    Raises:
        DataError: A file cannot be read, or has no column for an input; pyarrow is not installed.
        UsageError: The preprocessing does not fit.
    """
    tables = tuple(map(_Table, files))
    columns = _columns(tables[0], specs)
    for table in tables[1:]:
        _require_same(tables[0], table, columns)
    cells = _Cells(tables, [column.name for column in columns if column.pictures])
    parts: list[ImagePart] = []
    for place, column in enumerate(column for column in columns if column.pictures):
        blobs = tuple(
            Cell(table.path, column.name, row, cells, (number, place))
            for number, (table, row) in enumerate((table, row) for table in tables for row in range(table.rows))
        )
        parts.append(ImagePart(blobs, set_up_images((column.spec,), preprocessing)))
    part = parts[0] if len(columns) == len(parts) == 1 else _composed(tables, columns, specs, parts)
    if not len(part):
        raise DataError(f"{root} holds no row.", "Give a table with samples.")
    return Opened((part,), _notes(root, tables[0], columns), parts[0].setup if parts else None)


def _composed(
    tables: Sequence[_Table], columns: Sequence[_Column], specs: Sequence[InputSpec], parts: Sequence[ImagePart]
) -> Part:
    others = [column for column in columns if not column.pictures]
    arrays = _arrays(tables, others) if others else tuple(ArrayPart(tables[0].path, (), 1) for _ in parts[0].files)
    return ComposedPart(tuple(specs), tuple(parts), arrays, "image" if parts else "array")


def _notes(root: Path, table: _Table, columns: Sequence[_Column]) -> tuple[str, ...]:
    used = {column.name for column in columns}
    others = [name for name in table.names if name not in used]
    return (f"{root}: column {some_of(others)} is for no input and is not used.",) if others else ()


class _Table:
    """One file of rows.

    Attributes:
        path: The file.
        rows: How many rows it has.
        names: Its columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrow = _pyarrow()
        with self._told():
            with open_regular(path) as file:
                self._is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            if path.suffix.lower() == ".parquet":
                found = self._parquet()
                self.rows, self.schema = found.metadata.num_rows, found.schema_arrow
            else:
                reader = self._reader()
                self.schema = reader.schema
                self.rows = sum(batch.num_rows for batch in self._batches(reader))
        self.names: list[str] = list(self.schema.names)

    def type_of(self, name: str) -> Any:
        """The type of a column."""
        return self.schema.field(name).type

    def _told(self) -> _Told:
        return _Told(self.path, self._arrow)

    def _parquet(self) -> Any:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(self.path, memory_map=True)

    def _reader(self) -> Any:
        import pyarrow.ipc

        content = self._arrow.memory_map(str(self.path))
        return pyarrow.ipc.open_file(content) if self._is_file else pyarrow.ipc.open_stream(content)

    def _batches(self, reader: Any) -> Iterator[Any]:
        if self._is_file:
            return (reader.get_batch(number) for number in range(reader.num_record_batches))
        return iter(reader)

    def read(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read columns, a few rows at a time: the number of the first of them, and their values by name.

        Raises:
            DataError: The file is damaged.
        """
        start = 0
        with self._told():
            if self.path.suffix.lower() == ".parquet":
                batches: Iterator[Any] = self._parquet().iter_batches(_ROWS_AT_ONCE, columns=list(names))
            else:
                batches = self._sliced()
            for batch in batches:
                yield start, {name: batch.column(name) for name in names}
                start += batch.num_rows

    def _sliced(self) -> Iterator[Any]:
        for batch in self._batches(self._reader()):
            for first in range(0, batch.num_rows, _ROWS_AT_ONCE):
                yield batch.slice(first, _ROWS_AT_ONCE)


class _Told:
    """Turns what pyarrow raises for a damaged file into a sentence."""

    def __init__(self, path: Path, arrow: Any) -> None:
        self._path = path
        self._kinds = (arrow.ArrowException, OSError, ValueError, KeyError)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and isinstance(error, self._kinds):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise unreadable(self._path, ValueError(reason), "It is damaged, or no such table.") from error


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(
            "Parquet and Arrow files need pyarrow, which is not installed.", f"{install_line('parquet')}."
        ) from error
    return pyarrow


def _columns(table: _Table, specs: Sequence[InputSpec]) -> tuple[_Column, ...]:
    """Find the column of each input: the one of its name, else the one of pictures for the one input without.

    Raises:
        DataError: There is none.
    """
    types = {name: table.type_of(name) for name in table.names}
    pictures = [name for name in table.names if _is_picture(types[name])]
    missing = [spec for spec in specs if spec.name not in types]
    if len(missing) == 1:
        declared = _declared_pictures(table.schema.metadata)
        free = [name for name in pictures if name not in {spec.name for spec in specs}]
        chosen = [name for name in free if name in declared] or free
        if len(specs) == 1 and not chosen and len(table.names) == 1:
            chosen = table.names
        if len(chosen) == 1:
            types[missing[0].name] = types[chosen[0]]
            return tuple(
                _Column(chosen[0] if spec is missing[0] else spec.name, spec, _is_picture(types[spec.name]))
                for spec in specs
            )
    if missing:
        kind = "several columns" if len(pictures) > 1 else "no column"
        raise DataError(
            f"{table.path} has {kind} of pictures, and none is called '{missing[0].name}' like the input: "
            f"{some_of([repr(name) for name in table.names], 8)}.",
            f"{near_names(missing[0].name, table.names)} Rename the one that the input takes.",
        )
    return tuple(_Column(spec.name, spec, _is_picture(types[spec.name])) for spec in specs)


def _is_picture(kind: Any) -> bool:
    """Whether a type holds the bytes of files: binary, or a struct with such a field `bytes`."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(kind.field(k).name == "bytes" and _is_picture(kind.field(k).type) for k in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _declared_pictures(metadata: Any) -> frozenset[str]:
    """The columns that `datasets` says are pictures."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return frozenset(name for name, feature in features.items() if feature.get("_type") == "Image")
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def _require_same(first: _Table, other: _Table, columns: Sequence[_Column]) -> None:
    for column in columns:
        if column.name not in other.names or other.type_of(column.name) != first.type_of(column.name):
            raise DataError(
                f"{other.path} has another column '{column.name}' than {first.path}, or none.",
                "Give one table, or files of one table.",
            )


class _Cells:
    """The pictures of some columns: rows that are wanted are kept in a temporary file. Safe for threads."""

    def __init__(self, tables: Sequence[_Table], names: Sequence[str]) -> None:
        self._tables = tables
        self._names = names
        self._spool = Spool()
        self._lock = threading.RLock()
        self._places: dict[tuple[int, int], tuple[int, int] | str] = {}

    def expect(self, keys: Sequence[tuple[int, int]]) -> None:
        """See `Packed`; a key is the number of a row and of a column."""
        with self._lock:
            wanted = {number for number, place in keys if (number, place) not in self._places}
            start = 0
            for table in self._tables:
                if any(start <= number < start + table.rows for number in wanted):
                    self._read(table, start, wanted)
                start += table.rows

    def _read(self, table: _Table, start: int, wanted: set[int]) -> None:
        for first, values in table.read(self._names):
            for place, name in enumerate(self._names):
                for k in range(len(values[name])):
                    if start + first + k in wanted:
                        self._places[start + first + k, place] = self._kept(values[name][k].as_py(), str(table.path))

    def _kept(self, value: Any, label: str) -> tuple[int, int] | str:
        """Keep the bytes of a picture, or say why there are none."""
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            named = value.get("path") if isinstance(value, dict) else None
            return "it names a file instead of holding it" if named else "it is empty"
        return self._spool.write(lambda file: file.write(content), label), len(content)

    def read(self, key: tuple[int, int]) -> bytes:
        """The bytes of one picture.

        Raises:
            OSError: There are none.
        """
        self.expect((key,))
        place = self._places[key]
        if isinstance(place, str):
            raise OSError(place)
        return self._spool.read(*place)


def _arrays(tables: Sequence[_Table], columns: Sequence[_Column]) -> tuple[ArrayPart, ...]:
    """Read the columns of numbers once, and keep each row's arrays in a temporary file.

    Raises:
        DataError: A value is no array of its input's type, or does not fit it.
    """
    spool = Spool()
    found: list[ArrayPart] = []
    names = [column.name for column in columns]
    for table in tables:
        for first, values in table.read(names):
            for k in range(len(values[names[0]])):
                label = Path(f"{table.path}[{first + k}]")
                stored = {c.spec.name: _array(values[c.name][k].as_py(), c, spool, label) for c in columns}
                found.append(_one(cut_arrays(label, stored, [column.spec for column in columns]), label))
    return tuple(found)


def _array(value: Any, column: _Column, spool: Spool, label: Path) -> StoredArray:
    array = filled(value, column.spec)
    if array is None:
        raise DataError(
            f"{label}: column '{column.name}' holds no array of {column.spec.dtype.name} for input "
            f"'{column.spec.name}'.",
            "A row has a number, or a list of them, of one length.",
        )
    array = np.ascontiguousarray(array)
    return StoredArray(label, column.name, array.shape, array.dtype, spool, spool.add(array, str(label)))


def _one(part: ArrayPart, label: Path) -> ArrayPart:
    if part.count != 1:
        raise DataError(f"{label}: {part.count} samples, but a row is one.", "Write one row for each sample.")
    return part
