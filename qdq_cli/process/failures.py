"""A run that failed, as a frozen record; with `--json` it is the document of the run."""

from __future__ import annotations

from dataclasses import dataclass

from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import ExitCode


@dataclass(frozen=True)
class Failure:
    """What went wrong, as it is told on stderr.

    Args:
        kind: `usage`, `model`, `data`, `limit` or `interrupted`: what the exit code means. In the place of `limit`,
            `speed` where it is that of speed, and `undecided` where what was measured is too little to tell.
        message: One finished sentence: the name of the thing, what was found, what was expected.
        hint: What to do about it, one sentence, or empty.
        said: Lines that another program said about it.
        exit_code: Exit code of the command.
    """

    kind: str
    message: str
    hint: str
    said: tuple[str, ...]
    exit_code: int


@dataclass(frozen=True)
class ErrorDocument:
    """The document of a run that failed.

    Args:
        schema_version: Version of this document.
        error: What went wrong.
        report: What was found all the same, where a limit is not met, a run was ended early, or the build of a result
            that is written fails: the document that the command prints otherwise. None after other errors.
    """

    schema_version: int
    error: Failure
    report: object | None


def failure(code: ExitCode, message: str, hint: str = "", said: tuple[str, ...] = (), kind: str = "") -> Failure:
    """Make the record of a failure; its kind is that of the exit code unless there is another."""
    return Failure(kind or code.name.lower(), message, hint, said, int(code))


def document_of(failed: Failure, found: object | None) -> ErrorDocument:
    """Make the document of a failure.

    Args:
        failed: What went wrong.
        found: The record of what was found all the same, or None.
    """
    return ErrorDocument(SCHEMA_VERSION, failed, found)
