"""docs/report.md is true: its commands and its example run, its tables are the program's."""

from __future__ import annotations

import re
import shlex
import typing
from pathlib import Path

import pytest

from qdq_cli.screen.page import Block
from tests.screen.sample import Reader
from tests.workspace import REPOSITORY, make_workspace, qdq

DOC = (REPOSITORY / "docs" / "report.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def first_cells(heading: str) -> list[str]:
    """The first column of the table with this heading."""
    rows = DOC.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [row.split(" | ")[0].strip("| `") for row in rows]


def test_the_commands_run_and_the_sections_are_those_of_the_page(folder: Path):
    (block,) = re.findall(r"```bash\n(.*?)```", DOC, flags=re.DOTALL)
    for line in block.splitlines():
        done = qdq(*shlex.split(line)[1:])
        assert done.code == 0, done.err
    reader = Reader((folder / "page.html").read_text(encoding="utf-8"))
    count = sum(value.startswith("#s") for value in reader.values("href"))
    start = reader.texts.index("Summary")
    assert reader.texts[start : start + count] == first_cells("section")
    assert (folder / "plan.html").is_file()


def test_the_example_runs(folder: Path):
    (example,) = re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL)
    exec(compile(example, "report.md", "exec"), {})
    assert "Release 12" in (folder / "release.html").read_text(encoding="utf-8")


def test_every_block_is_listed():
    assert set(first_cells("block")) == {block.__name__ for block in typing.get_args(Block)}
