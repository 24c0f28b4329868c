"""Completion: the scripts are click's, a real shell completes with them, PowerShell gets the same answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workspace import REPOSITORY, Outcome, environment, process, qdq

SHELLS = ("bash", "zsh", "fish", "powershell")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_asks_the_program(shell: str):
    done = qdq("completion", shell)
    assert done.code == 0, done.err
    assert f"{shell}_complete" in done.out
    assert "_QDQ_COMPLETE" in done.out


def test_other_shells_are_a_wrong_command_line():
    assert qdq("completion", "tcsh").code == 2
    assert qdq("completion").code == 2


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH with a `qdq` on it."""
    program = tmp_path / "bin" / "qdq"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m qdq_cli "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def in_bash(path: str, cwd: Path, *words: str) -> list[str]:
    """What bash offers behind some words, the last of which is incomplete."""
    script = (
        'eval "$(qdq completion bash)"; '
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _qdq_completion qdq; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=environment(PATH=path), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_values(path: str, tmp_path: Path):
    (tmp_path / "qdq.toml").write_text("[defaults\n", encoding="utf-8")  # of no concern here
    assert in_bash(path, tmp_path, "qdq", "mig") == ["migrate"]
    assert in_bash(path, tmp_path, "qdq", "quantize", "--min-s") == ["--min-sqnr", "--min-speedup"]
    assert in_bash(path, tmp_path, "qdq", "quantize", "--method", "m") == ["minmax", "mse"]
    assert in_bash(path, tmp_path, "qdq", "cache", "ex") == ["export"]


def powershell(words: str, incomplete: str, cwd: Path) -> list[list[str]]:
    """What the program answers to the script of PowerShell."""
    asked = {"_QDQ_COMPLETE": "powershell_complete", "COMP_WORDS": words, "COMP_CWORD": incomplete}
    done: Outcome = process(cwd=cwd, **asked)
    assert (done.code, done.err) == (0, "")
    return [line.split("\t") for line in done.out.splitlines()]


def test_powershell_gets_kind_value_and_help(tmp_path: Path):
    ((kind, value, said),) = powershell("qdq mig", "mig", tmp_path)
    assert (kind, value) == ("plain", "migrate")
    assert said.startswith("Write a model for TensorRT 11")
    assert [each[1] for each in powershell("qdq quantize --method m", "m", tmp_path)] == ["minmax", "mse"]
    assert powershell("qdq quantize mod", "mod", tmp_path) == [["file", "mod", "mod"]]


@pytest.mark.parametrize(("shell", "check"), [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])])
def test_the_other_shells_can_read_their_scripts(shell: str, check: list[str], tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "script").write_text(qdq("completion", shell).out, encoding="utf-8")
    assert subprocess.run([*check, str(tmp_path / "script")], check=False).returncode == 0
