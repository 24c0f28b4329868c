"""Where the bias of a weighted operator is, and that another one does what it should."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qdq_cli.judging.bias import bias_place, set_bias
from qdq_cli.model.names import Names
from tests.graph.channel_networks import Net
from tests.networks import run

BIAS = np.arange(1.0, 7.0)


def operator(op_type: str, shape: tuple[int, ...] | None, **attributes: object) -> ir.Model:
    """One weighted operator of 6 output channels that reads "x", with a bias of some shape."""
    net = Net()
    bias = [] if shape is None else [net.constant(net.weight(*shape), "bias")]
    if op_type == "MatMul":
        y = net.matmul(net.input("x", (2, 4)), 4, 6, "layer")
        y = net.op("Add", y, *bias, name="y") if bias else y
    elif op_type == "Gemm":
        y = net.op("Gemm", net.input("x", (2, 4)), net.constant(net.weight(4, 6)), *bias, name="layer", **attributes)
    else:
        weight = net.weight(6, 4, 3, 3) if op_type == "Conv" else net.weight(4, 6, 3, 3)
        y = net.op(op_type, net.input("x", (2, 4, 5, 5)), net.constant(weight), *bias, name="layer", **attributes)
    return net.model(y)


def layer(model: ir.Model) -> ir.Node:
    return next(node for node in model.graph if node.name == "layer")


FOUND = [
    ("Conv", (6,)),
    ("Conv", None),
    ("ConvTranspose", (6,)),
    ("Gemm", (6,)),
    ("Gemm", (1, 6)),
    ("Gemm", (1,)),
    ("Gemm", ()),
    ("Gemm", None),
    ("MatMul", (6,)),
    ("MatMul", (1, 6)),
    ("MatMul", (1,)),
]


@pytest.mark.parametrize(("op_type", "shape"), FOUND)
def test_another_bias_moves_every_channel_by_its_difference(op_type: str, shape: tuple[int, ...] | None):
    model = operator(op_type, shape)
    before = run(model)[0]
    place = bias_place(layer(model), 6)
    assert place is not None
    if shape is None:
        np.testing.assert_array_equal(place.value, np.zeros(6))
    set_bias(model.graph, place, (place.value + BIAS).astype(np.float32), Names(model.graph))
    by_channel = BIAS.reshape(-1, *(1,) * (before.ndim - 2))
    np.testing.assert_allclose(run(model)[0] - before, np.broadcast_to(by_channel, before.shape), rtol=1e-4)


def test_a_constant_with_other_axes_is_no_bias():
    """Of a higher rank than the product, of another size, a column, or none at all."""
    for shape in ((1, 1, 6), (1, 1, 1), (2, 6), (2, 1), None):
        assert bias_place(layer(operator("MatMul", shape)), 6) is None, shape
    for shape in ((2, 6), (2, 1)):
        assert bias_place(layer(operator("Gemm", shape)), 6) is None, shape
    assert bias_place(layer(operator("Gemm", (6,), beta=0.5)), 6) is None
