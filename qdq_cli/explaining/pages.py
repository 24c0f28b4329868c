"""The pages docs/rules.md and docs/findings.md, written from the records; a test holds the files equal to them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from qdq_cli.explaining.explain import anchor_of, catalogue, page_of, title_of
from qdq_cli.explaining.record import LINTED, Explanation, Kind
from qdq_cli.explaining.text import TITLES

WIDTH = 120

_RULES = """# Rules

What `qdq` knows about TensorRT, and the choices it makes, as numbered rules. Findings, reasons and notes name them in \
brackets, JSON in its `rule` fields, the code in its docstrings. `qdq explain A27` prints one of them. Each names its \
source; what public sources leave open is at the end. [findings.md](findings.md) has the codes that the program \
prints, [rule-cases.md](rule-cases.md) small graphs with what becomes of them.

This page is written by `make golden` from `qdq_cli/explaining`.
"""

_FINDINGS = """# Findings, reasons and exit codes

Every code that `qdq` prints: what it says, why, an example, and what to do. `qdq explain W_CONV1D` prints one of \
them, `qdq explain` lists all. [inspect.md](inspect.md) shows them at work; the rules that they name are in \
[rules.md](rules.md).

This page is written by `make golden` from `qdq_cli/explaining`.
"""


def rules_page() -> str:
    """Return docs/rules.md: chapters, sections and the rules of each."""
    return _page(_RULES, (_section(entry) for entry in catalogue().values() if entry.kind is Kind.RULE))


def findings_page() -> str:
    """Return docs/findings.md: the codes of `qdq inspect`, reasons, exit codes, and topics."""
    blocks: list[list[str]] = []
    for kind in list(Kind)[1:]:
        blocks.append([f"## {TITLES[kind]}"])
        blocks += [_block(entry, "###") for entry in catalogue().values() if entry.kind is kind]
    return _page(_FINDINGS, blocks)


def _page(head: str, blocks: Iterable[list[str]]) -> str:
    introduction = "\n".join("\n".join(_wrapped(line)) for line in head.splitlines())
    return "\n\n".join([introduction, *("\n".join(block) for block in blocks)]) + "\n"


def _section(entry: Explanation) -> list[str]:
    """A chapter such as 4 stands above its sections, a section such as 4.4 above its rules."""
    level = "##" if entry.code.isdigit() else "###" if entry.code.replace(".", "").isdigit() else "####"
    return _block(entry, level)


def _block(entry: Explanation, level: str) -> list[str]:
    """One code: anchor, heading, and a paragraph for each of its texts."""
    name = f"Section {entry.code}" if entry.code[0].isdigit() else entry.code
    said = [entry.why, f"Example: {entry.example}", f"What to do: {entry.mend}" if entry.mend else ""]
    holds = "Holds for" if entry.kind in LINTED else "Source:"
    said.append(f"{holds} {entry.source}." if entry.source else "")
    said.append(f"See {', '.join(map(_link, entry.see))}." if entry.see else "")
    heading = [f'<a id="{anchor_of(entry.code)}"></a>', "", f"{level} {name}: {_escaped(title_of(entry))}"]
    return heading + [line for text in said if text for line in ("", *_wrapped(_escaped(text)))]


def _link(code: str) -> str:
    entry = catalogue().get(code) or catalogue()[code.replace("section ", "")]
    page = page_of(entry.kind).removeprefix("docs/")
    return f"[{code}]({page}#{anchor_of(entry.code)})"


def _escaped(text: str) -> str:
    """Keep Markdown from taking stars and angle brackets for its own, outside of what stands between backticks."""
    parts = text.split("`")
    return "`".join(
        part if number % 2 else part.replace("*", r"\*").replace("<", r"\<") for number, part in enumerate(parts)
    )


def _wrapped(text: str) -> Iterator[str]:
    return iter(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False) or [""])
