"""Every case of docs/rule-cases.md has a test that names it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "rule-cases.md").read_text(encoding="utf-8")
CASES = set(re.findall(r'^\| <a id="t\d\d"></a>(T\d\d) \|', PAGE, re.MULTILINE))


def named_cases() -> dict[str, set[str]]:
    """Return case -> the test functions that have it in their name (test_t01_...) or their docstring (T01)."""
    found = defaultdict(set)
    for path, function in functions():
        in_name = {case.upper() for case in re.findall(r"(?<=_)t\d\d(?=_)", function.name)}
        for case in in_name | set(re.findall(r"\bT\d\d\b", ast.get_docstring(function) or "")):
            found[case].add(f"{path.relative_to(TESTS)}::{function.name}")
    return found


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    """Yield every test function with its file."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path, node


def test_every_case_is_named_by_a_test():
    named = named_cases()
    assert {f"T{number:02}" for number in range(1, 63)} == CASES
    assert CASES - named.keys() == set()
    assert named.keys() - CASES == set()
