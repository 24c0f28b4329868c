"""Which tensors are observed for their size: few, the same for every share, and enough to bound all others."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from qdq_cli.calibrating.magnitudes import extremes_to_watch
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.workspace import small_convnet


def watched(net: onnx.ModelProto, *counted: str) -> tuple[str, ...]:
    return extremes_to_watch(prepare(ir.serde.deserialize_model(net)).model, counted)


def test_the_tensors_that_quantize_counts_bound_a_convnet():
    """Weights bound what convolutions make of their inputs, and Relu, Add and mean no more."""
    proto = small_convnet().proto("scores")
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 4, tensor.name))
    model = prepare(ir.serde.deserialize_model(proto)).model
    assert extremes_to_watch(model, make_plan(model, TENSORRT).calibrated) == ()
    assert extremes_to_watch(model, ()) == ("images", "second")


def test_a_product_of_two_activations_is_observed_and_what_follows_from_it_is_not():
    net = Network()
    x = net.input("x", ("N", 4, 512))
    product = net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1]), name="product")
    net.op("Softmax", net.op("Mul", product, net.constant(np.float32(0.125)), name="scaled"), axis=-1, name="softmax")
    assert watched(net.proto("softmax"), "x") == ("product",)


def test_what_nothing_bounds_is_observed():
    net = Network()
    net.op("Exp", net.op("Div", net.input("x", ("N", 4)), net.input("y", ("N", 4)), name="ratio"), name="power")
    assert watched(net.proto("power"), "x", "y") == ("ratio", "power")
