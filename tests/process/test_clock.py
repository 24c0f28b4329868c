"""The tally of stages: what `-v` tells."""

from __future__ import annotations

import pytest

from qdq_cli.process import clock
from qdq_cli.process.clock import Clock, Part, part, tallying
from qdq_cli.screen.stages import stage_lines


class Steady:
    """Stands where the clock has the `time` module: every look at it is a second later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "time", Steady())


def test_all_clocks_of_a_command_add_to_one_tally():
    first, second = Clock(), Clock()
    with tallying() as tally:
        for each in (first, second, first):
            with each.stage("plan"):
                pass
    assert (first.seconds(), second.seconds()) == ({"plan": 2.0}, {"plan": 1.0})
    assert list(stage_lines(tally)) == ["plan took 3.00 s"]


def test_parts_belong_to_the_stage_that_runs():
    own = Clock()
    with tallying() as tally:
        with part("session"):  # of no stage
            pass
        with own.stage("observe"):
            for _ in range(2):
                with part("session"):
                    pass
            with own.stage("choose"), part("session"):
                pass
            with part("session"):
                pass
    assert tally.parts == {"observe": {"session": Part(3, 3.0)}, "choose": {"session": Part(1, 1.0)}}
    observed, chosen = stage_lines(tally)
    assert "of it 3.00 s making 3 sessions" in observed
    assert "of it 1.00 s making 1 session" in chosen


def test_what_fails_is_counted_as_far_as_it_came():
    with tallying() as tally, pytest.raises(ValueError, match="no"), Clock().stage("load"), part("session"):
        raise ValueError("no")
    assert (tally.seconds, tally.parts) == ({"load": 3.0}, {"load": {"session": Part(1, 1.0)}})


def test_nobody_asks():
    own = Clock()
    with own.stage("load"), part("session"):
        pass
    assert own.seconds() == {"load": 1.0}


def test_what_took_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clock.time, "perf_counter", lambda: 1.0)
    with tallying() as tally:
        for name in ("time", "observe"):
            with Clock().stage(name):
                if name == "observe":
                    with part("session"):
                        pass
    assert list(stage_lines(tally)) == ["observe took 0.00 s, of it 0.00 s making 1 session"]
