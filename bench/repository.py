"""Pages of the repository as they stand elsewhere: links that lead somewhere from there too."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from posixpath import normpath

ROOT = Path(__file__).parents[1]

_CODE_OR_LINK = re.compile(
    r"^```.*?^```$|`[^`\n]*`|(?P<mark>!?)\[(?P<label>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)",
    flags=re.MULTILINE | re.DOTALL,
)
"""Code, in which nothing is a link, or a link or a picture: whichever begins first."""


def address() -> str:
    """Return where the repository can be read, as far as its clone knows: a web address, or nothing."""
    asked = ["git", "remote", "get-url", "origin"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return said.removesuffix(".git") if re.match(r"https?://", said) else ""


def relinked(text: str, where: str, target_of: Callable[[str], str | None]) -> str:
    """Give the links of a page that stand in the repository other targets.

    Args:
        text: Markdown.
        where: Place of the page in the repository, such as `docs/build.md`.
        target_of: Returns the new target of a place in the repository; None makes the link plain text.
    """

    def replace(found: re.Match[str]) -> str:
        mark, label, target = found["mark"], found["label"], found["target"]
        path, _, anchor = (target or "").partition("#")
        if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
            return found[0]
        new = target_of(normpath(f"{Path(where).parent.as_posix()}/{path}"))
        if new is None:
            return "" if mark else label
        return f"{mark}[{label}]({new}{'#' + anchor if anchor else ''})"

    return _CODE_OR_LINK.sub(replace, text)
