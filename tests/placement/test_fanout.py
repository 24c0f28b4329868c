"""Operators for which INT8 pays little: float, but never where that costs a kernel more than quantizing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.targets.tensorrt.predictions import predict_plan


def planned(net: Network, *outputs: str, **options: Any) -> tuple[Plan, int]:
    """The plan, and how many stand-alone Q and DQ it leaves inside the network."""
    model = prepare(net.model(*outputs)).model
    plan = make_plan(model, TENSORRT, PlanConfig(**options))
    return plan, len(predict_plan(model, plan).removable)


def body(channels: int = 32) -> tuple[Network, str]:
    net = Network()
    net.input("x", (1, 32, 8, 8))
    return net, net.relu(net.conv("x", channels, "body", scale=None), "t")


def head(net: Network, x: str, name: str, channels: int = 1, **options: Any) -> str:
    return net.conv(x, channels, name, kernel=1, scale=None, **options)


def codes(plan: Plan) -> dict[str, str]:
    return {skip.node: skip.code for skip in plan.skips}


def test_a_narrow_head_beside_a_wide_one_is_quantized():
    net, t = body()
    plan, kernels = planned(net, head(net, t, "boxes", 32), head(net, t, "score"))
    assert set(plan.quantized) == {"body", "boxes", "score"}
    assert kernels == 0
    assert not plan.skips


def test_several_narrow_heads_are_quantized_together():
    net, t = body()
    outputs = [head(net, t, "boxes", 32), *(head(net, t, f"score{number}", number) for number in (1, 2, 3))]
    plan, kernels = planned(net, *outputs)
    assert len(plan.quantized) == 5
    assert kernels == 0


def test_a_narrow_head_alone_stays_float():
    net, t = body()
    plan, kernels = planned(net, head(net, t, "score"))
    assert codes(plan) == {"score": "FEW_CHANNELS"}
    assert kernels == 0


@pytest.mark.parametrize("options", [{"exclude": ("score",)}, {"only": ("body", "boxes")}, {"exclude_op": ("Gemm",)}])
def test_what_the_user_keeps_float_stays_float(options):
    net, t = body()
    flat = net.op("Flatten", t)
    score = net.gemm(flat, 2048, 1, "score", scale=None)
    plan, kernels = planned(net, head(net, t, "boxes", 32), score, **options)
    assert "score" not in plan.quantized
    assert kernels == 1


def test_an_edge_that_the_user_skips_stays_float():
    net, t = body()
    wide = net.relu(head(net, t, "wide", 32))
    plan, _ = planned(net, head(net, wide, "last", 32), head(net, t, "score"), skip_last=True)
    assert plan.quantized == ("body", "wide")


def test_a_reader_behind_commuting_operators_counts():
    net, t = body()
    pooled = net.maxpool(t)
    flat = net.op("Flatten", pooled)
    product = net.op("MatMul", flat, net.constant(net.weight(512, 1)), name="score")
    plan, kernels = planned(net, head(net, t, "boxes", 32), product)
    assert "score" in plan.quantized
    assert kernels == 0


def test_the_parts_of_a_split_count_as_one_tensor():
    net, t = body(64)
    first, second = net.split(t, 2)
    plan, kernels = planned(net, head(net, first, "boxes", 32), head(net, second, "score"))
    assert "score" in plan.quantized
    assert kernels == 0


def test_a_product_of_two_activations_is_quantized_where_both_are_read_as_int8():
    net, t = body()
    rows = net.op("Reshape", t, net.constant(np.array([1, 32, 64])))
    gram = net.op("MatMul", rows, net.op("Transpose", rows, perm=[0, 2, 1]), name="gram")
    plan, kernels = planned(net, head(net, t, "boxes", 32), gram)
    assert "gram" in plan.quantized
    assert kernels == 0


def test_a_product_with_an_operand_that_is_float_anyway_stays_float():
    net, t = body()
    rows = net.op("Reshape", t, net.constant(np.array([1, 32, 64])))
    shares = net.op("Softmax", net.op("Transpose", rows, perm=[0, 2, 1]))
    plan, _ = planned(net, head(net, t, "boxes", 32), net.op("MatMul", rows, shares, name="mixed"))
    assert codes(plan)["mixed"] == "ATTENTION"


def test_a_float_reader_that_nothing_quantizes_leaves_the_narrow_one_float():
    net, t = body()
    plan, kernels = planned(net, head(net, t, "boxes", 32), head(net, t, "score"), net.op("Softmax", t))
    assert codes(plan) == {"score": "FEW_CHANNELS"}
    assert kernels == 1


def test_a_narrow_operator_between_quantized_ones_is_quantized():
    net, t = body()
    narrow = net.relu(net.conv(t, 1, "narrow", scale=None))
    plan, kernels = planned(net, net.conv(narrow, 32, "behind", scale=None, bias=True))
    assert set(plan.quantized) == {"body", "narrow", "behind"}
    assert kernels == 0


@pytest.mark.parametrize("first", ["", "Relu", "Transpose"])
def test_a_narrow_operator_before_a_wide_one_moves_the_pair_to_the_graph_input(first):
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    if first:
        x = net.op(first, x)
        net._channels[x] = 32
    narrow = net.relu(net.conv(x, 1, "narrow", scale=None))
    plan, kernels = planned(net, net.conv(narrow, 32, "behind", scale=None, bias=True))
    assert set(plan.quantized) == {"narrow", "behind"}
    assert kernels == 0


def test_narrow_operators_of_two_graph_inputs_do_not_pay_with_two_pairs_for_one():
    net = Network()
    parts = [net.conv(net.input(name, (1, 32, 8, 8)), 1, f"narrow_{name}", scale=None) for name in ("a", "b")]
    total = net.add(*parts)
    net._channels[total] = 1
    plan, kernels = planned(net, net.conv(total, 32, "behind", scale=None, bias=True))
    assert plan.quantized == ("behind",)
    assert kernels == 1


def test_a_depthwise_convolution_whose_activation_stays_outside_saves_nothing():
    net, t = body()
    narrow = net.conv(t, 32, "depthwise", kernel=1, group=32, scale=None)
    gated = net.op("Mul", narrow, net.op("Sigmoid", narrow))
    net._channels[gated] = 32
    plan, _ = planned(net, net.conv(gated, 32, "behind", scale=None))
    assert codes(plan) == {"depthwise": "FEW_CHANNELS"}


def test_the_residual_chain_before_a_narrow_head_fuses():
    net, t = body()
    block = net.relu(net.add(net.conv(t, 32, "main", scale=None), t, "add"))
    net._channels[block] = 32
    plan, kernels = planned(net, head(net, block, "boxes", 32), head(net, block, "score"))
    assert "score" in plan.quantized
    assert kernels == 0


def zero_state(*, spelled: str) -> Network:
    net = Network()
    net.input("x", ("N", 32))
    net.constant(np.zeros((1, 32), np.float32), "zeros")
    rows = net.op("Gather", net.op("Shape", "x"), net.constant(np.array([0])))
    shape = net.op("Concat", rows, net.constant(np.array([32])), axis=0)
    match spelled:
        case "ConstantOfShape":
            state = net.op("ConstantOfShape", shape)
        case "Expand":
            state = net.op("Expand", "zeros", shape)
        case _:
            state = "zeros"
    total = net.add(net.gemm("x", 32, 32, "input", scale=None), net.gemm(state, 32, 32, "state", scale=None))
    net.op("Tanh", total, name="y")
    return net


@pytest.mark.parametrize("spelled", ["ConstantOfShape", "Expand", "initializer"])
def test_an_operator_without_an_activation_is_not_quantized_by_half(spelled):
    model = prepare(zero_state(spelled=spelled).model("y")).model
    plan = make_plan(model, TENSORRT)
    assert plan.quantized == ("input",)
    assert [target.use.node for target in plan.weights] == ["input"]
    assert predict_plan(model, plan).weighted_quantized == 1
    if any(node.name == "state" for node in model.graph):  # else folded to a constant
        assert codes(plan)["state"] == "CONSTANT_INPUT"


def test_a_cast_of_integers_is_an_activation():
    net = Network()
    net.input("tokens", (1, 32), dtype=7)
    cast = net.op("Cast", "tokens", to=1)
    plan, _ = planned(net, net.op("MatMul", cast, net.constant(net.weight(32, 32)), name="m"))
    assert plan.quantized == ("m",)
    assert [target.tensor for target in plan.targets] == [cast]


def test_grouped_deconvolutions_of_few_channels_a_group_stay_float():
    for groups, quantized in ((16, False), (8, False), (4, True), (1, True)):
        net, t = body()
        narrow = net.conv(t, 16, "c", scale=None)
        weight = net.constant(net.weight(16, 16 // groups, 2, 2))
        up = net.op("ConvTranspose", narrow, weight, name="up", strides=[2, 2], group=groups)
        plan, _ = planned(net, up)
        assert ("up" in plan.quantized) is quantized
        assert quantized or codes(plan)["up"] == "GROUP_ALIGN"
        assert "up" in planned(net, up, group_rules=False)[0].quantized
