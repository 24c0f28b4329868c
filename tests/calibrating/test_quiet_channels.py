"""Nearly dead channels that no proof bounds: larger by what calibration saw, and float results keep every bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import qdq_cli.calibrating.quiet_channels as quiet
from calibrators import Histogram, Range
from calibrators.excerpts import Excerpts
from qdq_cli.calibrating.calibration import groups_to_observe
from qdq_cli.calibrating.quiet_channels import Enlarged, with_quiet_enlarged
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.model.provenance import SPREAD
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.bodies import in_a_branch
from tests.dead_channels import CHANNELS, DEAD, inputs, network, quantized_db
from tests.networks import run
from tests.workspace import make_workspace

QUIET = 0.1


def seen(values: np.ndarray, pieces: int = quiet.LEAST_PIECES) -> Histogram:
    """A histogram of a tensor [1, C, 8, 8], and that many pieces of it."""
    histogram = Histogram()
    histogram.observe(values)
    for key in range(pieces):
        histogram.excerpts.add(key, values)
    return histogram


def activations() -> np.ndarray:
    """Channels up to 6, and three that stay between 0.05 and 0.1."""
    values = np.random.default_rng(0).uniform(0, 6, (1, CHANNELS, 8, 8)).astype(np.float32)
    values[:, DEAD] = np.random.default_rng(1).uniform(QUIET / 2, QUIET, (1, len(DEAD), 8, 8))
    return values


def enlarged(activation: str, histogram: Histogram, ranges: RangeConfig | None = None) -> tuple[ir.Model, Enlarged]:
    """The prepared network that nothing bounds, and what becomes of it."""
    model = prepare(ir.from_proto(network(activation, bounded=False).proto("y"))).model
    plan = make_plan(model, TENSORRT)
    tensor = "clipped" if activation else "made"
    groups = groups_to_observe(plan, ranges or RangeConfig())
    return model, with_quiet_enlarged(model, plan, {tensor: histogram}, groups)


@pytest.mark.parametrize("activation", ["Relu", ""])
def test_quiet_channels_are_made_larger_and_no_bit_changes_for_any_input(activation: str):
    model, found = enlarged(activation, seen(activations()))
    assert (found.channels, found.operators, found.model.metadata_props[SPREAD]) == (len(DEAD), ("y",), "y")
    before, after = (each.graph.initializers["w"].const_value.numpy() for each in (model, found.model))
    factors = (after / before).reshape(CHANNELS, -1)[:, 0]
    assert np.flatnonzero(factors > 1).tolist() == DEAD
    assert set(factors[DEAD]) == {16.0}  # 6 / (2 * 0.1) is 30
    for scale in (1e-3, 1.0, 1e30):
        feed = {"x": inputs()["x"] * np.float32(scale)}
        np.testing.assert_array_equal(run(found.model, feed)[0], run(model, feed)[0])


def test_what_was_seen_is_as_if_of_the_new_model():
    histogram = seen(activations())
    _, found = enlarged("Relu", histogram)
    before, after = histogram.excerpts.pieces[0], found.histograms["clipped"].excerpts.pieces[0]
    np.testing.assert_array_equal(after[:, DEAD], 16 * before[:, DEAD])
    np.testing.assert_array_equal(np.delete(after, DEAD, 1), np.delete(before, DEAD, 1))
    assert found.histograms["clipped"].amax == histogram.amax


@pytest.mark.parametrize("case", ["rare", "few samples", "given range", "dead"])
def test_channels_that_may_be_large_elsewhere_stay(case: str):
    values = activations()
    if case == "rare":  # finds something in one place of sixty-four
        values[:, DEAD] = 0
        values[:, DEAD, 3, 3] = QUIET
    if case == "dead":
        values[:, DEAD] = 0
    histogram = seen(values, 7 if case == "few samples" else quiet.LEAST_PIECES)
    given = RangeConfig(manual={"clipped": Range.symmetric(6.0)}) if case == "given range" else None
    model, found = enlarged("Relu", histogram, given)
    assert found.channels == 0
    assert found.model is model


def test_pieces_of_another_shape_are_left_as_they_are():
    excerpts = Excerpts()
    excerpts.add(1, np.ones((1, 3, 2), np.float32))
    excerpts.add(2, np.ones((1, 2, 2), np.float32))
    pieces = excerpts.scaled(np.array([1.0, 2.0, 4.0])).pieces
    assert [piece.tolist() for piece in pieces] == [[[[1, 1], [2, 2], [4, 4]]], [[[1, 1], [1, 1]]]]


@pytest.mark.parametrize("activation", ["Clip", "Relu", ""])
def test_a_quantized_network_that_nothing_bounds_gains_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, activation: str
):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    gained, said = quantized_db(tmp_path / "with", network(activation, bounded=False))
    monkeypatch.setattr(quiet, "LEAST_PIECES", 1000)
    plain, _ = quantized_db(tmp_path / "without", network(activation, bounded=False))
    assert gained > plain + 12
    assert "has nearly dead channels made larger, in front of y" in " ".join(said.split())


def test_those_in_a_body_are_made_larger_too(tmp_path: Path):
    space = make_workspace(tmp_path, in_a_branch(network("Relu", bounded=False).proto("y")))
    values = np.abs(np.random.default_rng(2).normal(size=(24, 8, 12, 12))).astype(np.float32)
    np.savez(space.arrays, x=values[:, None].repeat(2, 1), taken=np.ones(24, bool))
    done = space.quantize("--json")
    assert done.code == 0, done.err
    assert any("3 made larger by powers of two (y)" in note for note in done.document["notes"]), done.document["notes"]
    (tmp_path / "alone").mkdir()
    wanted, _ = quantized_db(tmp_path / "alone", network("Relu", bounded=False))
    assert done.document["verification"]["outputs"]["chosen"]["sqnr_db"] == pytest.approx(wanted, abs=1.0)


def own_db(proto: onnx.ModelProto, x: np.ndarray, amax: float) -> float:
    """The SQNR of the depthwise operator `y` alone, without padding, channels counted alike, in plain NumPy."""
    held = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in proto.graph.initializer}
    made = np.einsum("oi,nihw->nohw", held["w"][:, :, 0, 0], x) + held["b"][None, :, None, None]
    made = np.maximum(made, 0)
    weight, scale = held["d"][:, 0], np.abs(held["d"][:, 0]).max((1, 2), keepdims=True) / 127
    rounded = np.clip(np.rint(made / (amax / 127)), -128, 127) * (amax / 127)

    def results(data: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(data, (3, 3), (2, 3))
        return np.einsum("nchwij,cij->cnhw", windows, kernel) + held["e"][:, None, None, None]

    wanted, found = results(made, weight), results(rounded, np.rint(weight / scale) * scale)
    ratio = np.minimum(((found - wanted) ** 2).sum((1, 2, 3)) / (wanted**2).sum((1, 2, 3)), 1)
    return float(-10 * np.log10(ratio.mean()))


@pytest.mark.parametrize("case", ["seen", "proven", "constant"])
def test_what_it_gained_is_told_in_decibels(case: str, tmp_path: Path):
    bounded = case != "seen"
    net = network("Clip" if bounded else "Relu", bounded=bounded, jitter=0.0 if case == "constant" else 0.02, pad=0)
    space = make_workspace(tmp_path, net.proto("y"))
    values = np.abs(np.random.default_rng(2).normal(size=(24, 8, 12, 12))).astype(np.float32)
    np.savez(space.arrays, x=values[:, None].repeat(2, 1))
    document = space.quantize("--json", "--no-shift").document
    (gain,) = document["spread"]
    assert (gain["operator"], gain["enlarged"], gain["folded"]) == (
        "y",
        3 * (case != "constant"),
        3 * (case == "constant"),
    )
    (number,) = [k for k, group in enumerate(document["groups"]) if "clipped" in group["tensors"]]
    assert gain["before_db"] == pytest.approx(own_db(net.proto("y"), values, document["amax"][number]), abs=1.0)
    assert gain["after_db"] > gain["before_db"] + 8
    told = " ".join(space.quantize("--no-shift").out.split())
    assert f"{gain['before_db']:.1f} dB by itself before, {gain['after_db']:.1f} dB now" in told
