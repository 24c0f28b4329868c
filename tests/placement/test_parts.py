"""Parts of tensors: seen by themselves where kernels write codes, contained in the whole elsewhere."""

from __future__ import annotations

import pytest

from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.known import target_named
from tests.networks import Network


def network() -> Network:
    """A convolution whose result is read as a whole, and half of it behind a pooling."""
    net = Network()
    whole = net.relu(net.conv(net.input("images", (1, 3, 12, 12)), 32, "first", scale=None), "whole")
    half, rest = net.split(whole, 2, name="half")
    net.conv(net.maxpool(half, "pooled"), 32, "reader", scale=None)
    net.conv(net.concat(rest, net.conv(whole, 32, "all", scale=None)), 32, "last", scale=None)
    return net


@pytest.mark.parametrize(("target", "parts"), [("onnxruntime", True), ("tensorrt", False)])
def test_a_part_that_is_read_by_itself_is_observed_by_itself(target: str, parts: bool):
    model = prepare(network().model("reader", "last")).model
    plan = make_plan(model, target_named(target), PlanConfig(channel_rules=False))
    group = next(group for group in plan.groups if "whole" in group.tensors)
    taken = [name for name in group.observed if name.startswith("half")]
    assert bool(taken) is parts
    assert "pooled" not in group.observed
