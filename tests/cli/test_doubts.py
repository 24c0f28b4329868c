"""Calibration data that looks unfit: a warning that -q does not hide, and with --strict an error, in every command."""

from __future__ import annotations

import pytest

from tests.cli.test_bad_input import checked
from tests.workspace import Workspace, qdq

COMMANDS = ("quantize", "calibrate", "tune", "sensitivity")
"""Those that calibrate; compare runs samples too, and no result depends on them."""


def options(command: str) -> list[str]:
    return ["--min-sqnr", "-100"] if command == "tune" else []


@pytest.mark.parametrize("command", COMMANDS)
def test_few_samples(command: str, space: Workspace):
    given = [command, space.model, "--calib", space.arrays, "--samples", "4", *options(command)]
    done = qdq(*given, "-q")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "warning: Only 4 samples calibrate the model: the ranges of so few may not fit other data. "
        "Give 8 or more; some hundred are usual.\n"
    )
    assert any("Only 4 samples calibrate" in note for note in qdq(*given, "--json").document["notes"])
    for path in space.folder.glob("model.*[!x]"):
        path.unlink()
    text = checked(qdq(*given, "--strict"), 4, space, space.listing())
    assert "Only 4 samples calibrate" in text
    assert "--strict refuses such data" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_preprocessing_that_nobody_chose(command: str, space: Workspace):
    given = [command, space.model, "--calib", space.images, *options(command)]
    done = qdq(*given, "-q")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("warning: No preprocessing was chosen; assumed imagenet")
    text = checked(qdq(*given, "--strict"), 4, space, space.listing())
    assert "No preprocessing was chosen" in text
    assert qdq(*given, "--preprocess", "imagenet", "--strict", "-q").err == ""


def test_samples_that_add_to_a_cache_count_once_and_with_those_in_it(space: Workspace):
    given = ["calibrate", space.model, "--calib", space.arrays, "-o", space.folder / "a.qcal", "-q"]
    assert "Only 3 samples" in qdq(*given, "--samples", "3").err
    assert "Only 6 samples" in qdq(*given, "--samples", "5", "--append").err
    assert qdq(*given, "--append").err == ""


def test_samples_that_only_verify_are_not_counted(space: Workspace):
    cache = space.folder / "a.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache).code == 0
    assert space.quantize("--cache", cache, "--samples", "4", "--strict").err == ""


def test_shares_count_together(space: Workspace):
    given = ["calibrate", space.model, "--calib", space.arrays, "--shard", "1/3", "--strict"]
    assert qdq(*given).err == ""
