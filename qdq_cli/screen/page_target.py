"""Where a page may go: checked before the work begins, and without what draws it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qdq_cli.process.errors import UsageError
from qdq_cli.process.writable import check_apart, check_writable


def check_page_target(path: Path, others: Iterable[Path] = ()) -> Path:
    """Return the absolute path of a page to be written, after making sure that it can be.

    Args:
        path: Where the page is to go.
        others: Files of the same run, read or written, that it must not replace.

    Raises:
        UsageError: The path does not end in .html, is one of them, or cannot be written (`check_writable`).
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {path} is no page.", "Name a file that ends in .html.")
    check_apart(path, "--report", others)
    return check_writable(path, "--report", "--report")
