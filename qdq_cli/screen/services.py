"""What build services read: GitHub annotations, Markdown for the page of a run, JUnit documents; every text escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from qdq_cli.process.printable import printable, printable_line


def annotation(severity: str, file: str, title: str, text: str) -> str:
    """Return a workflow command that GitHub shows on the run and beside the file.

    Source: GitHub documentation, "Workflow commands for GitHub Actions": `::error file=,title=::message`, with %
    escaped, in properties also `:` and `,`; line ends, which it would take too, are made printable as everywhere.

    Args:
        severity: `error`, `warning` or `notice`.
        file: The file it is about, or "".
        title: Its title.
        text: What it says.
    """
    place = f"file={_property(file)}," if file else ""
    return f"::{severity} {place}title={_property(title)}::{_message(text)}"


def _message(text: str) -> str:
    return printable(text).replace("##", "#\\x23").replace("%", "%25")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def code_text(text: str) -> str:
    """Write a name as code in Markdown, between more backticks than it holds in a row."""
    text = printable_line(text)
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{marks}{space}{text}{space}{marks}"


def prose_text(text: str) -> str:
    """Write a sentence in Markdown; names in it make no links, pictures or HTML."""
    return re.sub(r"[<&\[\]]", lambda found: f"&#{ord(found[0])};", printable_line(text))


def suite_of(name: str, tests: int, failures: int) -> ElementTree.Element:
    """Return an empty JUnit suite that says how many of its tests failed."""
    return ElementTree.Element(
        "testsuite", name=printable_line(name), tests=str(tests), failures=str(failures), errors="0"
    )


def document_text(suite: ElementTree.Element) -> str:
    """Write a JUnit document."""
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"
