"""What a killed process leaves is removed by the next; what a living one works in stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from calibrators import CalibrationTable, Provenance, read_cache, write_cache
from calibrators.cache_file import write_atomically
from calibrators.leftovers import remove_abandoned, working_folder
from tests.forks import forked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")


def killed_in(work: Callable[[], object]) -> None:
    """Do something that kills its process, in one of its own."""
    assert os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1]) == -signal.SIGKILL


def test_a_folder_is_gone_at_the_end(tmp_path: Path):
    with working_folder(tmp_path, ".a-", ".tmp") as folder:
        (folder / "x").write_text("x")
        assert folder.parent == tmp_path
    with pytest.raises(KeyError), working_folder(tmp_path, ".a-", ".tmp"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_left_is_removed_and_nothing_else(tmp_path: Path):
    def work() -> None:
        with working_folder(tmp_path, ".a-", ".tmp") as folder:
            (folder / "x").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)

    killed_in(work)
    (dead,) = tmp_path.iterdir()
    (tmp_path / ".b-1.tmp").mkdir()
    (tmp_path / ".a-1.tmp").write_text("a file")
    (tmp_path / "far").mkdir()
    (tmp_path / ".a-2.tmp").symlink_to("far")
    seen: list[Path] = []
    with working_folder(tmp_path, ".a-", ".tmp") as living:
        remove_abandoned(tmp_path, ".a-", ".tmp", seen.append)
        assert living.exists()
    assert seen == [dead]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a-1.tmp", ".a-2.tmp", ".b-1.tmp", "far"]


def test_a_file_that_was_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "a.qcal"

    def work() -> None:
        os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
        write_atomically(target, b"new")

    target.write_bytes(b"old")
    killed_in(work)
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    write_atomically(tmp_path / "b.qcal", b"another")
    assert len(list(tmp_path.iterdir())) == 3  # the leftover may be taken up by its own target only
    write_cache(CalibrationTable(Provenance("m", "p"), {}), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.qcal", "b.qcal"]
    assert read_cache(target).provenance.model == "m"


def test_a_folder_without_locks_is_taken_for_living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".a-1.tmp").mkdir()

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with working_folder(tmp_path, ".a-", ".tmp") as folder:
        remove_abandoned(tmp_path, ".a-", ".tmp")
        assert folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".a-1.tmp"]
