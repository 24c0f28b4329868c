"""docs/tune.md is true: its commands run, its numbers are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from qdq_cli.judging.aside import JUDGE_SAMPLES
from qdq_cli.sensitivity.evaluate import number_of
from qdq_cli.sensitivity.measure import ESTIMATE_RUNS
from qdq_cli.tuning.search import MAX_MEASUREMENTS
from tests.workspace import REPOSITORY, make_example_folder, qdq

PAGE = (REPOSITORY / "docs" / "tune.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example_folder(tmp_path_factory.mktemp("tune")).folder


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_page_runs(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    program, *arguments = shlex.split(line)
    assert program == "qdq"
    done = qdq(*arguments)
    assert done.code == 0, done.err


def test_the_numbers_are_the_programs():
    assert f"at most {JUDGE_SAMPLES}." in PAGE
    assert f"At most {MAX_MEASUREMENTS} variants" in PAGE
    assert f"at least {ESTIMATE_RUNS}," in PAGE
    assert number_of("top-1: 87.38 %") == 87.38
