"""Functions that give samples, named on the command line: `package.module:function`, or `path/to/file.py:function`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from qdq_cli.process.errors import DataError

_NAME = re.compile(r"(?P<module>[A-Za-z_][\w.]*|.+\.py):(?P<function>[A-Za-z_]\w*)")

_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, NameError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What a program of the user's raises by mistake."""


def is_function(path: Path) -> bool:
    """Whether a path is none, but the name of a function in a module."""
    return _NAME.fullmatch(str(path)) is not None and not os.path.lexists(path)


def load_function(path: Path) -> Callable[[], object]:
    """Import what gives samples; the current folder is searched for modules too.

    Args:
        path: `module:function`, or `file.py:function`.

    Returns:
        The function; what it raises by mistake is a DataError that names its file and line.

    Raises:
        DataError: There is no such module or function, or importing it fails.
    """
    match = _NAME.fullmatch(str(path))
    assert match is not None
    name = str(path)
    try:
        module = _module(match["module"])
    except _FAILURES as error:
        raise _failed(f"The module of '{name}' cannot be imported", error) from error
    found = getattr(module, match["function"], None)
    if not callable(found):
        what = "has no function" if found is None else "has something else than a function called"
        raise DataError(
            f"The module of '{name}' {what} {match['function']}.",
            "Name a function without parameters that returns or yields samples.",
        )
    return functools.partial(_call, name, found)


def _module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.pop(0)
    path = Path(name).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _call(name: str, function: Callable[[], Any]) -> object:
    try:
        found = function()
    except _FAILURES as error:
        raise _failed(f"{name} failed", error) from error
    return _Guarded(name, found) if isinstance(found, Iterator) else found


class _Guarded(Iterable[object]):
    """What a function yields; mistakes in it end as those of the function do."""

    def __init__(self, name: str, items: Iterator[object]) -> None:
        self._name = name
        self._items = items

    def __iter__(self) -> Iterator[object]:
        while True:
            try:
                item = next(self._items)
            except StopIteration:
                return
            except _FAILURES as error:
                raise _failed(f"{self._name} failed", error) from error
            yield item
            del item


def _failed(what: str, error: BaseException) -> DataError:
    """Say what a program of the user's raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return DataError(f"{what}: {type(error).__name__}{f': {reason}' if reason else ''}{where}.", "Run it by itself.")
