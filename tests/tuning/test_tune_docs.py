"""docs/tune.md is true: its commands run, its numbers are the program's."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdq_cli.judging.aside import JUDGE_SAMPLES
from qdq_cli.sensitivity.evaluate import number_of
from qdq_cli.sensitivity.measure import ESTIMATE_RUNS
from qdq_cli.tuning.search import MAX_MEASUREMENTS
from tests.building.fake import use_fake_compiler
from tests.test_docs import run_line, shell_lines
from tests.workspace import REPOSITORY, make_example_folder

PAGE = (REPOSITORY / "docs" / "tune.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example_folder(tmp_path_factory.mktemp("tune")).folder


@pytest.mark.parametrize("line", shell_lines(PAGE))
def test_a_command_of_the_page_runs(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    use_fake_compiler(monkeypatch)
    done = run_line(line)
    assert done.code == 0, done.err


def test_the_numbers_are_the_programs():
    assert f"at most {JUDGE_SAMPLES}." in PAGE
    assert f"At most {MAX_MEASUREMENTS} variants" in PAGE
    assert f"at least {ESTIMATE_RUNS}," in PAGE
    assert number_of("top-1: 87.38 %") == 87.38
