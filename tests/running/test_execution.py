"""What models run with: said once at the entrance of a command, true for every session in it."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

import pytest

import qdq_cli
from qdq_cli.config.data import DataConfig
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.process.errors import UsageError
from qdq_cli.running.execution import current, executing, runs_as_told
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source, cores
from qdq_cli.screen import stages
from tests.calls.tensors import SAMPLES, convnet
from tests.workspace import make_workspace, qdq


@dataclass(frozen=True)
class Config:
    data: DataConfig = field(default_factory=DataConfig)


def test_threads_are_those_that_were_asked_for_until_the_end_of_the_block():
    before = cores()
    with executing(ExecutionConfig(threads=before + 2)):
        assert cores() == before + 2
        with executing(ExecutionConfig()):
            assert cores() == before
        assert cores() == before + 2
    assert cores() == before


def test_a_session_has_that_many_threads():
    source = Source(convnet().SerializeToString())
    with executing(ExecutionConfig(threads=3)):
        assert Runner(source)._session.get_session_options().intra_op_num_threads == 3


def test_a_command_says_it_for_whatever_it_calls():
    seen = []

    @runs_as_told
    def command(config: Config, word: str) -> None:
        seen.append((current().threads, word))
        raise UsageError("No.")

    with pytest.raises(UsageError):
        command(Config(DataConfig(execution=ExecutionConfig(threads=5))), "once")
    assert seen == [(5, "once")]
    assert current().threads is None, "a command that fails leaves nothing behind"


def test_other_threads_of_a_program_have_their_own():
    seen = []
    with executing(ExecutionConfig(threads=7)):
        other = threading.Thread(target=lambda: seen.append(current().threads))
        other.start()
        other.join()
    assert seen == [None]


def test_the_number_of_threads_changes_no_byte():
    models = [
        qdq_cli.quantize(convnet(), SAMPLES[:8], verify=2, threads=number).model.SerializeToString()
        for number in (1, 3)
    ]
    assert models[0] == models[1]


def test_the_option_is_checked(tmp_path):
    space = make_workspace(tmp_path)
    done = qdq("quantize", str(space.model), "--calib", str(space.images), "--threads", "0")
    assert done.code == 2
    assert "--threads" in done.err


@pytest.mark.parametrize(
    "command", ["quantize", "calibrate", "compare", "convert", "migrate", "sensitivity", "tune", "fix"]
)
def test_every_command_that_runs_models_takes_it(command):
    assert "--threads" in qdq(command, "--help").out


def test_how_it_was_done_is_shown_to_who_asks(tmp_path):
    space = make_workspace(tmp_path)
    told = space.quantize("-v")
    assert "on 1 thread by cpu" in " ".join(space.quantize("-v", "--threads", "1").err.split())
    assert "detail: observed" in told.err
    assert "detail:" not in space.quantize().err
    assert "observed" not in told.out


def test_what_each_stage_took_is_shown_to_who_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_LEAST_SECONDS", 0.0)  # on a fast machine no stage takes as long as what is told
    space = make_workspace(tmp_path)
    told = space.quantize("-v", "--verify", "1").err
    assert re.search(r"detail: observe took [\d.]+ s, of it [\d.]+ s making \d sessions", told)
    assert re.search(r"detail: verify took [\d.]+ s, of it [\d.]+ s making 3 sessions", told)
    assert "since " in " ".join(told.split()).partition("observed")[2]
    for command in (("inspect",), ("fix", "-o", str(tmp_path / "fixed.onnx"))):
        assert "detail: " in qdq(command[0], str(space.output), "-v", *command[1:]).err
        assert "detail: " not in qdq(command[0], str(space.output), *command[1:]).err
