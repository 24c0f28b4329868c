"""Calibration caches made by earlier releases still fit the models they were made for, and give the same ranges.

A file in tests/old_caches is never written again; a release that changes what is in a cache adds one. If a test here
fails, caches that people have checked in would fail as well.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from calibrators import Method, choose_range, read_cache
from tests.workspace import REPOSITORY, SAMPLES, qdq

OLD = sorted((REPOSITORY / "tests" / "old_caches").glob("*.qcal"))
AMAX = {
    "0.1.0-digits_gru.qcal": 7.8423,
    "0.1.0-digits_resnet.qcal": 87.9866,
    "0.1.0.keys2-digits_resnet.qcal": 108.2028,  # samples have keys of format 2
    "0.1.0-digits_vit.qcal": 34.7589,
}
"""File -> the sum of all ranges by minmax, rounded."""


def model_of(cache: Path) -> Path:
    return SAMPLES / f"{cache.stem.partition('-')[2]}.onnx"


@pytest.mark.parametrize("cache", OLD, ids=lambda path: path.stem)
def test_an_old_cache_serves_its_model(cache: Path, tmp_path: Path):
    done = qdq("cache", "check", model_of(cache), cache, "--json")
    assert done.code == 0, done.err
    assert (done.document["same_model"], done.document["renamed"], done.document["spare"]) == (True, {}, 0)
    done = qdq("quantize", model_of(cache), "--cache", cache, "-o", tmp_path / "model.onnx", "--json")
    assert done.code == 0, done.err
    assert done.document["calibration"]["from_cache"] is True


def test_nothing_is_added_to_a_cache_whose_samples_are_known_by_name(tmp_path: Path):
    """They cannot be told from new ones, and would count twice."""
    cache = next(path for path in OLD if path.name == "0.1.0-digits_resnet.qcal")
    own = tmp_path / "own.qcal"
    shutil.copy(cache, own)
    data = ("--calib", SAMPLES / "images" / "digits", "--preprocess", "unit")
    done = qdq("calibrate", model_of(cache), *data, "-o", own, "--append")
    assert done.code == 4
    assert "differ in versions" in done.err
    assert own.read_bytes() == cache.read_bytes()


@pytest.mark.parametrize("cache", OLD, ids=lambda path: path.stem)
def test_an_old_cache_holds_what_it_held(cache: Path):
    entries = read_cache(cache).entries.values()
    total = sum(choose_range(entry.histogram, Method("minmax")).amax for entry in entries)
    assert round(total, 4) == AMAX[cache.name]
