"""Nearly dead channels in front of depthwise convolutions: larger where that changes no bit, folded where constant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.model.provenance import SPREAD
from qdq_cli.preparing.prepare import Preparation, prepare
from tests.networks import Network, run
from tests.workspace import make_workspace, qdq

CHANNELS = 16
DEAD = [2, 5, 11]
F = np.float32


def network(
    activation: str = "Clip", *, pad: int = 1, jitter: float = 0.02, bounded: bool = True, dtype: type = F
) -> Network:
    """A convolution, its activation, and a depthwise one that amplifies three channels which hold little over 0.1."""
    rng, net = np.random.default_rng(0), Network(opset=19)

    def constant(array: np.ndarray, name: str) -> str:
        return net.constant(np.asarray(array).astype(dtype), name)

    kind = TensorProto.FLOAT if dtype is F else TensorProto.FLOAT16
    x = net.input("x", (2, 8, 12, 12), kind)
    low, high = constant(0.0, "low"), constant(6.0, "high")
    if bounded:
        x = net.op("Clip", x, low, high, name="bounded")
    weight, bias = rng.normal(size=(CHANNELS, 8, 1, 1)) / 2, rng.normal(size=CHANNELS) / 4
    weight[DEAD] *= jitter
    bias[DEAD] = 0.1
    made = net.op("Conv", x, constant(weight, "w"), constant(bias, "b"), name="made")
    if activation:
        made = net.op(activation, made, *((low, high) if activation == "Clip" else ()), name="clipped")
    read = rng.normal(size=(CHANNELS, 1, 3, 3)) / 4
    read[DEAD] *= 30
    depthwise = constant(read, "d"), constant(-0.1 * read.sum((1, 2, 3)), "e")
    net.op("Conv", made, *depthwise, name="y", group=CHANNELS, pads=[pad] * 4)
    return net


def prepared(net: Network, **options: bool) -> Preparation:
    kind = next(info.type.tensor_type.elem_type for info in net.proto("y").graph.input)
    return prepare(ir.from_proto(net.proto("y", output_types={"y": kind})), **options)


def weights(model: ir.Model, name: str) -> np.ndarray:
    return model.graph.initializers[name].const_value.numpy()


def inputs(dtype: type = F) -> dict[str, np.ndarray]:
    """Far beyond what a network is fed, too."""
    values = np.random.default_rng(1).normal(size=(2, 8, 12, 12)) * np.geomspace(0.1, 1000, 12)
    return {"x": values.astype(dtype)}


@pytest.mark.parametrize("activation", ["Clip", "Relu", ""])
@pytest.mark.parametrize("dtype", [F, np.float16])
def test_nearly_dead_channels_are_made_larger_and_no_bit_changes(activation: str, dtype: type):
    net = network(activation, dtype=dtype)
    found, before = prepared(net), prepared(net, spread=False)
    factors = (weights(found.model, "w") / weights(before.model, "w")).reshape(CHANNELS, -1)
    assert (factors == factors[:, :1]).all()
    assert (np.log2(factors) % 1 == 0).all()
    assert np.flatnonzero(factors[:, 0] > 1).tolist() == DEAD
    assert (factors[DEAD] >= 4).all()
    np.testing.assert_array_equal(
        weights(found.model, "d")[:, 0, 0, 0] * factors[:, 0], weights(before.model, "d")[:, 0, 0, 0]
    )
    np.testing.assert_array_equal(run(found.model, inputs(dtype))[0], run(before.model, inputs(dtype))[0])
    assert "3 made larger by powers of two (y)" in found.notes[-1]
    assert found.model.metadata_props[SPREAD] == "y"


def test_what_is_clipped_above_stays_below_that_for_any_input():
    """The largest value that the other bound allows, everywhere."""
    net = network()
    found, before = prepared(net), prepared(net, spread=False)
    for value in (6.0, 1e30, -1e30):
        feed = {"x": np.full((2, 8, 12, 12), value, F)}
        np.testing.assert_array_equal(run(found.model, feed)[0], run(before.model, feed)[0])


def test_constant_channels_go_into_the_bias_where_nothing_is_padded():
    net = network(jitter=0.0, pad=0)
    found, before = prepared(net), prepared(net, spread=False)
    assert not weights(found.model, "d")[DEAD].any()
    assert not weights(found.model, "b")[DEAD].any()
    np.testing.assert_allclose(run(found.model, inputs())[0], run(before.model, inputs())[0], rtol=1e-4, atol=1e-4)
    assert "3 constant ones folded into the bias (y)" in found.notes[-1]


def test_constant_channels_in_front_of_a_padding_are_made_larger():
    """What a border adds differs from place to place, so no bias says it."""
    net = network(jitter=0.0, bounded=False)
    found, before = prepared(net), prepared(net, spread=False)
    assert (weights(found.model, "b")[DEAD] > 3).all()
    np.testing.assert_array_equal(run(found.model, inputs())[0], run(before.model, inputs())[0])


@pytest.mark.parametrize("case", ["unbounded input", "another reader", "another lower bound", "no depthwise reader"])
def test_what_is_not_proven_or_has_other_readers_stays(case: str):
    net = network(bounded=case != "unbounded input")
    outputs = ["y"]
    proto = net.proto("y")
    if case == "another reader":
        outputs.append(net.op("Abs", "clipped", name="other"))
        proto = net.proto(*outputs)
    if case == "another lower bound":
        next(t for t in proto.graph.initializer if t.name == "low").CopyFrom(onnx.numpy_helper.from_array(F(-1), "low"))
    if case == "no depthwise reader":
        node = next(n for n in proto.graph.node if n.name == "y")
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("group", 1))
        full = np.zeros((CHANNELS, CHANNELS, 3, 3), F)
        next(t for t in proto.graph.initializer if t.name == "d").CopyFrom(onnx.numpy_helper.from_array(full, "d"))
    found = prepare(ir.from_proto(proto))
    assert not found.notes
    assert SPREAD not in found.model.metadata_props


def test_healthy_channels_stay_as_they_are():
    net = network(jitter=1.0)
    found = prepared(net)
    assert not found.notes
    np.testing.assert_array_equal(weights(found.model, "w"), weights(prepared(net, spread=False).model, "w"))


def quantized_db(folder: Path, net: Network) -> tuple[float, str]:
    space = make_workspace(folder, net.proto("y"))
    rng = np.random.default_rng(2)
    np.savez(space.arrays, x=np.abs(rng.normal(size=(24, 8, 12, 12))).astype(F)[:, None].repeat(2, 1))
    done = space.quantize("--json", "--cache", folder / "model.qcal")
    assert done.code == 0, done.err
    first = space.output.read_bytes()
    assert qdq("quantize", space.model, "--cache", folder / "model.qcal", "-o", space.output).code == 0
    assert space.output.read_bytes() == first
    compared = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers")
    return done.document["verification"]["outputs"]["y"]["sqnr_db"], compared.err + compared.out


def test_a_quantized_network_gains_what_its_dead_channels_cost(tmp_path: Path):
    """Without a bound that proves anything the same channels stay as they are."""
    (tmp_path / "spread").mkdir()
    (tmp_path / "plain").mkdir()
    spread, said = quantized_db(tmp_path / "spread", network())
    plain, nothing = quantized_db(tmp_path / "plain", network(bounded=False))
    assert spread > plain + 6
    assert "has nearly dead channels made larger, in front of y" in " ".join(said.split())
    assert "nearly dead" not in nothing
