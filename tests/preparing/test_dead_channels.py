"""Nearly dead channels in front of depthwise convolutions: larger where that changes no bit, folded where constant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from qdq_cli.model.provenance import SPREAD
from qdq_cli.preparing.prepare import Preparation, prepare
from tests.dead_channels import CHANNELS, DEAD, F, inputs, network, quantized_db
from tests.networks import Network, run


def prepared(net: Network, **options: bool) -> Preparation:
    kind = next(info.type.tensor_type.elem_type for info in net.proto("y").graph.input)
    return prepare(ir.from_proto(net.proto("y", output_types={"y": kind})), **options)


def weights(model: ir.Model, name: str) -> np.ndarray:
    return model.graph.initializers[name].const_value.numpy()


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


def test_a_quantized_network_gains_what_its_dead_channels_cost(tmp_path: Path):
    said = quantized_db(tmp_path, network())[1]
    assert "has nearly dead channels made larger, in front of y" in " ".join(said.split())
