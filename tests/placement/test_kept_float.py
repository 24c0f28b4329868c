"""Operators that a plan leaves float between quantized ones stay float in ONNX Runtime's default session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import qdq_cli
from qdq_cli.placement.kept_float import _in_fine_steps, is_rounded, keep_float
from tests.networks import Network
from tests.targets.test_fusion import on_integers, optimized

DATA = np.random.default_rng(3).normal(size=(12, 8, 6, 6)).astype(np.float32)


def network(kind: str, *, bias: bool) -> onnx.ModelProto:
    """Three operators in a row; the one in the middle is left float."""
    net = Network()
    first = net.relu(net.conv(net.input("x", (1, 8, 6, 6)), 8, "first", scale=None), "clip")
    given = [net.constant(net.weight(8), "b")] if bias else []
    if kind == "gemm":
        flat = net.op("Flatten", first, name="flat")
        middle = net.op("Gemm", flat, net.constant(net.weight(288, 8), "w"), *given, name="middle")
        return net.proto(net.gemm(middle, 8, 4, "last", scale=None))
    if kind == "deconv":
        weight = net.constant(net.weight(8, 4, 3, 3), "w")
        middle = net.op("ConvTranspose", first, weight, *given, name="middle", group=2)
    else:
        middle = net.op("Conv", first, net.constant(net.weight(8, 8, 3, 3), "w"), *given, name="middle")
    net._channels[middle] = 8
    return net.proto(net.conv(middle, 4, "last", scale=None))


@pytest.mark.parametrize("kind", ["conv", "deconv", "gemm"])
@pytest.mark.parametrize("bias", [True, False])
def test_what_is_left_float_is_computed_in_float(kind: str, bias: bool, tmp_path: Path):
    model = network(kind, bias=bias)
    found = qdq_cli.quantize(model, DATA, target="onnxruntime", exclude="middle", verify=0)
    graph = optimized(ir.serde.deserialize_model(found.model), tmp_path)
    assert {"first", "last"} <= set(on_integers(graph))
    middle = next(node for node in graph.node if node.name == "middle")
    held = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weight = next(onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.name == "w")
    np.testing.assert_array_equal(held[middle.input[1]], weight)


def test_a_bias_says_the_same_behind_its_dq():
    net = Network()
    read = net.pair(net.input("x", (1, 8, 6, 6)), 0.5)
    bias = np.float32([0.75, -0.001, 3e-8, 0.0])
    weight = net.constant(net.weight(4, 8, 3, 3), "w")
    model = net.model(net.pair(net.op("Conv", read, weight, net.constant(bias, "b"), name="middle"), 0.25))
    (middle,) = (node for node in model.graph if node.name == "middle")
    assert is_rounded(middle)
    keep_float(model.graph)
    assert not is_rounded(middle)
    dequantize = middle.inputs[2].producer()
    codes, step = (value.const_value.numpy() for value in dequantize.inputs[:2])
    np.testing.assert_allclose(codes * np.float64(step), bias, rtol=0, atol=2.0**-31)
    assert "b" not in model.graph.initializers


@given(hnp.arrays(np.float32, st.integers(0, 5), elements=st.floats(-(2.0**90), 2.0**90, width=32)))
def test_steps_are_fine(values: np.ndarray):
    codes, step = _in_fine_steps(values)
    largest = np.abs(values).max(initial=0.0)
    error = np.abs(codes * np.float64(step) - values.astype(np.float64)).max(initial=0.0)
    assert error <= max(2.0**-30 * largest, 2.0**-127)
