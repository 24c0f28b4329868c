"""On a terminal: progress and colour; elsewhere neither."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workspace import Outcome, Workspace, environment, make_workspace, process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals of POSIX")

COLOR = re.compile(r"\x1b\[[0-9;]*m")


def waiting(seconds: str, *arguments: object) -> list[str]:
    """The command line of a process that shows a bar after some seconds: no test depends on how long work lasts."""
    patience = f"from qdq_cli.screen import console; console.PATIENCE_SECONDS = float('{seconds}')"
    return [sys.executable, "-c", f"{patience}; from qdq_cli.main import main; main()", *map(str, arguments)]


def in_terminal(*arguments: object, cwd: Path, patience: str = "0", **changes: str) -> Outcome:
    """Run with stdout and stderr each on a pseudo-terminal of 24 rows and 80 columns."""
    import fcntl
    import pty
    import struct
    import termios

    ends = [pty.openpty(), pty.openpty()]
    for _, inner in ends:
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    settings = {name: value for name, value in environment(**changes).items() if name != "COLUMNS"}
    (_, stdout), (_, stderr) = ends
    running = subprocess.Popen(
        waiting(patience, *arguments), cwd=cwd, env=settings, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL
    )
    texts = [b"", b""]
    readers = [outer for outer, _ in ends]
    while running.poll() is None or select.select(readers, [], [], 0.2)[0]:
        for reader in select.select(readers, [], [], 0.1)[0]:
            texts[readers.index(reader)] += os.read(reader, 65536)
    for pair in ends:
        for end in pair:
            os.close(end)
    out, err = (text.decode().replace("\r\n", "\n") for text in texts)
    return Outcome(running.returncode, out, err)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    space = make_workspace(tmp_path_factory.mktemp("terminal"))
    return in_terminal("quantize", "model.onnx", "--calib", "images", cwd=space.folder)


def test_progress_appears_on_stderr_alone(shown: Outcome):
    assert shown.code == 0
    assert "calibrating" in shown.err
    assert "verifying" in shown.err
    assert "0/9" in shown.err
    assert "calibrating" not in shown.out


def test_what_makes_the_result_is_counted_too(shown: Outcome):
    """Tensors that get Q and DQ, weights, what has to be looked at closer."""
    assert "writing Q and DQ" in shown.err


def test_work_that_does_not_last_shows_no_bar(space: Workspace):
    done = in_terminal("quantize", "model.onnx", "--calib", "arrays.npz", cwd=space.folder, patience="inf")
    assert (done.code, done.err) == (0, "")


def test_progress_leaves_nothing_on_the_screen(shown: Outcome):
    """A bar is drawn over itself: after its last carriage return there are blanks only."""
    assert shown.err.rstrip("\r\n").rpartition("\r")[2].strip() == ""


def test_the_summary_is_coloured_and_fits_the_screen(shown: Outcome):
    assert COLOR.search(shown.out)
    lines = COLOR.sub("", shown.out).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert lines[0].startswith("model         model.onnx  (")
    assert "next          TensorRT 8.4 to 10: trtexec --onnx=model.qdq.onnx --int8 --fp16" in lines


def test_warnings_are_broken_between_words(shown: Outcome):
    note = "".join(COLOR.sub("", shown.err).partition("warning:")[1:]).partition("\r")[0]
    assert note.startswith("warning: No preprocessing was chosen")
    assert max(map(len, note.splitlines())) <= 80
    assert len(note.splitlines()) > 1


def test_no_color(space: Workspace):
    done = in_terminal("quantize", "model.onnx", "--calib", "images", cwd=space.folder, NO_COLOR="1")
    assert "calibrating" in done.err
    assert not COLOR.search(done.out + done.err)


def test_without_a_terminal_there_is_neither(space: Workspace):
    done = process("quantize", "model.onnx", "--calib", "images", cwd=space.folder)
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.err
    assert "calibrating" not in done.err
    assert done.err.count("\n") == 1  # the warning about preprocessing, on one line


def test_quiet_means_no_progress_either(space: Workspace):
    done = in_terminal("quantize", "model.onnx", "--calib", "arrays.npz", "-q", cwd=space.folder)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_what_a_program_of_the_user_said_keeps_its_lines(tmp_path: Path):
    space = make_workspace(tmp_path)
    (tmp_path / "eval.py").write_text("import sys; sys.exit('Traceback:\\n  line 3\\nno labels')", encoding="utf-8")
    asked = ("--eval", f"'{sys.executable}' eval.py {{model}}", "--max-drop", "1")
    done = in_terminal("tune", "model.onnx", "--calib", "arrays.npz", *asked, cwd=space.folder)
    assert done.code == 4
    lines = [COLOR.sub("", line).strip() for line in done.err.splitlines()]
    assert lines[lines.index("Traceback:") :][:3] == ["Traceback:", "line 3", "no labels"]
