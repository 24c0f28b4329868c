"""docs/speed.md is true: its commands run, and the figures in it are the program's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qdq_cli.quantizing.speed import EFFORT, MORE_EFFORT
from qdq_cli.timing import measure
from qdq_cli.timing import text as words
from tests.test_docs import DOCS, run_line, shell_lines
from tests.workspace import make_workspace

PAGE = (DOCS / "speed.md").read_text(encoding="utf-8")


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = shell_lines(PAGE)
    assert len(lines) == 3
    for line in lines:
        done = run_line(line)
        assert done.code == 0, done.err
        assert re.search(r"[\d.]+ times as fast as", " ".join(done.out.split()))


def test_its_figures_are_those_of_the_program():
    numbers = {3: "three", 5: "five"}
    assert f"Before each run of less than {1000 * measure._SHORT_SECONDS:g} ms" in PAGE
    assert f"{EFFORT.least} to {EFFORT.most} in about {numbers[int(EFFORT.seconds)]} seconds unasked" in PAGE
    assert f"{MORE_EFFORT.least} to {MORE_EFFORT.most} in about {numbers[int(MORE_EFFORT.seconds)]} seconds" in PAGE
    assert words._WIDE == 0.2 and "wider than a fifth of the ratio" in PAGE
    assert measure.CERTAINTY == 0.95
