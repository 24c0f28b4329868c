"""Loops that tell the stage they are part of how far they are."""

from __future__ import annotations

from qdq_cli.process.progress import counted, each, stepping, telling
from tests.listeners import Ear


def test_a_loop_tells_its_stage():
    ear = Ear()
    with telling(ear, "saving"):
        assert list(each("abc")) == ["a", "b", "c"]
        assert list(each("")) == []
    assert ear.stages == [("saving", 3)], "nothing to do is no stage"
    assert ear.progress_told == [(1, 3), (2, 3), (3, 3)]


def test_a_loop_within_one_that_tells_is_part_of_it():
    ear = Ear()
    with telling(ear, "saving"):
        for _ in each("ab"):
            list(each("xyz"))
        list(each("c"))
    assert ear.stages == [("saving", 2), ("saving", 1)]
    assert ear.progress_told == [(1, 2), (2, 2), (1, 1)]


def test_outside_of_stages_nobody_is_told():
    ear = Ear()
    with telling(ear, "saving"):
        pass
    assert list(each("ab")) == ["a", "b"]
    with counted(2) as advance:
        advance(1, 2)
    assert ear.stages == []


def test_a_loop_that_is_left_early_ends_its_display():
    ear = Ear()
    with telling(ear, "saving"):
        for item in each("abc"):
            if item == "b":
                break
        list(each("z"))
    assert ear.stages == [("saving", 3), ("saving", 1)]
    assert ear.progress_told == [(1, 3), (1, 1)]


def test_steps_of_different_kinds_are_told_one_by_one():
    ear = Ear()
    with telling(ear, "preparing"), stepping(2) as step:
        list(each("ab"))  # part of a step
        step()
        step()
    assert ear.stages == [("preparing", 2)]
    assert ear.progress_told == [(1, 2), (2, 2)]
