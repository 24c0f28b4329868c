"""Calibration on a Dask cluster of processes on the loopback address; one of the workers dies in the middle."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qdq_cli.config.calibrate import Shard
from tests.workspace import (
    PATIENCE_SECONDS,
    Outcome,
    Workspace,
    environment,
    make_workspace,
    process,
    qdq,
    write_arrays,
)

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed")

DIES_IN_ITS_SECOND_TASK = """
import os, signal, threading
from distributed import WorkerPlugin

class Dies(WorkerPlugin):
    tasks = 0
    def transition(self, key, start, finish, **kwargs):
        self.tasks += finish == "executing"
        if self.tasks == 2 and finish == "executing":
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()

async def dask_setup(worker):
    await worker.plugin_add(plugin=Dies(), name="dies")
"""

GOES_ON_UNTIL_DONE = """
import sys
from pathlib import Path
from qdq_cli.calibrating.calibrate import calibrate_model
from qdq_cli.config.calibrate import CalibrateConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.process.errors import DataError, InterruptedRunError

model, arrays, output, scheduler = sys.argv[1:]
for turn in range(60):
    asked = iter(range(3 + turn))
    more = Path(output).exists()
    config = CalibrateConfig(Path(model), Path(output), DataConfig((Path(arrays),)), append=more, dask=scheduler)
    try:
        report = calibrate_model(config, stop=lambda: next(asked, None) is None)
    except InterruptedRunError:
        continue
    print(report.samples.cache, report.interrupted)
    if not report.interrupted:
        break
"""


@dataclass
class Cluster:
    """A scheduler and its workers; all are killed in the end."""

    folder: Path
    processes: list[subprocess.Popen[bytes]]

    @property
    def scheduler(self) -> Path:
        return self.folder / "scheduler.json"

    def start(self, program: str, *options: object) -> subprocess.Popen[bytes]:
        log = self.folder / f"{len(self.processes)}.log"
        line = [sys.executable, "-m", f"distributed.cli.{program}", *map(str, options)]
        line += ["--scheduler-file", str(self.scheduler), "--host", "127.0.0.1", "--no-dashboard"]
        settings = environment(OMP_NUM_THREADS="1")
        with log.open("wb") as file:
            self.processes.append(subprocess.Popen(line, cwd=self.folder, env=settings, stdout=file, stderr=file))
        self.await_text(log, "Scheduler at" if program == "dask_scheduler" else "Registered to")
        return self.processes[-1]

    def worker(self, *options: object) -> subprocess.Popen[bytes]:
        return self.start("dask_worker", "--nthreads", 1, "--no-nanny", *options)

    def await_text(self, log: Path, text: str) -> None:
        for _ in range(10 * PATIENCE_SECONDS):
            if text in log.read_text(encoding="utf-8", errors="replace"):
                return
            time.sleep(0.1)
        pytest.fail(log.read_text(encoding="utf-8", errors="replace"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with one worker."""
    found = Cluster(tmp_path_factory.mktemp("cluster"), [])
    try:
        found.start("dask_scheduler", "--port", 0)
        found.worker()
        yield found
    finally:
        for each in found.processes:
            each.kill()
            each.wait()


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model and its calibration cache, made in this process."""
    space = make_workspace(tmp_path_factory.mktemp("space"))
    assert qdq("calibrate", space.model, "--calib", space.arrays).code == 0
    return space


def calibrate(space: Workspace, cluster: Cluster, *options: object) -> Outcome:
    done = process(
        "calibrate", "model.onnx", "--calib", "arrays.npz", "--dask", cluster.scheduler, *options, cwd=space.folder
    )
    assert done.code == 0, done.err
    return done


@contextlib.contextmanager
def stopped_until_death(worker: subprocess.Popen[bytes], dying: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a worker until another one is dead: on a busy machine it might be done before that one has had two tasks."""

    def go_on_then() -> None:
        try:
            dying.wait(PATIENCE_SECONDS)
        finally:
            worker.send_signal(signal.SIGCONT)

    worker.send_signal(signal.SIGSTOP)
    watch = threading.Thread(target=go_on_then)
    watch.start()
    yield
    watch.join()


