"""Views in formats of build services: the option that asks for one, and where each goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.options import Params
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.process.errors import LimitError, UsageError

if TYPE_CHECKING:
    from qdq_cli.process.failures import Failure
    from qdq_cli.screen.console import Console
    from qdq_cli.screen.told import Told

JUNIT_FILE = click.Argument(["file"], type=FILE_PATH, required=False, metavar="[FILE]")

_XML = b"<?xml"

FORMAT = click.Option(
    ["--format", "format_"],
    type=click.Choice(["text", "github", "junit", "markdown"]),
    default="text",
    show_default=True,
    help="github: annotations, summary and outputs of a step. junit: a report in FILE. markdown: the summary.",
)


@dataclass(frozen=True)
class Views:
    """A result in the formats of build services; each is written only where it is asked for.

    Args:
        annotations: Lines that GitHub obeys.
        summary: Markdown for the page of a run.
        junit: A JUnit document.
        values: Name -> value for later steps.
    """

    annotations: Callable[[], Iterable[str]]
    summary: Callable[[], str]
    junit: Callable[[], str]
    values: Callable[[], Mapping[str, str]]


def views_of(told: Callable[[], Told]) -> Views:
    """Make the views of a result from what is told of it."""
    from qdq_cli.screen import told as room

    return Views(
        lambda: room.annotation_lines(told()),
        lambda: room.markdown(told()),
        lambda: room.junit(told()),
        lambda: told().values,
    )


def check_format(params: Params, command: str) -> None:
    """Make sure that a file is named for the format that is written to one, and for no other.

    Raises:
        UsageError: It is not so, the file cannot be written, or it is there and something else than a report.
    """
    asked, file = params["format_"] == "junit", params["file"]
    if asked and file is None:
        behind = "the models" if command == "compare" else "MODEL"
        raise UsageError(f"--format junit needs a FILE behind {behind}.", f"See qdq {command} --help.")
    if file is not None and not asked:
        named = "Name the result with -o. " if "output" in params else ""
        raise UsageError(
            f"{file} is one argument too many: only --format junit takes a FILE.", f"{named}See qdq {command} --help."
        )
    if file is not None:
        _check_report(file)


def _check_report(path: Path) -> None:
    """Make sure that a report can be written, and that it takes the place of another one at most.

    Raises:
        UsageError: It is not so: a model, its weights or a sample would be lost.
    """
    from qdq_cli.process.writable import check_writable

    check_writable(path, "FILE", "FILE", streams=True)
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_XML))
    except OSError as error:
        raise UsageError(f"FILE {path} cannot be read: {error.strerror}.", "Name another file.") from error
    if start not in (b"", _XML):
        raise UsageError(f"FILE {path} is there, and is no report.", "Name another file for --format junit.")


def shown(
    screen: Console, params: Params, made: Callable[[], Views], lines: Callable[[], Iterable[str]]
) -> Iterable[str]:
    """Write the view that was asked for where it goes.

    Args:
        screen: Takes annotations.
        params: Parsed options, `JUNIT_FILE` and `FORMAT` among them.
        made: Makes the views of the result; not asked where it is shown to people.
        lines: The result for people.

    Returns:
        The lines that go to stdout.
    """
    if params["format_"] == "text":
        return () if screen.as_json else lines()
    views = made()
    if params["format_"] == "junit":
        write_view(params["file"], views.junit())
    if screen.as_json:
        return ()
    if params["format_"] == "github":
        screen.commands(views.annotations())
        _write_values(views.values())
        return github_summary(views.summary())
    return views.summary().splitlines() if params["format_"] == "markdown" else lines()


def github_summary(summary: str) -> list[str]:
    """The summary goes to the file GitHub names, or below the annotations where it names none."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return summary.splitlines()
    write_view(Path(target), f"{summary}\n", append=True)
    return []


def _write_values(values: Mapping[str, str]) -> None:
    """Values go to the file GitHub names for the outputs of a step, and nowhere where it names none."""
    from qdq_cli.screen.told import value_lines

    if target := os.environ.get("GITHUB_OUTPUT"):
        write_view(Path(target), "".join(value_lines(values)), append=True)


def wants_github(words: Sequence[str]) -> bool:
    """Whether GitHub is told, as far as a command line says that could not be parsed."""
    ours = list(words[: words.index("--")] if "--" in words else words)
    return "--format=github" in ours or ("--format", "github") in pairwise(ours)


def tell_failure(screen: Console, failed: Failure) -> None:
    """Tell GitHub why a run failed: an annotation, and a line of the summary.

    Raises:
        UsageError: The file of the summary cannot be written.
    """
    from qdq_cli.screen.services import annotation, prose_text

    screen.commands([annotation("error", "", "qdq", f"{failed.message} {failed.hint}".strip())])
    screen.write(github_summary(f"**Exit {failed.exit_code}.** {prose_text(f'{failed.message} {failed.hint}')}\n"))


def unmet_by(hold: Callable[[], None]) -> str:
    """Return the limit that is not met, or "" where all are."""
    try:
        hold()
    except LimitError as error:
        return error.message
    return ""


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
