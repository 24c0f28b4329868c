"""Which operators implicit quantization could run in INT8."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.implicit import WITH_KERNEL, may_have_run_quantized
from tests.networks import Network


def quantizable(net: Network, *outputs: str, lacking: tuple[str, ...] = ()) -> set[str]:
    """Nodes that may have run in INT8 where every tensor but some has a range."""
    model = prepare(net.model(*outputs)).model
    tensors = {value.name for value in model.graph.inputs} | {out.name for node in model.graph for out in node.outputs}
    return {node.name or "" for node in model.graph if may_have_run_quantized(node, tensors - set(lacking))}


def chain() -> tuple[Network, str]:
    net = Network()
    x = net.conv(net.input("x", (1, 16, 8, 8)), 16, "conv", scale=None)
    x = net.op("Sigmoid", x, name="sigmoid")
    x = net.maxpool(x, "pool")
    return net, net.op("Softmax", x, name="softmax")


def test_whatever_has_a_kernel_and_ranges_on_both_sides():
    net, out = chain()
    assert quantizable(net, out) == {"conv", "sigmoid", "pool"}


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [("x", {"sigmoid", "pool"}), ("sigmoid", {"conv"}), ("pool", {"conv", "sigmoid"})],
)
def test_what_reads_or_writes_a_tensor_without_a_range_fell_back(lacking, expected):
    net, out = chain()
    assert quantizable(net, out, lacking=(lacking,)) == expected


def test_constants_need_no_range():
    net = Network()
    x = net.add(net.input("x", (1, 16)), net.constant(np.ones(16, np.float32), "shift"), "sum")
    assert quantizable(net, net.op("Tanh", x, name="tanh")) == {"sum", "tanh"}


def test_integers_and_custom_operators_do_not_count():
    net = Network()
    x = net.input("x", (1, 16))
    ids = net.input("ids", (1, 16), TensorProto.INT64)
    net.op("Add", ids, ids, name="integers")
    net.op("Relu", x, name="custom", domain="com.example")
    assert quantizable(net, "integers", "custom") == set()


def test_operators_that_the_importer_knows_in_float_alone():
    assert {"Softmax", "LayerNormalization", "InstanceNormalization", "LSTM", "Erf", "Exp"}.isdisjoint(WITH_KERNEL)
