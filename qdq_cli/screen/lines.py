"""Labelled rows, wrapped texts and names cut to a width: what the summaries of all commands are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

WIDTH = 80
"""Letters of a line where the terminal does not decide."""

LABEL_WIDTH = 14
"""Letters of the column of labels."""

Paint = Callable[[str, str], str]
"""Colours a text: (text, colour name) -> text."""


def plain(text: str, colour: str = "") -> str:
    """Colour nothing."""
    return text


def row(label: str, text: str, label_width: int = LABEL_WIDTH) -> list[str]:
    """Return a label and a text, wrapped beside it."""
    return labelled(label, beside(text, label_width=label_width) or [""], label_width=label_width)


def labelled(
    label: str, texts: Iterable[str], paint: Callable[[str], str] = plain, label_width: int = LABEL_WIDTH
) -> list[str]:
    """Return lines with a label before the first one, and room before the others.

    Args:
        label: A label; one that fills its column keeps a space behind it.
        texts: The lines; without any there is no label either.
        paint: Makes the label stand out.
        label_width: Letters of the column of labels.
    """
    labels = [paint(f"{label:<{label_width - 1}} ")]
    return [(labels.pop() if labels else " " * label_width) + text for text in texts]


def beside(text: str, width: int = WIDTH, indent: int = 0, label_width: int = LABEL_WIDTH) -> list[str]:
    """Break a text between words for the room beside the labels; what follows the first line is indented."""
    return _broken(text, max(20, width - label_width), "", " " * indent)


def wrapped(text: str, indent: int = 2, width: int = WIDTH) -> list[str]:
    """Break a text between words, indented; long names stay whole."""
    return _broken(text, width, " " * indent, " " * (indent + 2))


def _broken(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip


def elided(text: str, width: int) -> str:
    """Shorten a text to a width by its middle, where long names differ least."""
    if len(text) <= width:
        return text
    head = (width - 3) // 2
    return f"{text[:head]}...{text[len(text) - (width - 3 - head) :]}"


def shortened(name: str, width: int) -> str:
    """Shorten a name to a width and keep its end, which tells nodes apart."""
    return name if len(name) <= width else "..." + name[len(name) - width + 3 :]


def quoted(path: str) -> str:
    """Write a path as a shell takes it, from the current folder where it lies below it."""
    path = short_path(path)
    return path if all(letter.isalnum() or letter in "/\\._-+:@%" for letter in path) else f"'{path}'"


def short_path(path: str) -> str:
    """Write a path from the current folder where it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
