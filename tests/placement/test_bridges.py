"""A chain of residual blocks before a float reader: one kernel pays for the float end, whatever the reader is."""

from __future__ import annotations

import pytest

from qdq_cli.config.forms import Form
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.targets.tensorrt.predictions import predict_plan


def block(net: Network, x: str, name: str, *, activated: bool = False) -> str:
    inner = net.conv(net.relu(net.conv(x, 16, f"{name}_1", scale=None)), 16, f"{name}_2", scale=None)
    branch = net.op("LeakyRelu", inner) if activated else inner
    total = net.relu(net.add(branch, x, f"{name}_add"), name)
    net._channels[total] = 16
    return total


def chain(*, activated: bool = False) -> tuple[Network, str]:
    net = Network()
    x = net.relu(net.conv(net.input("x", (1, 16, 8, 8)), 16, "stem", scale=None), "stem_relu")
    net._channels[x] = 16
    for name in ("first", "second"):
        x = block(net, x, name)
    return net, block(net, x, "last", activated=activated)


def planned(net: Network, *outputs: str) -> tuple[Plan, list[str]]:
    """The plan, and the tensors of stand-alone Q and DQ inside the network."""
    model = prepare(net.model(*outputs)).model
    plan = make_plan(model, TENSORRT)
    found = predict_plan(model, plan).removable
    regions = predict_plan(model, plan, form=Form.INT8_REGIONS).removable
    assert sorted(kernel.tensor for kernel in found) == sorted(kernel.tensor for kernel in regions)
    return plan, [kernel.tensor for kernel in found]


def uses(plan: Plan, node: str) -> int:
    return sum(use.node == node for target in plan.targets for use in target.uses)


@pytest.mark.parametrize("behind", [("Transpose",), ("Transpose", "Flatten")])
def test_a_commuting_reader_takes_the_dq_with_it(behind):
    net, last = chain()
    value = last
    for op in behind:
        value = net.op(op, value, name=op.lower())
    plan, kernels = planned(net, net.conv(last, 16, "next", scale=None), net.op("Softmax", value))
    assert uses(plan, "transpose") == 1
    assert uses(plan, "last_add") == 1
    assert set(plan.int8_nodes) == {op.lower() for op in behind}
    assert len(kernels) == 1


def test_two_readers_of_what_it_moves_would_take_a_kernel_each():
    net, last = chain()
    moved = net.op("Transpose", last, name="transpose")
    outputs = [net.op("Softmax", moved), net.op("Softmax", moved, axis=1)]
    plan, kernels = planned(net, net.conv(last, 16, "next", scale=None), *outputs)
    assert uses(plan, "transpose") == 0
    assert len(kernels) == 2


def test_without_residual_blocks_before_it_a_commuting_reader_stays_float():
    net = Network()
    x = net.relu(net.conv(net.input("x", (1, 16, 8, 8)), 16, "stem", scale=None), "stem_relu")
    moved = net.op("Transpose", x, name="transpose")
    plan, kernels = planned(net, net.conv(x, 16, "next", scale=None), net.op("Softmax", moved))
    assert uses(plan, "transpose") == 0
    assert len(kernels) == 1


def test_an_add_that_no_kernel_absorbs_reads_int8_on_both_sides_or_none():
    net, last = chain(activated=True)
    plan, kernels = planned(net, net.conv(last, 16, "next", scale=None), net.op("Softmax", last))
    assert uses(plan, "last_add") == 2
    assert kernels == [last]


def test_a_sum_that_no_kernel_can_take_over_is_no_block_to_free():
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    total = net.add(x, net.relu(x, "relu"), "total")  # of a graph input, which comes in float whatever is behind it
    net._channels[total] = 32
    branch = net.conv(x, 32, "branch", scale=None)
    plan, kernels = planned(net, net.add(branch, total, "last"), net.conv(total, 32, "next", scale=None))
    assert uses(plan, "last") == 0
    assert kernels == []
