"""What only a real process shows: signals, full disks, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from tests.networks import Network
from tests.workspace import PATIENCE_SECONDS, Workspace, command, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

SAMPLES = 300
LARGE = 512
"""Height and width at which a run takes long enough to be interrupted."""


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the process takes for the system's temporary one."""
    return tmp_path_factory.mktemp("temporary")


def large_model(space: Workspace) -> None:
    """Replace the model by one that is slow, and give it many pictures (links to one)."""
    net = Network()
    x = net.input("images", ("N", 3, LARGE, LARGE))
    for number in range(6):
        x = net.relu(net.conv(x, 32, f"conv{number}", scale=None))
    onnx.save(net.proto(x), space.model)
    for number in range(10, SAMPLES):
        (space.images / f"{number}.png").symlink_to("0.png")


def start(space: Workspace, temporary: Path, *options: object) -> subprocess.Popen[str]:
    line = command("quantize", "model.onnx", "--calib", "images", *options)
    settings = environment(TMPDIR=str(temporary), PYTHONUNBUFFERED="1")
    pipe = subprocess.PIPE
    return subprocess.Popen(line, cwd=space.folder, env=settings, stdout=pipe, stderr=pipe, text=True)


def assert_stopped(running: subprocess.Popen[str], space: Workspace, temporary: Path, before: list[str]) -> None:
    """It ends with one sentence and exit code 130, and leaves nothing behind."""
    out, err = running.communicate(timeout=PATIENCE_SECONDS)
    assert (running.returncode, out) == (130, "")
    assert err.strip().splitlines()[-1] == "error: Interrupted before the result was finished."
    assert "Traceback" not in err
    assert space.listing() == before
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_calibrating(space: Workspace, temporary: Path, sent: signal.Signals):
    large_model(space)
    before = space.listing()
    running = start(space, temporary)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("warning: No preprocessing was chosen")  # said when the data is open
    time.sleep(0.5)
    running.send_signal(sent)
    assert_stopped(running, space, temporary, before)


def test_a_signal_while_verifying_leaves_an_older_result_untouched(space: Workspace, temporary: Path):
    large_model(space)
    space.output.write_text("an older result")
    before = space.listing()
    running = start(space, temporary, "--preprocess", "unit", "--samples", "1", "--verify", SAMPLES - 1)
    while not list(space.folder.glob(".qdq-*")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    assert_stopped(running, space, temporary, before)
    assert space.output.read_text() == "an older result"


def quantize_with_little_room(space: Workspace, room_kb: int, *options: object) -> subprocess.CompletedProcess[str]:
    """Run in a process whose files may not grow beyond some kB: what a full disk does, without one."""
    limited = f"ulimit -f {room_kb}; {subprocess.list2cmdline(command('quantize', 'model.onnx', *options))}"
    return subprocess.run(
        ["bash", "-c", limited], cwd=space.folder, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("external", [False, True], ids=["one file", "external data"])
def test_no_room_for_the_output(space: Workspace, external: bool):
    if external:
        onnx.save(onnx.load(space.model), space.model, save_as_external_data=True, size_threshold=0, location="w.bin")
    space.output.write_text("an older result")
    before = space.listing()
    done = quantize_with_little_room(space, 8, "--calib", "arrays.npz")
    assert (done.returncode, done.stdout) == (3, "")
    problem, hint = done.stderr.splitlines()
    assert problem == "error: model.qdq.onnx cannot be written: File too large."
    assert hint == "hint: Is there room on the disk?"
    assert space.listing() == before
    assert space.output.read_text() == "an older result"


def test_no_room_for_the_cache(space: Workspace):
    before = space.listing()
    done = quantize_with_little_room(space, 1, "--calib", "arrays.npz", "--cache", "model.qcal")
    assert done.returncode == 4
    assert done.stderr.splitlines()[0].startswith("error: ")
    assert "model.qcal" in done.stderr
    assert "Traceback" not in done.stderr
    assert space.listing() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(space: Workspace):
    space.folder.chmod(0o500)
    done = quantize_with_little_room(space, 8, "--calib", "arrays.npz")
    space.folder.chmod(0o700)
    assert done.returncode == 2  # before the work
    assert "Permission denied" in done.stderr


def test_what_a_library_logs_is_not_shown(space: Workspace):
    """A log line among the sentences would be taken for one; programs that set up logging still get it."""
    script = (
        "import logging, sys\nfrom qdq_cli.main import run\nrun(['inspect', 'model.onnx'])\n"
        "logging.getLogger('onnx_ir.serde').warning('noise')\nlogging.basicConfig(stream=sys.stderr)\n"
        "logging.getLogger('onnx_ir.serde').warning('asked for')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=space.folder, capture_output=True, text=True, check=True)
    assert done.stderr == "WARNING:onnx_ir.serde:asked for\n"


TOLD = """
import sys, time
from qdq_cli import main
from qdq_cli.screen import console
def tell(*_):
    print("told", flush=True)
    time.sleep(120)
console.error = tell
main.cli.main = lambda **_: (print("working", flush=True), time.sleep(120))
main.main(["inspect", "model.onnx"])
"""
"""A run that has hung up twice: in its work, and while it tells that it was interrupted."""

DROPPED = """
import os, signal, time
from qdq_cli import main
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
def work(**_):
    Dying()
    main_insist()
from qdq_cli.process.interrupts import insist as main_insist
main.cli.main = work
main.main(["inspect", "model.onnx"])
"""
"""An interrupt that arrives where Python cannot raise it."""


def test_however_often_it_is_interrupted_there_is_no_traceback(space: Workspace):
    running = subprocess.Popen(
        [sys.executable, "-c", TOLD], cwd=space.folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    for said in ("working", "told"):
        assert running.stdout.readline() == f"{said}\n"
        running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=PATIENCE_SECONDS) == ("", "")
    assert running.returncode == 130


def test_an_interrupt_that_python_drops_is_told_once(space: Workspace):
    done = subprocess.run(
        [sys.executable, "-c", DROPPED],
        cwd=space.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "error: Interrupted before the result was finished.\n")
