"""Every rule, section, case and code that code, messages, tests or pages cite has a place in docs/."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdq_cli.explaining.explain import anchor_of

REPOSITORY = Path(__file__).parent.parent
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("*.md"))}
SOURCES = tuple(
    path
    for folder in ("qdq_cli", "calibrators", "tests", "bench", "sample_models")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
)
TEXTS = (*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md")

ANCHORS = {name for page in PAGES.values() for name in re.findall(r'<a id="([^"]+)"></a>', page)}

PAPER = re.compile(r"arXiv[: \[(]*\d{4}\.\d{5}[^;]{0,80}?sections? [\d.]+(?: and [\d.]+)?")
"""A section of a paper, which stands behind its number."""

RULE = re.compile(r"(?<![\w'.])([APRSF])(\d{1,2})(?:-\1(\d{1,2}))?(?![\w'.]*[\w'])")
CASE = re.compile(r"\bT\d\d\b|(?<=_)t\d\d(?=_)")
CODE = re.compile(r"(?<![\w.])[EW]_[A-Z][A-Z_]+[A-Z]\b(?!_)")
SECTION = re.compile(
    r"(?:\bsections? (?P<section>\d(?:\.\d{1,2})?)|\b(?P<bare>\d\.\d{1,2})(?=, (?:case|item)s? \d))"
    r"(?:, (?P<kind>case|item)s? (?P<first>\d+)(?:(?:-| and )(?P<last>\d+))?)?"
    r"(?:(?:-|,? and |, )(?P<others>\d\.\d{1,2}(?:(?:-| and |, )\d\.\d{1,2})*))?"
)
"""A section with its cases; "4.4, case 4" is one without the word too."""

NO_CODES = {"E_TYPO", "E_ZP_MISING", "W_STANDALONE"}
"""What is written like a code and is none: misspelled names in tests, the beginning of two codes."""


def cited(text: str) -> Iterator[str]:
    """The anchors of what a text cites."""
    text = PAPER.sub("", re.sub(r"\s*\n\s*#?\s*", " ", text))
    for letter, first, last in RULE.findall(text):
        yield from (f"{letter}{number}".lower() for number in range(int(first), int(last or first) + 1))
    yield from (found.lower() for found in CASE.findall(text))
    yield from (anchor_of(found) for found in CODE.findall(text) if found not in NO_CODES)
    for found in SECTION.finditer(text):
        section, kind, first = found["section"] or found["bare"], found["kind"], found["first"]
        yield section
        numbers = range(int(first), int(found["last"] or first) + 1) if kind else ()
        yield from (anchor_of(f"{section}, {kind} {number}") for number in numbers)
        yield from re.findall(r"\d\.\d{1,2}", found["others"] or "")


def passages(source: str) -> Iterator[tuple[int, str]]:
    """Strings, comments and names of functions of a module, where citations stand, with their lines."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef):
            yield node.lineno, node.name
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def unresolved(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = passages(text) if path.suffix == ".py" else enumerate(text.splitlines(), 1)
    name = path.relative_to(REPOSITORY).as_posix()
    return [f"{name}:{line} cites {code}" for line, part in found for code in cited(part) if code not in ANCHORS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Never (A27).", {"a27"}),
        ("A9-A11 and P3.", {"a9", "a10", "a11", "p3"}),
        ("(rules, section 4.4, case 4)", {"4.4", "4.4-case-4"}),
        ("rules, sections 0.2, 1.4 and 1.7", {"0.2", "1.4", "1.7"}),
        ("sections 4.2-4.6", {"4.2", "4.6"}),
        ("(A31; 4.4, cases 1-5)", {"a31", "4.4", *(f"4.4-case-{number}" for number in range(1, 6))}),
        ("cases 1 and 2 of section 3.2", {"3.2"}),
        ("(section 9, item 16)", {"9", "9-item-16"}),
        ("def test_t07_identity():", {"t07"}),
        ("E_ZP_MISSING, W_CONV1D_", {"e_zp_missing"}),
        ("Wu et al. 2020, arXiv 2004.09602, section 3.2; rules, section 5.4", {"5.4"}),
        ("opset 13, (1.5 MB), SM80, TensorRT 8.6, 'A1' and x.S1", set()),
    ],
)
def test_what_counts_as_a_citation(text: str, expected: set[str]):
    assert set(cited(text)) == expected


@pytest.mark.parametrize("path", [*SOURCES, *TEXTS], ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_citation_resolves(path: Path):
    if path != Path(__file__):
        assert unresolved(path) == []


def test_there_are_citations_at_all():
    paths = [path for path in SOURCES if path.is_relative_to(REPOSITORY / "qdq_cli" / "targets")]
    found = [code for path in paths for _, part in passages(path.read_text(encoding="utf-8")) for code in cited(part)]
    assert len(found) > 250
    assert len(set(found)) > 100


def test_nothing_speaks_of_a_document_that_is_not_here():
    """The rules are those of docs/rules.md; nobody has another specification."""
    spoken = re.compile(r"\bspec [\dA-Z]|rules document|\bthe specification\b")
    found = [path.name for path in (*SOURCES, *TEXTS) if path != Path(__file__)
             and spoken.search(path.read_text(encoding="utf-8"))]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_an_anchor_leads_somewhere(page: str):
    for target, anchor in re.findall(r"\]\(([\w.-]*\.md)?#([^)]+)\)", PAGES[page]):
        assert anchor in anchors(PAGES[target or page]), f"{target}#{anchor}"


def anchors(page: str) -> set[str]:
    """Anchors that are written out, and those that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"></a>', page))
