"""Texts and numbers as they stand on a page: escaped, printable, short."""

from __future__ import annotations

import html
import math
import re

from qdq_cli.process.printable import printable

NOTHING = "-"

_LONG_WORD = re.compile(r"\S{25,}")
_PART = re.compile(r"(?<=[/_.])(?=\w)")


def escaped(text: str) -> str:
    """A text as HTML, safe between tags and in quoted attributes; what cannot be printed becomes an escape."""
    return html.escape(printable(text))


def breakable(text: str) -> str:
    """A text as HTML whose long names may go on in a new line behind "/", "_" and "."; copied, it is the text."""
    return _LONG_WORD.sub(lambda found: _PART.sub("<wbr>", found[0]), escaped(text))


def number(value: float | None) -> str:
    """A number with four digits; "-" for none, NaN and Inf."""
    if value is None or not math.isfinite(value):
        return NOTHING
    digits = 4 if 1e-3 <= abs(value) < 1e5 else 3
    return f"{value + 0.0:.{digits}g}"


def percent(share: float) -> str:
    """A share 0..1 in percent; one that is not 0 never looks like 0."""
    if not math.isfinite(100 * share):
        return NOTHING
    return f"{100 * share:.2g} %" if 0 < share < 0.001 else f"{100 * share:.4g} %"
