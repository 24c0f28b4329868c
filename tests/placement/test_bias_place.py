"""Where the bias of a weighted operator is, and that another one does what it should."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from calibrators import QParams, symmetric_qparams
from qdq_cli.model.names import Names
from qdq_cli.placement.bias import adds_plainly, bias_codes
from qdq_cli.placement.bias_place import bias_place, set_bias
from tests.networks import run
from tests.recovering.channel_networks import Net

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
    set_bias(place, (place.value + BIAS).astype(np.float32), Names(model.graph))
    by_channel = BIAS.reshape(-1, *(1,) * (before.ndim - 2))
    np.testing.assert_allclose(run(model)[0] - before, np.broadcast_to(by_channel, before.shape), rtol=1e-4)


def test_a_constant_with_other_axes_is_no_bias():
    """Of a higher rank than the product, of another size, a column, or none at all."""
    for shape in ((1, 1, 6), (1, 1, 1), (2, 6), (2, 1), None):
        assert bias_place(layer(operator("MatMul", shape)), 6) is None, shape
    for shape in ((2, 6), (2, 1)):
        assert bias_place(layer(operator("Gemm", shape)), 6) is None, shape
    assert bias_place(layer(operator("Gemm", (6,), beta=0.5)), 6) is None


def scales(data: float, weight: list[float]) -> tuple[QParams, QParams]:
    return symmetric_qparams(np.float32(127 * data)), symmetric_qparams(127 * np.float32(weight), axis=0)


def test_an_integer_bias_lies_within_half_a_step():
    data, weight = scales(0.5, [0.25, 0.01, 3.0])
    bias = np.float32([1.3, -0.77, 1000.0])
    found = bias_codes(bias, data, weight)
    assert found is not None and found.codes.dtype == np.int32
    np.testing.assert_array_equal(found.scale, data.scale * weight.scale)
    assert (np.abs(found.codes * found.scale.astype(np.float64) - bias) <= found.scale / 2 * (1 + 1e-6)).all()


@pytest.mark.parametrize(
    ("bias", "data", "weight"),
    [
        ([1.0, 2.0], 1e-6, [1e-6, 1.0]),  # 1e12 steps
        ([1.0, 2.0], 1e-30, [1e-30, 1.0]),  # no such step in FP32
        ([1.0, 2.0, 3.0, 4.0], 1.0, [1.0, 1.0]),  # two groups of a ConvTranspose
        ([[1.0, 2.0]], 1.0, [1.0, 1.0]),
    ],
)
def test_a_bias_that_no_integer_holds_stays_float(bias: list[float], data: float, weight: list[float]):
    assert bias_codes(np.float32(bias), *scales(data, weight)) is None


def test_a_gemm_that_scales_its_products_keeps_its_bias():
    assert [adds_plainly(layer(operator("Gemm", (6,), **given))) for given in ({}, {"alpha": 2.0}, {"beta": 0.5})] == [
        True, False, False,
    ]  # fmt: skip
