"""The user's program: how its command is read, which number counts, and what happens when there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import onnx
import pytest

from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.process.errors import DataError, UsageError
from qdq_cli.sensitivity.evaluate import check_command, evaluate, number_of, words_of
from tests.workspace import PATIENCE_SECONDS, environment, make_workspace, qdq


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("87.38\n", 87.38),
        ("  -3\n\n", -3.0),
        ("loading 512 images\ntop-1: 87.38 %\n", 87.38),
        ("accuracy=0.8738\ndone\n", 0.8738),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("1_000", 1000.0),
        ("resnet18: 71", 71.0),
        ("mAP@0.5:0.95 = 37.1", 37.1),
        ('{"metric": "top1", "value": 97.3, "n": 1000}\n', 97.3),
        ('{"accuracy": 0.97, "model": "a.onnx"}\n', 0.97),
        ('{"accuracy": 0.97, "loss": 0.1}\n', None),
        ('87.0\n{"ok": true}\n', 87.0),
        ("no number here\n", None),
        ("v2 conv1x1 a.1\n", None),
        ("", None),
    ],
)
def test_the_last_number_counts(text: str, value: float | None):
    assert number_of(text) == value


def test_words_are_split_before_the_path_is_put_in():
    model = Path("/a folder/it's.onnx")
    assert words_of("python 'my eval.py' --model={model} {model}", model, windows=False) == [
        "python", "my eval.py", "--model=/a folder/it's.onnx", "/a folder/it's.onnx",
    ]  # fmt: skip


def test_backslashes_of_windows_stay():
    words = words_of(r'C:\tools\python.exe "C:\my files\eval.py" {model}', Path("m.onnx"), windows=True)
    assert words == [r"C:\tools\python.exe", r"C:\my files\eval.py", "m.onnx"]


@pytest.mark.parametrize("command", ["python eval.py", "", "python eval.py {Model}"])
def test_a_command_without_a_place_for_the_model_is_refused(command: str):
    with pytest.raises(UsageError, match="where the model goes"):
        check_command(Evaluation(command))


def test_an_open_quote_is_refused():
    with pytest.raises(UsageError, match="quote"):
        check_command(Evaluation("python 'eval.py {model}"))


def program(folder: Path, body: str) -> Evaluation:
    path = folder / "eval.py"
    path.write_text(textwrap.dedent(body), encoding="utf-8")
    return Evaluation(f"'{sys.executable}' '{path}' {{model}}")


def test_the_program_gets_the_path(tmp_path: Path):
    asked = program(tmp_path, "import sys; print('name length', len(sys.argv[1]))")
    model = tmp_path / "a b.onnx"
    assert evaluate(asked, model) == len(str(model))


def test_a_program_that_fails_shows_what_it_said(tmp_path: Path):
    asked = program(tmp_path, "import sys; print(1.0); print('no such labels', file=sys.stderr); sys.exit(7)")
    with pytest.raises(DataError, match=r"exit code 7(?s:.)*no such labels") as caught:
        evaluate(asked, tmp_path / "model.onnx")
    assert "by hand" in caught.value.hint


def test_a_program_without_a_number_shows_both_outputs(tmp_path: Path):
    asked = program(tmp_path, "import sys; print('fine'); print('slow', file=sys.stderr)")
    with pytest.raises(DataError, match=r"no number(?s:.)*fine(?s:.)*slow"):
        evaluate(asked, tmp_path / "model.onnx")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", '{"value": NaN}'])
def test_what_is_not_finite_is_no_value(tmp_path: Path, value: str):
    with pytest.raises(DataError, match="no finite number"):
        evaluate(program(tmp_path, f"print('{value}')"), tmp_path / "model.onnx")


def test_a_missing_program_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="no-such-program"):
        evaluate(Evaluation("no-such-program {model}"), tmp_path / "model.onnx")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_ends_the_program_and_what_it_started(tmp_path: Path):
    asked = program(
        tmp_path,
        f"""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
        time.sleep(3600)
        """,
    )
    code = (
        "import pathlib\n"
        "from qdq_cli.config.sensitivity import Evaluation\n"
        "from qdq_cli.sensitivity.evaluate import evaluate\n"
        f"evaluate(Evaluation({asked.command!r}), pathlib.Path('m.onnx'))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], env=environment(), stderr=subprocess.PIPE)
    pid = _await_pid(tmp_path / "pid")
    running.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in running.communicate(timeout=PATIENCE_SECONDS)[1]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(pid)


def _await_pid(path: Path) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def _is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX, and names that Windows does not allow")
@pytest.mark.parametrize("external", [False, True])
def test_nothing_in_the_name_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external: bool):
    """Not even by a program that hands the path to a shell; every model is called the same, and can be loaded."""
    monkeypatch.chdir(tmp_path)
    space = make_workspace(tmp_path)
    name = "a$(touch pwned) ; touch pwned; `touch pwned`.onnx"
    if external:
        onnx.save(onnx.load(space.model), name, save_as_external_data=True, size_threshold=0, location="w.bin")
    else:
        space.model.rename(name)
    (tmp_path / "eval.py").write_text(
        "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])\n"
        "print(sys.argv[1], file=open('seen', 'a')); print(1)"
    )
    asked = f"sh -c '\"{sys.executable}\" eval.py {{model}}'"
    done = qdq("tune", name, "--calib", "arrays.npz", "--eval", asked, "--max-drop", "1", "-o", "out.onnx")
    assert done.code == 0, done.err
    seen = (tmp_path / "seen").read_text().split()
    assert len(seen) > 1
    assert {Path(path).name for path in seen} == {"model.onnx"}
    assert not [path for path in seen if Path(path).exists()]
    assert not (tmp_path / "pwned").exists()
