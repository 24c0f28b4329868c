"""Patterns of file names, as shells know them: for those who quote them, and for shells that leave them alone."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from qdq_cli.data.sifting import is_visible, natural_key
from qdq_cli.process.errors import DataError

_NUMBERS = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST_NAMES = 100_000


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern: nothing is called so, and it has *, ?, [ or numbers in braces ({0..9})."""
    text = str(path)
    return not os.path.lexists(path) and (glob.has_magic(text) or _NUMBERS.search(text) is not None)


def matches_of(pattern: Path) -> list[Path]:
    """Return the visible files and folders that match a pattern, in natural order.

    Args:
        pattern: `**` stands for folders, {000..009} for numbers of that many digits.

    Raises:
        DataError: There are none, or a number in braces that is missing.
    """
    found: set[Path] = set()
    for text in _numbered(str(pattern)):
        paths = glob.glob(text, recursive=True) if glob.has_magic(text) else [text]  # noqa: PTH207 - also absolute
        if not glob.has_magic(text) and not os.path.lexists(text):
            raise DataError(f"Calibration data '{text}' of '{pattern}' does not exist.", "Check the numbers in braces.")
        found.update(Path(path) for path in paths if is_visible(Path(path).name))
    if not found:
        raise DataError(
            f"Calibration data '{pattern}' matches no file.", "Put patterns in quotes, and check the folder."
        )
    return sorted(found, key=natural_key)


def _numbered(text: str) -> Iterator[str]:
    """Write a name for each number in braces."""
    match = _NUMBERS.search(text)
    if match is None:
        yield text
        return
    first, last = int(match[1]), int(match[2])
    if last - first >= _MOST_NAMES:
        raise DataError(f"'{text}' stands for more than {_MOST_NAMES:,} names.", "Use * in place of the braces.")
    for number in range(first, last + 1):
        yield from _numbered(f"{text[: match.start()]}{number:0{len(match[1])}d}{text[match.end() :]}")
