"""Paths on the command line: every option and argument that names a file is of this type."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

_STREAM = re.compile(r"/dev/(std(in|out|err)|fd/.*)|/proc/[^/]+/fd/.*")
"""Names under which a process finds what it has open: its standard streams, and pipes that a shell made for it."""


class FilePath(click.Path):
    """A path of a file or folder; standard input and output are refused, which qdq neither reads nor writes as files.

    A model may consist of several files and is written whole or not at all, which no stream can be.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path.

        Raises:
            click.BadParameter: It is empty, or stands for a stream.
        """
        text = os.fspath(value)
        if not text:
            self.fail("an empty text is no path; a variable of the shell may not be set.", param, ctx)
        if text == "-" or (isinstance(text, str) and _STREAM.fullmatch(os.path.normpath(text))):
            hint = "a file of that name is ./-" if text == "-" else "save it to a file first"
            self.fail(f"'{text}' stands for a stream, and qdq reads and writes files alone; {hint}.", param, ctx)
        return super().convert(value, param, ctx)


FILE_PATH = FilePath()
"""The one instance of the type."""
