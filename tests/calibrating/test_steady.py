"""Channels that hardly move: what rounding does to them goes into biases, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from calibrators import Histogram, Range
from calibrators.excerpts import Excerpts
from qdq_cli.calibrating.steady import LEAST_PIECES, Steady, steady_biases
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.workspace import make_workspace, qdq

CHANNELS = 16
STILL = [2, 5, 11]
LEVEL = 4.97
"""Far from a code, where the step is that of a tensor up to 6."""


def constants(net: Network, weight: np.ndarray, name: str, bias: np.ndarray, other: str) -> tuple[str, str]:
    return net.constant(weight.astype(np.float32), name), net.constant(bias.astype(np.float32), other)


def network(jitter: float = 0.001) -> Network:
    """A convolution whose channels STILL stay near a level, and a depthwise one that amplifies these."""
    rng, net = np.random.default_rng(0), Network()
    x = net.input("x", ("N", 8, 12, 12))
    weight, bias = rng.normal(size=(CHANNELS, 8, 1, 1)) / 2, rng.normal(size=CHANNELS) / 4
    weight[STILL] *= jitter
    bias[STILL] = LEVEL
    made = net.op("Conv", x, *constants(net, weight, "w", bias, "b"), name="made")
    read = rng.normal(size=(CHANNELS, 1, 3, 3)) / 2
    read[STILL] *= 30
    offset = -LEVEL * read.sum((1, 2, 3)) * np.isin(np.arange(CHANNELS), STILL)
    net.op("Conv", net.relu6(made, "t"), *constants(net, read, "d", offset, "e"), name="y", group=CHANNELS)
    return net


def found(histogram: Histogram, net: Network | None = None) -> Steady:
    model = prepare((net or network()).model("y")).model
    plan = make_plan(model, TENSORRT)
    assert [target.tensor for target in plan.targets] == ["x", "t"]
    return steady_biases(model, plan, {"t": histogram}, [Range.symmetric(3.0), Range.symmetric(6.0)])


def seen(values: np.ndarray, pieces: int = LEAST_PIECES) -> Histogram:
    histogram = Histogram()
    histogram.observe(values)
    for key in range(pieces):
        histogram.excerpts.add(key, values)
    return histogram


def activations(jitter: float = 0.001) -> np.ndarray:
    rng = np.random.default_rng(1)
    values = rng.uniform(0, 6, (1, CHANNELS, 10, 10)).astype(np.float32)
    values[:, STILL] = LEVEL + rng.normal(size=(1, len(STILL), 10, 10)) * jitter
    return values


def test_the_bias_takes_out_exactly_what_rounding_adds():
    steady = found(seen(activations()))
    (gain,) = steady.gains
    assert gain.operator == "y" and gain.after_db > gain.before_db + 10
    step, net = 6.0 / 127, network()
    weight = np.asarray(ir.from_proto(net.proto("y")).graph.initializers["d"].const_value.numpy(), np.float64)
    scale = np.abs(weight).max((1, 2, 3), keepdims=True) / 127
    rounded = np.clip(np.rint(weight / scale), -128, 127) * scale
    code = np.rint(LEVEL / step) * step
    wanted = code * rounded.sum((1, 2, 3)) - LEVEL * weight.sum((1, 2, 3))
    before = ir.from_proto(net.proto("y")).graph.initializers["e"].const_value.numpy()
    np.testing.assert_allclose(before[STILL] - steady.biases["y"][STILL], wanted[STILL], atol=0.05)
    others = np.setdiff1d(np.arange(CHANNELS), STILL)
    np.testing.assert_array_equal(steady.biases["y"][others], before[others])


def test_channels_that_move_keep_their_bias():
    assert not found(seen(activations(jitter=1.0))).biases


def test_too_few_samples_tell_nothing():
    assert not found(seen(activations(), LEAST_PIECES - 1)).biases
    lone = seen(activations())
    lone.excerpts = Excerpts()
    assert not found(lone).biases


def test_a_bias_that_is_computed_is_left_alone():
    net = Network()
    x = net.input("x", ("N", CHANNELS, 10, 10))
    bias = net.op("ReduceMean", x, name="bias", axes=[0, 2, 3], keepdims=0)
    first = net.relu(net.conv(x, CHANNELS, "first", kernel=1, scale=None), "t")
    net.op("Conv", first, net.constant(np.ones((CHANNELS, 1, 3, 3), np.float32)), bias, name="y", group=CHANNELS)
    assert not found(seen(activations()), net).biases


@pytest.fixture
def arrays() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(40, 8, 12, 12)).astype(np.float32)


def test_quantize_makes_up_for_them_and_says_so(tmp_path: Path, arrays: np.ndarray):
    space = make_workspace(tmp_path, network().proto("y"))
    np.savez(space.arrays, x=arrays)
    cache = tmp_path / "model.qcal"
    done, without = space.quantize("--json", "--cache", cache), space.quantize("--json", "--no-shift")
    first = done.document["verification"]["outputs"]["y"]["sqnr_db"]
    assert first > without.document["verification"]["outputs"]["y"]["sqnr_db"] + 10
    (gain,) = done.document["steady"]
    assert without.document["steady"] == []
    told = " ".join(space.quantize().out.split())
    wanted = f"y: {gain['before_db']:.1f} dB by itself before, {gain['after_db']:.1f} dB now"
    assert f"those that hardly move, their rounding made up for by biases: {wanted}" in told
    held = space.output.read_bytes()
    assert qdq("quantize", space.model, "--cache", cache, "-o", space.output).code == 0
    assert space.output.read_bytes() == held


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_it_holds_for_every_target(tmp_path: Path, arrays: np.ndarray, target: str):
    space = make_workspace(tmp_path, network().proto("y"))
    np.savez(space.arrays, x=arrays)
    options = ("--json", "--target", target, "--all-int8")
    found, without = space.quantize(*options), space.quantize(*options, "--no-shift")
    assert len(found.document["steady"]) == 1
    one, two = (each.document["verification"]["outputs"]["y"]["sqnr_db"] for each in (found, without))
    assert one > two + 5
