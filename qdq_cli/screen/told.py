"""A run as build services are told of it: facts, cases that pass or fail, and values for the steps that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from xml.etree import ElementTree

from qdq_cli.process.printable import printable_line
from qdq_cli.screen.services import annotation, code_text, document_text, prose_text, suite_of


class Verdict(Enum):
    """What became of a case."""

    PASSED = "passed"
    DOUBT = "doubt"
    """It passed, and there is something to read."""
    FAILED = "failed"


@dataclass(frozen=True)
class Case:
    """Something that was looked at.

    Args:
        name: What it is called in reports.
        text: What was found, one sentence; "" where there is nothing to say.
        verdict: What became of it.
    """

    name: str
    text: str = ""
    verdict: Verdict = Verdict.PASSED


@dataclass(frozen=True)
class Told:
    """All that is told of a run.

    Args:
        command: The command, such as "quantize".
        file: The file it is about.
        facts: Rows of a table: what, and its value.
        cases: What was looked at.
        values: Name -> value for later steps of a pipeline; only what is known.
    """

    command: str
    file: str
    facts: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
    values: Mapping[str, str] = field(default_factory=dict)


def annotation_lines(told: Told) -> list[str]:
    """Return a GitHub annotation for each case with something to read; the error that follows tells what failed."""
    return [
        annotation("warning", told.file, f"qdq {told.command}: {case.name}", case.text)
        for case in told.cases
        if case.verdict is Verdict.DOUBT
    ]


def _failed(case: Case) -> bool:
    return case.verdict is Verdict.FAILED


def markdown(told: Told) -> str:
    """Return the run as Markdown: the facts as a table, then what is to be looked at."""
    doubts = [case for case in told.cases if case.verdict is Verdict.DOUBT]
    lines = [f"### qdq {told.command}: {code_text(told.file)}", "", "| | |", "| --- | --- |"]
    lines += [f"| {_cell(label)} | {_cell(text)} |" for label, text in told.facts]
    lines += [""] if doubts else []
    lines += [f"- **To look at: {prose_text(case.name)}.** {prose_text(case.text)}" for case in doubts]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return prose_text(text).replace("|", "\\|")


def junit(told: Told) -> str:
    """Return the run as a JUnit document with a test case for each case."""
    suite = suite_of(f"qdq {told.command} {told.file}", len(told.cases), sum(map(_failed, told.cases)))
    for case in told.cases:
        entry = ElementTree.SubElement(
            suite, "testcase", classname=f"qdq.{told.command}", name=printable_line(case.name)
        )
        text = printable_line(case.text)
        if _failed(case):
            ElementTree.SubElement(entry, "failure", message=text, type="limit").text = text
        elif text:
            ElementTree.SubElement(entry, "system-out").text = text
    return document_text(suite)


def value_lines(values: Mapping[str, str]) -> Iterable[str]:
    """Return `name=value` lines for the file that GitHub names for the outputs of a step; no value ends its line."""
    return [f"{name}={printable_line(value)}\n" for name, value in values.items()]
