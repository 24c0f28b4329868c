"""docs/openvino.md is true: its commands run where OpenVINO is, and the operators in it are those of the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qdq_cli.process.extras import install_line
from qdq_cli.running.openvino import is_installed
from qdq_cli.targets.known import TARGETS
from tests.test_docs import DOCS, run_line, shell_lines
from tests.workspace import make_workspace

PAGE = (DOCS / "openvino.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not is_installed(), reason="OpenVINO is not installed")
def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = shell_lines(PAGE)
    assert len(lines) == 5
    for line in lines:
        done = run_line(line)
        assert done.code == 0, done.err
        ran = "" if "inspect" in line or "--dry-run" in line else "ran "
        assert f"{ran}4 of 4 weighted operators" in " ".join(done.out.split())


def test_operators_are_those_of_the_table():
    rules = TARGETS["openvino"].operators.rules
    rows = re.findall(r"^\| ([A-Z]\w+.*?) \|", PAGE.partition("| operator |")[2], flags=re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"\b[A-Z][a-z]+[A-Za-z]*", row)}
    assert named and named <= set(rules)


def test_it_names_the_package():
    assert f"`{install_line('openvino')}`" in PAGE
