"""The README is true: its commands run, its exit codes are the program's, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from qdq_cli.process.errors import ExitCode
from sample_models.catalog import CATALOG
from tests.building.fake import use_fake_compiler
from tests.workspace import REPOSITORY, make_example_folder, qdq

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every `qdq` line of the shell blocks, without comments and redirections."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split(" #")[0].split(" > ")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("qdq ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example_folder(tmp_path_factory.mktemp("readme")).folder


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_runs(line, folder, monkeypatch):
    monkeypatch.chdir(folder)
    use_fake_compiler(monkeypatch)
    done = qdq(*shlex.split(line)[1:])
    assert done.code == 0, done.err


def test_the_python_example_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})


def test_the_exit_codes_are_the_programs():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert listed == {code.value for code in ExitCode}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_a_link_leads_somewhere(target):
    assert (REPOSITORY / target).exists()


@pytest.mark.parametrize("sample", CATALOG, ids=lambda sample: sample.name)
def test_the_accuracy_table_has_the_float_value_of_every_sample_model(sample):
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{sample.name}` |")]
    shown = float(re.findall(r"\| ([\d.]+) (?:%|dB) \|", row)[0])
    assert shown == pytest.approx(sample.fp32, abs=0.006)


def test_the_demo_is_the_one_of_the_makefile():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\$ (qdq quantize sample_models.*)$", README, flags=re.MULTILINE)
    assert line in makefile
