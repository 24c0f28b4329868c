"""Makes what is shown printable: names come from strangers' files, and terminals and build services obey their input.

An escape sequence in a node's name sets a terminal's title or clears its screen, a line end forges a line of a log,
and a direction mark shows a name as another one. All of these become what a programmer writes for them: `\\x1b`,
`\\n`, `\\u202e`. Besides, no line reads as a command to a build service.

Source: GitHub Actions, "Workflow commands" (`::error::`, leading spaces skipped); Azure Pipelines, "Logging commands"
(`##vso[`, `##[`, anywhere in a line); TeamCity, "Service messages" (`##teamcity[`); Unicode 15, section 4.5 (general
categories: controls, formats, surrogates, private use, unassigned, separators of lines and paragraphs).
"""

from __future__ import annotations

import re
import unicodedata

_COMMAND = re.compile(r"^(\s*):(?=:)|#(#)(?=(?:vso|teamcity)?\[)", re.IGNORECASE)
_SHOWN_AS_CODE = frozenset(("Cc", "Cf", "Co", "Cn", "Zl", "Zp"))


def printable(text: str) -> str:
    """Write a text on one line, with an escape for each letter that is obeyed or hidden instead of shown."""
    return text if text.isprintable() else "".join(map(_letter, text))


def printable_line(text: str) -> str:
    """Write a text as a line of the output: printable, and no command to a build service."""
    return _COMMAND.sub(_disarmed, printable(text))


def printable_json(text: str) -> str:
    """Escape, in a JSON document, what its encoder lets through: the document still says the same."""
    if text.isascii() and "\x7f" not in text and "##" not in text:
        return text
    lines = text.split("\n")  # outside of strings, whose line ends are escaped
    return "\n".join(line if line.isprintable() and "##" not in line else _json_line(line) for line in lines)


def _json_line(line: str) -> str:
    return "".join(map(_json_letter, line)).replace("##", "#\\u0023")


def _json_letter(letter: str) -> str:
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    data = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[place : place + 2].hex()}" for place in range(0, len(data), 2))


def _letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in _SHOWN_AS_CODE:
        return letter.encode("unicode_escape").decode("ascii")
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else letter  # half a letter, or a byte of no text


def _disarmed(found: re.Match[str]) -> str:
    """Write the mark that makes a command of a line as a code."""
    return "#\\x23" if found[2] else f"{found[1]}\\x3a"
