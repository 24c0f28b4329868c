"""Explanations as lines of text for people; the console prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from qdq_cli.explaining.explain import title_of
from qdq_cli.explaining.record import LINTED, Explanation, Kind
from qdq_cli.screen.lines import WIDTH, row

LABEL_WIDTH = 10

TITLES = {
    Kind.RULE: "Rules",
    Kind.ERROR: "Errors of qdq inspect",
    Kind.WARNING: "Warnings of qdq inspect",
    Kind.ADVICE: "Advice of qdq inspect, no finding",
    Kind.STANDALONE: "Reasons of stand-alone Q and DQ",
    Kind.SKIP: "Reasons why an input stays float",
    Kind.CAST: "Reasons why an operator stays FP32 beside an FP16 or BF16 rest",
    Kind.LOW: "Reasons why an output is far from FP32",
    Kind.EXIT: "Exit codes",
    Kind.TOPIC: "What options for experts are about",
}
"""What stands above the codes of a kind."""


def explanation_lines(explanations: Iterable[Explanation]) -> list[str]:
    """Return explanations, with a blank line between two."""
    found: list[str] = []
    for entry in explanations:
        found += [""] if found else []
        found += _lines(entry)
    return found


def _lines(entry: Explanation) -> list[str]:
    heading = [*_wrapped(f"{entry.code}: {title_of(entry)}"), f"({entry.kind.value})", ""]
    holds = "holds for" if entry.kind in LINTED else "source"
    labelled = {
        "why": entry.why,
        "example": entry.example,
        "to do": entry.mend,
        holds: entry.source,
        "see": "; ".join(entry.see),
        "page": entry.docs,
    }
    return heading + [line for label, text in labelled.items() if text for line in row(label, text, LABEL_WIDTH)]


def list_lines(codes: Mapping[str, Explanation], columns: int = WIDTH) -> list[str]:
    """Return every code with a line, kind by kind; a sentence that is longer than the line is cut.

    Args:
        codes: Code -> explanation.
        columns: Letters a line may have; codes stay whole.
    """
    found: list[str] = []
    for kind in Kind:
        entries = [entry for entry in codes.values() if entry.kind is kind]
        width = max((len(entry.code) for entry in entries), default=0)
        room = max(columns - width - 4, 20)
        found += ["", TITLES[kind]]
        found += [f"  {entry.code:<{width}}  {_cut(title_of(entry), room)}" for entry in entries]
    return [*found[1:], "", "qdq explain CODE explains one of them."]


def _cut(text: str, room: int) -> str:
    return textwrap.shorten(text, room, placeholder=" ...", break_on_hyphens=False)


def _wrapped(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