@needs_dask
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_worker_that_dies_changes_nothing(space: Workspace, cluster: Cluster):
    preload = cluster.folder / "dies.py"
    preload.write_text(DIES_IN_ITS_SECOND_TASK)
    dying = cluster.worker("--preload", preload)
    with stopped_until_death(cluster.processes[1], dying):
        done = calibrate(space, cluster, "-o", "dask.qcal", "--json")
    assert dying.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert done.document["samples"]["new"] == 10
    assert (space.folder / "dask.qcal").read_bytes() == (space.folder / "model.qcal").read_bytes()


@needs_dask
def test_shares_and_appending_on_a_cluster(space: Workspace, cluster: Cluster):
    calibrate(space, cluster, "-o", "grown.qcal", "--shard", "2/3")
    done = calibrate(space, cluster, "-o", "grown.qcal", "--append", "--json")
    assert done.document["samples"] == {"cache": 10, "new": 7, "known": 3, "left": 0}
    assert (space.folder / "grown.qcal").read_bytes() == (space.folder / "model.qcal").read_bytes()


@needs_dask
def test_an_interrupted_run_on_a_cluster_goes_on(space: Workspace, cluster: Cluster):
    many = write_arrays(space.folder / "many.npz", 1200)
    assert qdq("calibrate", space.model, "--calib", many, "-o", space.folder / "many.qcal").code == 0
    output = space.folder / "interrupted.qcal"
    line = [sys.executable, "-c", GOES_ON_UNTIL_DONE, *map(str, (space.model, many, output, cluster.scheduler))]
    done = subprocess.run(
        line, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    turns = done.stdout.splitlines()
    assert turns[-1] == "1200 False"
    assert len(turns) > 1, "it was never interrupted with something to keep"
    assert output.read_bytes() == (space.folder / "many.qcal").read_bytes()


@needs_dask
def test_what_a_worker_refuses_is_said_here(space: Workspace, cluster: Cluster):
    line = ("calibrate", "model.onnx", "--calib", "missing", "--dask", cluster.scheduler, "-o", "a.qcal")
    done = process(*line, cwd=space.folder)
    assert (done.code, done.out) == (4, "")
    assert "missing' does not exist." in done.err
    assert "Traceback" not in done.err
    assert not (space.folder / "a.qcal").exists()


@needs_dask
def test_no_scheduler_answers(space: Workspace):
    settings = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    line = ("calibrate", "model.onnx", "--calib", "arrays.npz", "--dask", "tcp://127.0.0.1:9", "-o", "a.qcal")
    done = process(*line, cwd=space.folder, **settings)
    assert (done.code, done.out) == (2, "")
    assert "No Dask scheduler answers at 'tcp://127.0.0.1:9'." in done.err
    assert "Traceback" not in done.err


def test_without_dask(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = qdq("calibrate", space.model, "--calib", space.arrays, "--dask", "tcp://127.0.0.1:9", "-o", os.devnull + "x")
    assert done.code == 2
    assert "pip install 'distributed>" in done.err


def test_a_scheduler_file_that_is_missing(space: Workspace):
    done = qdq("calibrate", space.model, "--calib", space.arrays, "--dask", space.folder / "none.json")
    assert done.code == 2
    assert "none.json" in done.err


def test_a_share_of_a_share_is_a_share():
    from qdq_cli.calibrating.cluster import part_of

    runs = list(range(100))
    outer = Shard(2, 3)
    found = []
    for number in range(1, 5):
        part = part_of(outer, Shard(number, 4))
        found += runs[part.number - 1 :: part.total]
    assert sorted(found) == runs[outer.number - 1 :: outer.total]
