"""What a folder's qdq.toml says about its models, read and held against the files that a command is given.

[defaults]                      # every model
method = "mse"

[models."model.onnx"]           # one model, or a pattern; its path is seen from the file's folder
calib = ["images"]

[models."model.onnx".inspect]   # one command
fail-on = ["E"]
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import did_you_mean

FILE_NAME = "qdq.toml"
"""Name of the file that commands read in the current folder."""

LARGEST_FILE = 1_000_000
"""Bytes; a file of settings has a few lines a model."""

KINDS = ("defaults", "models")
"""The tables at the top of a file."""

Place = tuple[str, ...]
"""Keys from the top of a file down to a value or a table."""


@dataclass(frozen=True)
class Setting:
    """One value of a file.

    Args:
        key: Long name of an option without its dashes.
        value: What the file says: a text, a number, a truth value, or a list of these.
        line: Where it stands, counted from 1; 0 where that is not known.
        command: The command that it is for, such as "inspect"; "" for all.
    """

    key: str
    value: Any
    line: int
    command: str = ""


@dataclass(frozen=True)
class Table:
    """What a file says about some models.

    Args:
        model: Path or pattern of the models, seen from the file's folder; "" for all.
        settings: In the order of the file, those of single commands last.
        line: Where it begins.
    """

    model: str
    settings: tuple[Setting, ...]
    line: int = 0

    def text_of(self, key: str) -> str:
        """Return the last text that the table gives a key, or an empty one."""
        return next((str(each.value) for each in reversed(self.settings) if each.key == key), "")


@dataclass(frozen=True)
class Settings:
    """A file of settings.

    Args:
        path: Where it is.
        tables: The defaults first, then the models in the order of the file.
    """

    path: Path
    tables: tuple[Table, ...]

    @property
    def folder(self) -> Path:
        """Where its paths begin."""
        return self.path.parent

    @property
    def models(self) -> tuple[str, ...]:
        """The models that have a table."""
        return tuple(table.model for table in self.tables if table.model)

    def for_files(self, files: Iterable[str], command: str) -> tuple[Setting, ...]:
        """Return what a command is told; of two settings with one key the later one holds.

        Args:
            files: What the command line names: models, results or calibration caches of a table choose it.
            command: Words of the command, such as "cache export".
        """
        known = {os.path.realpath(file) for file in files}
        found = [table for table in self.tables if not table.model or self._is_about(table, known)]
        return tuple(each for table in found for each in table.settings if each.command in ("", command))

    def _is_about(self, table: Table, files: set[str]) -> bool:
        """Whether a table is about one of some files: its model, the result of that, its calibration cache."""
        stem = table.model.removesuffix(".onnx")
        names = (table.model, table.text_of("output") or f"{stem}.qdq.onnx", table.text_of("cache"))
        root = os.path.realpath(self.folder)
        relative = {os.path.relpath(file, root).replace(os.sep, "/") for file in files}
        return any(fnmatch.fnmatchcase(file, os.path.normpath(name)) for name in names if name for file in relative)

    def error(self, line: int, message: str, hint: str = "") -> UsageError:
        """Return the error that something in the file is wrong."""
        place = f", line {line}" if line else ""
        return UsageError(f"{self.path}{place}: {message}", hint)


def find_settings(given: Path | None) -> Settings | None:
    """Read the file that was named, else that of the current folder; None where there is none.

    Raises:
        UsageError: It cannot be read, or something in it is wrong.
    """
    path = given or Path(FILE_NAME)
    if given is None and not path.is_file():
        return None
    return read_settings(path)


def read_settings(path: Path) -> Settings:
    """Read a file of settings.

    Raises:
        UsageError: It cannot be read, is no TOML, or has tables that mean nothing.
    """
    import tomllib  # not for the help, which needs no file

    text = _text(path)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        said = re.sub(r" \(at line (\d+), column \d+\)", "", str(error)).removesuffix(".")
        line = re.search(r"at line (\d+)", str(error))
        hint = "Texts stand in quotation marks, and each key stands once; https://toml.io shows the format."
        raise Settings(path, ()).error(int(line[1]) if line else 0, f"{said}.", hint) from error
    return Settings(path, tuple(_tables(Settings(path, ()), document, _Lines(text))))


def _text(path: Path) -> str:
    from calibrators.regular_file import open_regular  # brings NumPy along

    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Name a file of settings with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"{path} has more than {LARGEST_FILE:,} bytes; a few lines a model are enough.")
    return text.replace("\r\n", "\n")


def _tables(file: Settings, document: Mapping[str, Any], lines: _Lines) -> Iterator[Table]:
    for key, value in document.items():
        if key not in KINDS:
            near = did_you_mean(key, KINDS) if isinstance(value, dict) else ""
            hint = near or 'Options stand below [defaults] or [models."model.onnx"].'
            raise file.error(lines.of((key,)), f"'{key}' is no table of this file.", hint)
    if "defaults" in document:
        yield _table(file, "", (("defaults",), document["defaults"]), lines)
    models = document.get("models", {})
    if not isinstance(models, dict):
        raise file.error(lines.of(("models",)), "'models' holds no tables.", 'Write [models."model.onnx"].')
    for model, content in models.items():
        yield _table(file, model, (("models", model), content), lines)


def _table(file: Settings, model: str, found: tuple[Place, Any], lines: _Lines) -> Table:
    """Read one table with those of its commands."""
    place, content = found
    if not isinstance(content, dict):
        hint = "Write [defaults]." if not model else f'Write [models."{model}"]; the quotation marks belong there.'
        raise file.error(lines.of(place), f"'{place[-1]}' is a value where a table is due.", hint)
    general: list[Setting] = []
    special: list[Setting] = []
    for key, value in content.items():
        if isinstance(value, dict):
            special += [Setting(name, each, lines.of((*place, key, name)), key) for name, each in value.items()]
        else:
            general.append(Setting(key, value, lines.of((*place, key))))
    return Table(model, (*general, *special), lines.of(place))


_KEY = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?")
_ENTRY = re.compile(rf"\s*({_DOTTED})\s*=")


class _Lines:
    """Where keys and tables stand: the parser of the standard library does not tell.

    Args:
        text: A valid document.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        inside: Place = ()
        for number, line in enumerate(text.split("\n"), start=1):
            if header := _HEADER.fullmatch(line):
                inside = _keys(header[1])
                self._lines.setdefault(inside, number)
            elif entry := _ENTRY.match(line):
                self._lines.setdefault((*inside, *_keys(entry[1])), number)

    def of(self, place: Place) -> int:
        """Return the line of a value, or that of what holds it; 0 where even that is unknown."""
        inner = (number for known, number in self._lines.items() if known[: len(place)] == place)
        while place:
            if place in self._lines:
                return self._lines[place]
            if first := next(inner, 0):
                return first
            place = place[:-1]
        return 0


def _keys(dotted: str) -> Place:
    """Read a key with dots, such as `models."a.onnx"`."""
    import tomllib

    try:
        found: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:  # a line within a text of several lines
        return ()
    keys = []
    while isinstance(found, dict):
        ((key, found),) = found.items()
        keys.append(key)
    return tuple(keys)
