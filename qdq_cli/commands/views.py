"""Views in formats of build services: the option that asks for one, and how its files are written."""

from __future__ import annotations

import os
from pathlib import Path

import click

from qdq_cli.commands.options import Params
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.process.errors import UsageError

JUNIT_FILE = click.Argument(["file"], type=FILE_PATH, required=False, metavar="[FILE]")

FORMAT = click.Option(
    ["--format", "format_"],
    type=click.Choice(["text", "github", "junit"]),
    default="text",
    show_default=True,
    help="github: annotations, and the summary of the run. junit: a report in FILE.",
)


def check_format(params: Params, command: str) -> None:
    """Make sure that a file is named for the format that is written to one, and for no other.

    Raises:
        UsageError: It is not so.
    """
    if (params["format_"] == "junit") != (params["file"] is not None):
        raise UsageError(
            "--format junit needs a FILE behind MODEL, and only it takes one.", f"See qdq {command} --help."
        )


def github_summary(summary: str) -> list[str]:
    """The summary goes to the file GitHub names, or below the annotations where it names none."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return summary.splitlines()
    write_view(Path(target), summary, append=True)
    return []


def write_view(path: Path, text: str, *, append: bool = False) -> None:
    """Write a file whole or not at all; what is no regular file (/dev/stdout) as it comes.

    Raises:
        UsageError: It cannot be written.
    """
    from calibrators import CacheFileError
    from calibrators.cache_file import write_atomically

    try:
        if append or (path.exists() and not path.is_file()):
            with path.open("a" if append else "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
        else:
            write_atomically(path, text.encode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Check the folder and its rights.") from error
    except CacheFileError as error:
        raise UsageError(error.message, "Check the folder and its rights.") from error
