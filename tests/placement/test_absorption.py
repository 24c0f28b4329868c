"""Constants between a weighted operator and a residual Add: planner and simulator agree on what one kernel takes in."""

from __future__ import annotations

import numpy as np
import pytest

from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.targets.tensorrt.predictions import predict_plan

NUMBER, CHANNELS, COLUMNS = np.float32(2), np.ones((32, 1, 1), np.float32), np.ones(8, np.float32)


def block(*steps: tuple[str, object, int], product: bool = False) -> tuple[Network, str]:
    """A residual block whose last convolution passes some (operator, constant, slot of the tensor) before the Add."""
    net = Network()
    if product:
        x = net.relu(net.gemm(net.input("x", (8, 32)), 32, 32, scale=None), "skip")
        value = net.gemm(x, 32, 32, "main", scale=None)
    else:
        x = net.relu(net.conv(net.input("x", (1, 32, 8, 8)), 32, scale=None), "skip")
        value = net.conv(net.relu(net.conv(x, 32, scale=None)), 32, "main", scale=None)
    for op, constant, slot in steps:
        operands = [] if constant is None else [net.constant(constant)]
        operands.insert(slot, value)
        value = net.op(op, *operands)
        net._channels[value] = 32
    total = net.relu(net.add(value, x, "add"))
    net._channels[total] = 32
    return net, net.gemm(total, 32, 32, scale=None) if product else net.conv(total, 32, scale=None)


def operands_wanted(net: Network, output: str) -> int:
    plan = make_plan(prepare(net.model(output)).model, TENSORRT)
    return sum(use.node == "add" for target in plan.targets for use in target.uses)


def absorbs_the_add(net: Network, output: str) -> bool:
    prepared = prepare(net.model(output)).model
    found = predict_plan(prepared, make_plan(prepared, TENSORRT))
    main = next(layer for layer in found.layers if layer.name == "main")
    return "add" in main.nodes and not found.removable


SCALINGS = [
    (),
    (("Mul", NUMBER, 0),),
    (("Div", NUMBER, 0),),
    (("Add", NUMBER, 1),),
    (("Sub", NUMBER, 0),),
    (("Sub", NUMBER, 1),),
    (("Mul", CHANNELS, 1),),
    (("Div", CHANNELS[None], 0),),
    (("Div", NUMBER, 0), ("Sub", CHANNELS, 0), ("Mul", NUMBER, 1), ("Sub", NUMBER, 1)),
]


@pytest.mark.parametrize("steps", SCALINGS, ids=lambda steps: "-".join(op for op, _, _ in steps) or "none")
def test_scaling_by_constants_is_part_of_the_kernel_that_absorbs_the_add(steps):
    net, output = block(*steps)
    assert operands_wanted(net, output) == 1
    assert absorbs_the_add(net, output)


OTHERS = [
    (("Div", NUMBER, 1),),
    (("Mul", NUMBER, 0), ("Div", NUMBER, 1)),
    (("Pow", NUMBER, 0),),
    (("Mul", COLUMNS, 0),),
    (("Neg", None, 0),),
    (("HardSwish", None, 0),),
]


@pytest.mark.parametrize("steps", OTHERS, ids=lambda steps: "-".join(op for op, _, _ in steps))
def test_what_scales_no_channel_leaves_the_add_a_kernel_with_two_pairs(steps):
    net, output = block(*steps)
    assert operands_wanted(net, output) == 2
    assert not absorbs_the_add(net, output)


def test_the_channels_of_a_product_are_its_last_axis():
    scaled, columns = block(("Mul", np.ones(32, np.float32), 0), product=True)
    assert operands_wanted(scaled, columns) == 1
    scaled, rows = block(("Mul", np.ones((8, 1), np.float32), 0), product=True)
    assert operands_wanted(scaled, rows) == 2
