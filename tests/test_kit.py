"""The kit for pipelines: scripts of the Action and of the GitLab include run, the hook too, the image is what it says.

GitHub and GitLab hand inputs to a script as variables; so do these tests, and they run the script by the shell and with
the options that the service documents. What installs is not run here: nothing is fetched by a test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdq_cli.commands.every import command_named
from qdq_cli.precommit import run_each
from tests.workspace import REPOSITORY, Workspace, environment, make_workspace

ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
COMMANDS = ("quantize", "inspect", "compare", "build")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for bash")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("kit"))
    assert made.quantize("-q").code == 0
    return made


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """What GitHub's runner sets, and an environment where the Action expects the one that it made."""
    program = tmp_path / "temp" / "qdq" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    files = {name: str(tmp_path / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in files.values():
        Path(path).touch()
    return {**files, "RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_ACTION_PATH": str(REPOSITORY)}


def run_step(name: str, inputs: dict[str, str], runner: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of a step as the runner does: inputs as it expands them, bash with its documented options."""
    step = STEPS[name]
    assert step["shell"] == "bash"
    defaults = {key: str(value.get("default", "")) for key, value in ACTION["inputs"].items()}
    given = {**defaults, **inputs}
    variables = {
        key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)
        for key, text in step["env"].items()
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=cwd, env=environment(**runner, **variables), capture_output=True, text=True, check=False,
    )  # fmt: skip


def outputs(runner: dict[str, str]) -> dict[str, str]:
    text = Path(runner["GITHUB_OUTPUT"]).read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in text.splitlines())


def summary(runner: dict[str, str]) -> str:
    return Path(runner["GITHUB_STEP_SUMMARY"]).read_text(encoding="utf-8")


def test_the_action_quantizes_and_says_so(space: Workspace, runner: dict[str, str]):
    inputs = {"command": "quantize", "model": "model.onnx", "arguments": "--calib arrays.npz -o 'with space.onnx'"}
    done = run_step("Run qdq", inputs, runner, space.folder)
    assert done.returncode == 0, done.stderr
    assert summary(runner).startswith("## qdq quantize: passed\n\n### qdq quantize: `model.onnx`\n")
    found = outputs(runner)
    assert (found["verdict"], found["exit-code"], found["output"]) == ("passed", "0", "with space.onnx")
    assert float(found["sqnr-db"]) > 10
    assert (space.folder / "with space.onnx").is_file()


def test_a_limit_that_is_missed_fails_the_step_with_a_verdict(space: Workspace, runner: dict[str, str]):
    inputs = {
        "command": "compare",
        "model": "model.onnx model.qdq.onnx",
        "arguments": "--data arrays.npz --min-sqnr 190",
    }
    done = run_step("Run qdq", inputs, runner, space.folder)
    assert done.returncode == 5
    assert outputs(runner)["verdict"] == "failed"
    assert summary(runner).startswith("## qdq compare: failed\n")
    assert "**Exit 5.**" in summary(runner)
    assert [line for line in done.stdout.splitlines() if line.startswith("::error")]


def test_an_error_is_a_verdict_too(space: Workspace, runner: dict[str, str]):
    done = run_step("Run qdq", {"model": "missing.onnx"}, runner, space.folder)
    assert done.returncode == 3
    assert outputs(runner) == {"verdict": "error", "exit-code": "3"}
    assert summary(runner).startswith("## qdq inspect: error\n")


def test_words_are_never_run_by_the_shell(space: Workspace, runner: dict[str, str]):
    inputs = {"model": "model.onnx", "arguments": "--exclude '$(touch owned)' --exclude `touch` --exclude ;touch"}
    done = run_step("Run qdq", {**inputs, "command": "inspect"}, runner, space.folder)
    assert not (space.folder / "owned").exists()
    assert "$(touch owned)" in done.stderr


@pytest.mark.parametrize(("extras", "what"), [("fast", f"{REPOSITORY}[fast]"), ("", str(REPOSITORY))])
def test_the_action_installs_the_repository_that_it_is_in(
    extras: str, what: str, runner: dict[str, str], tmp_path: Path
):
    called = tmp_path / "called"
    record = tmp_path / "bin" / "python"
    record.parent.mkdir()
    record.write_text("#!/bin/sh\ntest $2 = venv\n", encoding="utf-8")
    record.chmod(0o755)
    own = Path(runner["RUNNER_TEMP"]) / "qdq" / "bin" / "python"
    own.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{called}"\n', encoding="utf-8")
    path = f"{record.parent}{os.pathsep}{os.environ['PATH']}"
    done = run_step("Install qdq", {"extras": extras}, {**runner, "PATH": path}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert called.read_text(encoding="utf-8").splitlines() == ["-m", "pip", "install", "--quiet", what]


def test_every_input_and_output_of_the_action_is_documented_and_real():
    text = (REPOSITORY / "action.yml").read_text(encoding="utf-8")
    page = (REPOSITORY / "docs" / "pipelines.md").read_text(encoding="utf-8")
    for name, told in (*ACTION["inputs"].items(), *ACTION["outputs"].items()):
        assert told["description"]
        assert f"`{name}`" in page
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    for name, told in ACTION["outputs"].items():
        assert told["value"] == f"${{{{ steps.run.outputs.{name} }}}}"
    scripts = "".join(step.get("run", "") for step in STEPS.values())
    assert "${{" not in scripts, "an input in a script would be run by the shell"


def gitlab(**inputs: str) -> Any:
    """The job of the include, its inputs put in as GitLab does."""
    text = (REPOSITORY / "templates" / "qdq.yml").read_text(encoding="utf-8")
    head, body = re.split(r"^---$", text, flags=re.MULTILINE)
    declared = yaml.safe_load(head)["spec"]["inputs"]
    assert {name for name, told in declared.items() if "default" not in told} <= set(inputs)
    given = {name: inputs.get(name, told.get("default", "")) for name, told in declared.items()}
    return yaml.safe_load(re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: str(given[found[1]]), body))


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"model": "model.qdq.onnx", "arguments": "--fail-on E"}, 0),
        ({"model": "model.onnx model.qdq.onnx", "command": "compare", "arguments": "--data images --min-sqnr 99"}, 5),
    ],
)  # fmt: skip
def test_the_gitlab_job_leaves_a_report(inputs: dict[str, str], code: int, space: Workspace, tmp_path: Path):
    (job,) = gitlab(source="qdq", **inputs).values()
    assert job["artifacts"] == {"when": "always", "reports": {"junit": "qdq.xml"}}
    *install, script = job["script"]
    assert [line.split()[2] for line in install] == ["venv", "pip"]
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    line = script.replace(".qdq-venv/bin/python", str(program))
    done = subprocess.run(
        ["sh", "-e", "-c", line],
        cwd=space.folder,
        env=environment(**job["variables"]),
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert (space.folder / "qdq.xml").read_text(encoding="utf-8").startswith("<?xml")
    (space.folder / "qdq.xml").unlink()


def test_the_hook_looks_at_every_model(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(space.folder)
    (hook,) = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert re.search(hook["files"], "nets/model.onnx")
    assert hook["entry"].split()[:3] == ["python", "-m", "qdq_cli.precommit"]
    words = [*hook["entry"].split()[3:], *hook["args"]]
    assert run_each([*words, "model.qdq.onnx", "model.onnx"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run_each([*words, "model.qdq.onnx", "missing.onnx"]) == 3
    name, error, *_, whole = capsys.readouterr().out.splitlines()
    assert name == "missing.onnx"
    assert error.startswith("  error: ")
    assert whole == "  all of it: qdq inspect --fail-on E missing.onnx"
    assert run_each([*words, "--min-int8-macs", "100", "--exclude", "first", "model.onnx", "model.qdq.onnx"]) == 5
    assert run_each(words) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_the_kit_tells_services(name: str):
    assert "--format" in {option for param in command_named(name).params for option in param.opts}


DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
PINNED = dict(
    line.split("==") for line in (REPOSITORY / "docker" / "requirements.txt").read_text("utf-8").splitlines()[1:]
)


def test_the_image_is_slim_pinned_and_not_roots():
    lines = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith(("#", " "))]
    assert [words for name, words in lines if name == "ARG"] == ["PYTHON=python:3.12.11-slim-bookworm"]
    assert [words.split()[0] for name, words in lines if name == "FROM"] == ["${PYTHON}", "${PYTHON}"]
    assert [words for name, words in lines if name == "USER"] == ["10001"]
    assert {name for name, _ in lines} <= {
        "ARG",
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "LABEL",
        "ENV",
        "USER",
        "ENTRYPOINT",
        "CMD",
    }
    for _, words in (each for each in lines if each[0] == "RUN"):
        assert "pip install" not in words or "--no-cache-dir" in words


def test_what_the_image_copies_is_in_the_repository_and_not_ignored():
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
    kept = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in " ".join(copied).split():
        assert (REPOSITORY / name).exists()
        assert f"!{name}" in kept


def test_the_image_has_every_dependency_in_a_version_that_is_allowed():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in (*project["dependencies"], *project["optional-dependencies"]["fast"]):
        name, lowest = re.match(r"([\w-]+)>=([\d.]+)", line).groups()  # type: ignore[union-attr]
        assert numbers(PINNED[name]) >= numbers(lowest), name
    assert version("qdq") == project["version"]


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
