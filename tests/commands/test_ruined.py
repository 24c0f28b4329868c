"""Operators that INT8 ruins stay float: by what they do to their own results, alike on every machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibrators import encode_table, read_cache
from calibrators.excerpts import Excerpts
from tests.bodies import in_a_branch
from tests.networks import Network, spoiled_convnet
from tests.workspace import SIDE, Workspace, make_workspace, qdq

SAMPLES = 24


@pytest.fixture
def spoiled(tmp_path: Path) -> Workspace:
    space = make_workspace(tmp_path, spoiled_convnet(SIDE).proto("last"))
    images = np.random.default_rng(1).normal(size=(SAMPLES, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=images)
    return space


def quantized(space: Workspace, name: str, *options: object) -> tuple[bytes, dict]:
    output = space.folder / name
    done = qdq("quantize", space.model, "-o", output, "--json", *options)
    assert done.code == 0, done.err
    return output.read_bytes(), done.document


def test_it_stays_float_and_the_outputs_gain(spoiled: Workspace):
    _, default = quantized(spoiled, "a.onnx", "--calib", spoiled.arrays)
    _, everything = quantized(spoiled, "b.onnx", "--calib", spoiled.arrays, "--all-int8")
    (skip,) = [skip for skip in default["skips"] if skip["code"] == "RUINED"]
    assert skip["node"] == "deep"
    sqnr_db, _, rest = skip["reason"].partition(" dB by itself, ")
    assert float(sqnr_db) < 15
    assert rest == "1.0 % of the MACs (--all-int8)"
    assert all(found["code"] != "RUINED" for found in everything["skips"])
    gained = [report["verification"]["outputs"]["last"]["sqnr_db"] for report in (default, everything)]
    assert gained[0] > gained[1] + 10


def test_what_writes_the_codes_that_ruin_it_stays_float_too(spoiled: Workspace):
    """Where kernels write codes: left float alone, it would read what it cannot bear out of codes all the same."""
    options = ("--calib", spoiled.arrays, "--target", "onnxruntime", "--no-time")
    _, found = quantized(spoiled, "a.onnx", *options)
    why = {skip["node"]: skip["reason"] for skip in found["skips"] if skip["code"] == "RUINED"}
    assert why.keys() == {"deep", "point"}
    assert why["point"].startswith("its codes leave 'deep' ") and float(why["point"].split()[4]) < 15
    _, alone = quantized(spoiled, "b.onnx", *options, "--all-int8", "--exclude", "deep")
    gained = [report["verification"]["outputs"]["last"]["sqnr_db"] for report in (found, alone)]
    assert gained[0] > gained[1] + 10


def test_the_reason_stands_in_the_summary(spoiled: Workspace):
    done = qdq("quantize", spoiled.model, "--calib", spoiled.arrays, "-o", spoiled.folder / "a.onnx")
    assert "dB by itself, 1.0 % of the MACs (--all-int8)" in " ".join(done.out.split())


def test_a_cache_serves_alike_and_every_share_of_it(spoiled: Workspace):
    folder = spoiled.folder
    here, _ = quantized(spoiled, "here.onnx", "--calib", spoiled.arrays, "--verify", "0", "--cache", folder / "q.qcal")
    assert qdq("calibrate", spoiled.model, "--calib", spoiled.arrays, "-o", folder / "c.qcal").code == 0
    for number in (1, 2, 3):
        share = ("--shard", f"{number}/3", "-o", folder / f"{number}.qcal")
        assert qdq("calibrate", spoiled.model, "--calib", spoiled.arrays, *share).code == 0
    shares = [folder / f"{number}.qcal" for number in (2, 3, 1)]
    assert qdq("cache", "merge", *shares, "--model", spoiled.model, "-o", folder / "m.qcal").code == 0
    assert (folder / "q.qcal").read_bytes() == (folder / "c.qcal").read_bytes() == (folder / "m.qcal").read_bytes()
    assert qdq("cache", "check", spoiled.model, folder / "m.qcal").code == 0
    assert quantized(spoiled, "there.onnx", "--cache", folder / "m.qcal")[0] == here


def test_what_the_cache_exports_gives_the_same_ranges(spoiled: Workspace):
    cache, ranges = spoiled.folder / "model.qcal", spoiled.folder / "ranges.json"
    _, report = quantized(spoiled, "a.onnx", "--calib", spoiled.arrays, "--cache", cache, "--no-shift")
    assert qdq("cache", "export", cache, "--format", "json", "-o", ranges).code == 0
    _, again = quantized(spoiled, "b.onnx", "--ranges", ranges, "--exclude", "deep")
    assert again["amax"] == report["amax"]


def test_a_cache_without_pieces_says_what_it_lacks(spoiled: Workspace):
    cache = spoiled.folder / "old.qcal"
    quantized(spoiled, "a.onnx", "--calib", spoiled.arrays, "--cache", cache)
    table = read_cache(cache)
    for entry in table.entries.values():
        entry.histogram.excerpts = Excerpts()
    groupings = tuple(grouping.unjudged() for grouping in table.groupings)
    cache.write_bytes(encode_table(replace(table, groupings=groupings)))
    assert cache.read_bytes()[8] < 5
    _, report = quantized(spoiled, "b.onnx", "--cache", cache)
    assert all(skip["code"] != "RUINED" for skip in report["skips"])
    assert any("operators that INT8 ruins are not looked for" in note for note in report["notes"])


def test_a_range_by_hand_is_the_users_word(spoiled: Workspace):
    _, report = quantized(spoiled, "a.onnx", "--calib", spoiled.arrays, "--range", "point_swish=0.5")
    assert all(skip["code"] != "RUINED" for skip in report["skips"])


@pytest.mark.parametrize(("scales", "stays"), [((1.0, 1.0), False), ((1.0, 0.002), True)], ids=["even", "uneven"])
def test_last_results_stay_float_where_codes_are_too_coarse_for_a_channel(
    scales: tuple[float, float], stays: bool, tmp_path: Path
):
    net = Network()
    made = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 64, "first", scale=None))
    made = net.relu(net.conv(made, 64, "second", scale=None))
    weight = net.constant(net.weight(2, 64, 1, 1) * np.float32(scales).reshape(2, 1, 1, 1))
    net.op("Conv", made, weight, name="last")
    space = make_workspace(tmp_path, net.proto("last"))
    images = np.random.default_rng(1).normal(size=(SAMPLES, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=images)
    options = ("--calib", space.arrays, "--target", "onnxruntime", "--no-time")
    _, document = quantized(space, "a.onnx", *options)
    found = [(skip["node"], skip["code"]) for skip in document["skips"]]
    assert found == ([("last", "RUINED")] if stays else [])
    if stays:
        assert "dB in the codes of its result, " in document["skips"][0]["reason"]
        assert not quantized(space, "b.onnx", *options, "--all-int8")[1]["skips"]


@pytest.fixture
def in_body(tmp_path: Path) -> Workspace:
    space = make_workspace(tmp_path, in_a_branch(spoiled_convnet(SIDE).proto("last")))
    images = np.random.default_rng(1).normal(size=(SAMPLES, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=images, taken=np.ones(SAMPLES, bool))
    return space


def test_it_stays_float_in_a_body_too(in_body: Workspace):
    test = in_body.folder / "alone"
    test.mkdir()
    alone = make_workspace(test, spoiled_convnet(SIDE).proto("last"))
    np.savez(alone.arrays, images=np.load(in_body.arrays)["images"])
    _, wanted = quantized(alone, "a.onnx", "--calib", alone.arrays)
    _, found = quantized(in_body, "a.onnx", "--calib", in_body.arrays)
    _, everything = quantized(in_body, "b.onnx", "--calib", in_body.arrays, "--all-int8")
    (skip,) = [skip for skip in found["skips"] if skip["code"] == "RUINED"]
    assert skip["node"] == "deep"
    assert skip["reason"].endswith(" dB by itself, 1.0 % of the MACs of its body (--all-int8)")
    assert [group["judged"] for group in found["groups"]] == [group["judged"] for group in wanted["groups"]]
    gained = [report["verification"]["outputs"]["chosen"]["sqnr_db"] for report in (found, everything)]
    assert gained[0] > gained[1] + 10


def test_pieces_of_bodies_lie_in_caches(in_body: Workspace):
    test_a_cache_serves_alike_and_every_share_of_it(in_body)
