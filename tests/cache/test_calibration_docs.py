"""docs/calibration-cache.md is true: its commands run, and its recipes give the bytes of a single run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qdq_cli.config.cache import RANGE_FORMATS
from tests.workspace import REPOSITORY, environment, make_example_folder, qdq

PAGE = (REPOSITORY / "docs" / "calibration-cache.md").read_text(encoding="utf-8")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the recipes are for POSIX shells")


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the commands name."""
    return make_example_folder(tmp_path).folder


def test_the_commands_run_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    lines = [line for block in blocks("bash") for line in block.splitlines() if not line.startswith("#")]
    assert len(lines) > 12
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "qdq", line
        done = qdq(*arguments)
        assert done.code == 0, f"{line}\n{done.err}"


def test_the_python_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(folder)
    (example,) = blocks("python")
    exec(compile(example, "calibration-cache.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert Path("merged.qcal").is_file()


def test_the_formats_are_the_programs():
    section = PAGE.partition("## Other tools")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")][1:]
    assert [name for row in rows for name in re.findall(r"`([a-z-]+)`", row)] == list(RANGE_FORMATS)


# recipes


def stub(folder: Path, name: str, text: str) -> None:
    """Put a program into the folder that is first on the PATH."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/bash\n{text}\n")
    program.chmod(0o755)


@pytest.fixture
def machines(folder: Path) -> dict[str, str]:
    """The environment of every machine: `qdq` is this checkout, `pip` has nothing to do."""
    stub(folder, "qdq", f'exec {shlex.quote(sys.executable)} -m qdq_cli.main "$@"')
    stub(folder, "pip", "true")
    return environment(PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def shell(line: str, folder: Path, settings: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=folder, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def whole(folder: Path) -> bytes:
    """What one run over all samples makes."""
    assert qdq("calibrate", folder / "model.onnx", "--calib", folder / "images", "-o", folder / "whole.qcal").code == 0
    return (folder / "whole.qcal").read_bytes()


@POSIX
def test_the_github_actions_recipe(folder: Path, machines: dict[str, str]):
    (recipe,) = blocks("yaml")
    share_job, merge_job = recipe.split("  merge:\n")
    shares = [int(number) for number in re.findall(r"share: \[(.*)\]", share_job)[0].split(",")]
    merging = folder / "merging"
    merging.mkdir()
    for share in shares:
        runner = folder / f"runner-{share}"
        runner.mkdir()
        for name in ("model.onnx", "images"):
            (runner / name).symlink_to(folder / name)
        for line in re.findall(r"- run: (.*)", share_job):
            filled = line.replace("${{ matrix.share }}", str(share)).replace(
                "${{ strategy.job-total }}", str(len(shares))
            )
            assert "${{" not in filled
            shell(filled, runner, machines)
        (artifact,) = runner.glob(re.findall(r"path: (.*)", share_job)[0])
        artifact.rename(merging / artifact.name)
    for line in re.findall(r"- run: (.*)", merge_job):
        shell(line, merging, machines)
    assert (merging / re.findall(r"path: (.*)", merge_job)[0]).read_bytes() == whole(folder)


@POSIX
def test_the_slurm_recipe(folder: Path, machines: dict[str, str]):
    script, start = blocks("sh", PAGE.partition("### Slurm")[2].partition("### Dask")[0])
    (folder / "calibrate.sh").write_text(script)
    tasks = int(re.findall(r"--array=1-(\d+)", script)[0])
    # A Slurm that runs each task at once; the second is preempted and requeued after a part of its share.
    stub(
        folder,
        "sbatch",
        f"""if [ "$1" = --parsable ]; then
  for task in $(seq {tasks}); do
    export SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT={tasks} SLURM_RESTART_COUNT=
    if [ $task = 2 ]; then
      qdq calibrate model.onnx --calib images/ --samples 10 --shard 2/{2 * tasks} -o shares/2.qcal -q || exit
      export SLURM_RESTART_COUNT=1
    fi
    bash "$2" >&2 || exit
  done
  echo 4711
else
  [ "$1" = --dependency=afterok:4711 ] && [ "$2" = --wrap ] && exec bash -c "$3"
fi""",
    )
    shell(start, folder, {**machines, "OMP_NUM_THREADS": "1"})
    assert len(list((folder / "shares").glob("*.qcal"))) == tasks
    assert (folder / "model.qcal").read_bytes() == whole(folder)


def test_the_dask_recipe_names_the_options_of_the_program():
    (recipe,) = blocks("sh", PAGE.partition("### Dask")[2].partition("\n## ")[0])
    _, line = recipe.splitlines()
    assert set(re.findall(r"--[a-z-]+", line)) <= set(re.findall(r"--[a-z-]+", qdq("calibrate", "--help").out))
