"""Temporary folders: gone at the end, and removed by the next run where a process was killed."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from qdq_cli.process.scratch import scratch_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "qdq-of-somebody.tmp").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests have started
        child = os.fork()
    if not child:
        try:
            with scratch_folder() as folder:
                (folder / "model.onnx").write_text("weights")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    (dead,) = tmp_path.glob("qdq-scratch-*")
    assert (dead / "model.onnx").exists()
    with scratch_folder() as one, scratch_folder() as other:
        assert one != other
        assert sorted(tmp_path.iterdir()) == sorted([one, other, tmp_path / "qdq-of-somebody.tmp"])
    assert list(tmp_path.iterdir()) == [tmp_path / "qdq-of-somebody.tmp"]
