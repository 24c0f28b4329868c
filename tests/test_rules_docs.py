"""Every rule a message names can be looked up in docs/rules.md, and no rule there is without a use."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
RULE = re.compile(r"\b(?:[APRS]\d{1,2}|4\.\d(?:, case \d)?|section 9, item \d+|1\.9|0\.2)\b")
RANGE = re.compile(r"\b([A-Z])(\d+)-[A-Z](\d+)\b")
PLACES = (
    "targets/tensorrt",
    "fixing",
    "inspecting",
    "placement",
    "preparing",
    "model",
    "running",
    "judging",
    "recovering",
)


def named_by_messages() -> set[str]:
    """Rules in strings that are not docstrings; `A9-A11` counts for each of them."""
    found: set[str] = set()
    for path in (path for place in PLACES for path in sorted((REPOSITORY / "qdq_cli" / place).glob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found.update(RULE.findall(node.value))
                for letter, first, last in RANGE.findall(node.value):
                    found.update(f"{letter}{number}" for number in range(int(first), int(last) + 1))
    return found


def explained() -> set[str]:
    text = (REPOSITORY / "docs" / "rules.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)) - {"id", "---"}


def test_every_rule_that_a_message_names_is_explained():
    assert len(named_by_messages()) > 40
    assert named_by_messages() - explained() == set()


def test_the_rules_that_are_explained_are_those_in_use():
    source = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "qdq_cli").rglob("*.py"))
    unused = {rule for rule in explained() - named_by_messages() if not re.search(rf"\b{re.escape(rule)}\b", source)}
    assert unused == set()
