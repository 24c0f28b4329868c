"""The planner on the rules' own cases (docs/rule-cases.md) and on every reason it has for leaving an input in float."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from calibrators import Range
from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.skips import REASONS
from qdq_cli.placement.wants import Wants
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import UsageError
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network, shuffled


def plan_of(net: Network, *outputs: str, **options: object) -> Plan:
    return make_plan(prepare(net.model(*outputs)).model, TENSORRT, PlanConfig(**options))


def start(channels: int = 16, opset: int = 17, batch: int | str = 1) -> Network:
    net = Network(opset)
    net.input("x", (batch, channels, 8, 8))
    return net


def conv(net: Network, x: str, channels: int = 16, name: str | None = None, **options: object) -> str:
    return net.conv(x, channels, name, scale=None, **options)


def wanted(plan: Plan) -> dict[str, set[str]]:
    """Tensor -> the "node:slot" that read it as INT8, run starts left out."""
    return {
        target.tensor: {f"{use.node}:{use.slot}" for use in target.uses}
        for target in plan.targets
        if not target.opens_run
    }


def starts(plan: Plan) -> dict[str, set[str]]:
    """Tensor -> the "node:slot" of the commuting operators whose run begins there."""
    return {
        target.tensor: {f"{use.node}:{use.slot}" for use in target.uses} for target in plan.targets if target.opens_run
    }


def group_of(plan: Plan, tensor: str) -> int:
    return next(target.group for target in plan.targets if target.tensor == tensor)


def codes(plan: Plan) -> dict[str, str]:
    return {skip.node: skip.code for skip in plan.skips}


def batch_norm(net: Network, x: str, channels: int = 16, name: str | None = None) -> str:
    one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    operands = [net.constant(array) for array in (one, zero, zero, one)]
    return net.op("BatchNormalization", x, *operands, name=name)


def silu(net: Network, x: str, name: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x, name=f"{name}_sigmoid"), name=name)


# --- weighted operators (P1-P3, P6) -------------------------------------------------------------------------------


def test_t01_one_conv():
    net = start()
    plan = plan_of(net, conv(net, "x", name="c1"))
    assert wanted(plan) == {"x": {"c1:0"}}
    assert [(w.tensor, w.axis) for w in plan.weights] == [("c1_w", 0)]
    assert plan.groups[0].observed == ("x",)


def test_t02_inputs_of_both_convs_and_nothing_between_conv_and_relu():
    net = start()
    r = net.relu(conv(net, "x", name="c1"), "r")
    plan = plan_of(net, conv(net, r, name="c2"))
    assert wanted(plan) == {"x": {"c1:0"}, "r": {"c2:0"}}


def test_t03_nothing_between_conv_and_batch_norm():
    net = start()
    n = batch_norm(net, conv(net, "x", name="c1"), name="n")
    plan = plan_of(net, conv(net, net.relu(n, "r"), name="c2"))
    assert wanted(plan) == {"x": {"c1:0"}, "r": {"c2:0"}}


def test_t16_two_convs_share_one_pair():
    net = start()
    plan = plan_of(net, conv(net, "x", name="c1"), conv(net, "x", name="c2"))
    assert wanted(plan) == {"x": {"c1:0", "c2:0"}}
    assert len(plan.groups) == 1


def test_t36_the_bias_is_never_quantized():
    net = start()
    plan = plan_of(net, conv(net, "x", name="c1", bias=True))
    assert {use.slot for target in plan.targets for use in target.uses} == {0}
    assert {weight.use.slot for weight in plan.weights} == {1}


@pytest.mark.parametrize(("trans_b", "axis"), [(1, 0), (0, 1)])
def test_t33_gemm_axis(trans_b, axis):
    net = Network()
    net.input("x", ("N", 32))
    weight = net.constant(net.weight(16, 32) if trans_b else net.weight(32, 16), "w")
    plan = plan_of(net, net.op("Gemm", "x", weight, transB=trans_b, name="fc"))
    assert [(w.tensor, w.axis) for w in plan.weights] == [("w", axis)]


def test_t34_matmul_axes():
    net = Network()
    net.input("x", ("N", 4, 32))
    net.op("MatMul", "x", net.constant(net.weight(32, 16), "flat"), name="a")
    net.op("MatMul", "x", net.constant(net.weight(4, 32, 16), "stack"), name="b")
    net.op("MatMul", net.constant(net.weight(16, 4), "left"), "x", name="c")
    plan = plan_of(net, "a", "b", "c")
    assert {w.tensor: w.axis for w in plan.weights} == {"flat": 1, "stack": None}
    assert codes(plan) == {"c": "CONSTANT_LEFT"}


@pytest.mark.parametrize(
    ("channels", "per_group", "group", "unasked", "axis"),
    [(16, 32, 1, None, 1), (32, 8, 4, None, 1), (16, 1, 16, 0, 0)],
)
def test_t35_deconvolution_is_per_tensor_unless_asked_or_depthwise(channels, per_group, group, unasked, axis):
    net = start(channels)
    net.op("ConvTranspose", "x", net.constant(net.weight(channels, per_group, 2, 2), "w"), group=group, name="up")
    assert [w.axis for w in plan_of(net, "up", group_rules=False).weights] == [unasked]
    asked = plan_of(net, "up", group_rules=False, deconv_per_channel=True)
    assert [w.axis for w in asked.weights] == [axis]


def test_a_depthwise_deconvolution_reads_each_channel_alone():
    net = start(16)
    net.op("ConvTranspose", "x", net.constant(net.weight(16, 1, 2, 2), "w"), group=16, name="up")
    plan = plan_of(net, "up", group_rules=False)
    assert [(group.depthwise, group.read_depthwise) for group in plan.groups] == [(True, ("x",))]
    assert codes(plan_of(net, "up", group_rules=False, wide=frozenset({"up"}))) == {"up": "WIDE_RANGE"}
    assert codes(plan_of(net, "up")) == {"up": "GROUP_ALIGN"}


def test_per_tensor_weights_on_request():
    net = start()
    plan = plan_of(net, conv(net, "x", name="c1"), per_tensor_weights=True)
    assert [w.axis for w in plan.weights] == [None]


def test_t37_a_shared_weight_is_listed_for_each_of_its_users():
    net = start()
    w = net.constant(net.weight(16, 16, 1, 1), "w")
    net.op("Conv", "x", w, name="c1")
    net.op("Conv", "c1", w, name="c2")
    plan = plan_of(net, "c2")
    assert [(target.tensor, target.use.node) for target in plan.weights] == [("w", "c1"), ("w", "c2")]


# --- commuting operators (P10-P14) --------------------------------------------------------------------------------


def test_t05_maxpool_is_swallowed_by_the_run():
    net = start()
    pool = net.maxpool(conv(net, "x", name="c1"), "pool")
    plan = plan_of(net, conv(net, pool, name="c2"))
    assert wanted(plan) == {"x": {"c1:0"}, "pool": {"c2:0"}}
    assert starts(plan) == {"c1": {"pool:0"}}
    assert plan.int8_nodes == ("pool",)
    assert group_of(plan, "c1") == group_of(plan, "pool") != group_of(plan, "x")
    assert plan.groups[group_of(plan, "pool")].observed == ("pool",)


def test_t06_a_pool_with_a_float_reader_stays_float():
    net = start()
    pool = net.maxpool(conv(net, "x", name="c1"), "pool")
    plan = plan_of(net, conv(net, pool, name="c2"), net.op("Softmax", pool, name="s"))
    assert plan.int8_nodes == ()
    assert starts(plan) == {}


def test_t18_concat_inputs_and_output_share_a_scale():
    net = start()
    joined = net.concat(conv(net, "x", name="c1"), conv(net, "x", name="c2"), name="cat")
    plan = plan_of(net, conv(net, joined, name="c3"))
    assert starts(plan) == {"c1": {"cat:0"}, "c2": {"cat:1"}}
    assert len({group_of(plan, tensor) for tensor in ("c1", "c2", "cat")}) == 1
    assert plan.groups[group_of(plan, "cat")].observed == ("cat",)


def test_t19_another_reader_of_a_concat_input_has_the_group_scale():
    net = start()
    c1 = conv(net, "x", name="c1")
    joined = net.concat(c1, conv(net, "x", name="c2"), name="cat")
    plan = plan_of(net, conv(net, joined, name="c3"), conv(net, c1, name="c4"))
    assert wanted(plan)["c1"] == {"c4:0"}
    assert group_of(plan, "c1") == group_of(plan, "cat")


def test_t21_concat_of_float_producers_is_reported():
    net = start()
    joined = net.concat(net.op("Softmax", "x", name="a"), net.op("Exp", "x", name="b"), name="cat")
    plan = plan_of(net, conv(net, joined, name="c"))
    assert ["P13" in note for note in plan.notes] == [True]


def test_t26_pad_with_zeros_is_crossed_and_t28_with_ones_is_not():
    for value, crossed in ((0.0, ("pad",)), (1.0, ())):
        net = start()
        pads = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        pad = net.op("Pad", conv(net, "x", name="c1"), pads, net.constant(np.float32(value)), name="pad")
        assert plan_of(net, conv(net, pad, name="c2")).int8_nodes == crossed


def test_t27_padding_an_outer_dimension_stays_float_and_the_transpose_behind_it_does_not():
    net = Network()
    net.input("x", (1, 8, 8, 16))
    pads = net.constant(np.array([0, 1, 1, 0, 0, 1, 1, 0], np.int64))
    pad = net.op("Pad", "x", pads, name="pad")
    moved = net.op("Transpose", pad, perm=[0, 3, 1, 2], name="moved")
    net._channels[moved] = 16
    plan = plan_of(net, conv(net, moved, name="c1"))
    assert plan.int8_nodes == ("moved",)
    assert starts(plan) == {"pad": {"moved:0"}}


@pytest.mark.parametrize(("mode", "crossed"), [("nearest", ("up",)), ("linear", ())])
def test_t29_t30_resize(mode, crossed):
    net = start()
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    up = net.op("Resize", conv(net, "x", name="c1"), "", scales, mode=mode, name="up")
    assert plan_of(net, conv(net, up, name="c2")).int8_nodes == crossed


def test_t31_split_is_crossed_only_when_every_part_is_read_as_int8():
    net = start(32)
    a, b = net.split(conv(net, "x", 32, name="c1"), 2, name="halves")
    both = plan_of(net, conv(net, a, name="c2"), conv(net, b, name="c3"))
    assert both.int8_nodes == ("halves",)
    assert len({group_of(both, tensor) for tensor in (a, b, "c1")}) == 1
    net = start(32)
    a, b = net.split(conv(net, "x", 32, name="c1"), 2, name="halves")
    one = plan_of(net, conv(net, a, name="c2"), net.op("Softmax", b, name="s"))
    assert one.int8_nodes == ()


def test_t32_q_crosses_transpose_and_reshape_before_a_matmul():
    net = start()
    rows = net.op("Transpose", conv(net, "x", name="c1"), perm=[0, 2, 3, 1], name="rows")
    flat = net.op("Reshape", rows, net.constant(np.array([64, 16], np.int64)), name="flat")
    plan = plan_of(net, net.op("MatMul", flat, net.constant(net.weight(16, 16), "w"), name="fc"))
    assert plan.int8_nodes == ("rows", "flat")
    assert starts(plan) == {"c1": {"rows:0"}}


def test_t59_sppf_is_one_scale_group():
    net = start()
    x = silu(net, conv(net, "x", name="c1"), "act")
    pools = [x]
    for number in range(3):
        pools.append(net.maxpool(pools[-1], f"pool{number}", kernel=5, stride=1, pad=2))
    net._channels[x] = 16
    for pool in pools:
        net._channels[pool] = 16
    plan = plan_of(net, conv(net, net.concat(*pools, name="cat"), name="c2"))
    assert set(plan.int8_nodes) == {"pool0", "pool1", "pool2", "cat"}
    assert starts(plan) == {"act": {"pool0:0", "cat:0"}}
    assert group_of(plan, "act") == group_of(plan, "cat")


def test_p10_a_pool_quantized_on_both_sides_has_one_scale():
    net = start()
    c1 = conv(net, "x", name="c1")
    pool = net.maxpool(c1, "pool")
    plan = plan_of(net, conv(net, c1, name="c2"), conv(net, pool, name="c3"), net.op("Softmax", pool, name="s"))
    assert group_of(plan, "c1") == group_of(plan, "pool")
    assert plan.groups[group_of(plan, "pool")].observed == ("c1",)


def test_gather_is_crossed_unless_safe():
    net = start()
    picked = net.op("Gather", conv(net, "x", name="c1"), net.constant(np.arange(4)), axis=2, name="picked")
    net._channels[picked] = 16
    c2 = conv(net, picked, name="c2")
    assert plan_of(net, c2).int8_nodes == ("picked",)
    assert plan_of(net, c2, safe=True).int8_nodes == ()


# --- activations (P5) ---------------------------------------------------------------------------------------------


def test_t22_t23_q_comes_behind_the_whole_silu():
    for group in (1, 16):
        net = start()
        act = silu(net, conv(net, "x", name="c1", group=group), "act")
        net._channels[act] = 16
        assert wanted(plan_of(net, conv(net, act, name="c2"))) == {"x": {"c1:0"}, "act": {"c2:0"}}


def test_t24_t25_q_comes_behind_clip_and_leaky_relu():
    net = start()
    net._channels[net.relu6(conv(net, "x", name="c1", group=16), "a")] = 16
    leaky = net.op("LeakyRelu", conv(net, "a", name="c2"), name="b")
    assert wanted(plan_of(net, conv(net, leaky, name="c3"))) == {"x": {"c1:0"}, "a": {"c2:0"}, "b": {"c3:0"}}


def test_a_group_that_only_depthwise_convs_read_is_marked():
    net = start()
    a = net.relu(conv(net, "x", name="c1"), "a")
    b = net.relu(conv(net, conv(net, a, name="dw", group=16), name="c2"), "b")
    plan = plan_of(net, conv(net, b, name="dw2", group=16), conv(net, b, name="c3"))
    assert {tensor for group in plan.groups if group.depthwise for tensor in group.tensors} == {"a"}


# --- residual Adds and pooling (P8, P9, section 3.2) --------------------------------------------------------------


def identity_block(net: Network, x: str, name: str) -> str:
    inner = net.relu(conv(net, x, name=f"{name}_1"), f"{name}_r1")
    return net.relu(net.add(conv(net, inner, name=f"{name}_2"), x, f"{name}_add"), f"{name}_out")


def test_t07_identity_branch_is_quantized():
    net = start()
    stem = net.relu(conv(net, "x", name="stem"), "s")
    plan = plan_of(net, conv(net, identity_block(net, stem, "b"), name="c3"))
    assert wanted(plan)["s"] == {"b_1:0", "b_add:1"}
    assert "b_2" not in wanted(plan)


def test_t09_no_operand_is_quantized_before_a_graph_output():
    net = start()
    stem = net.relu(conv(net, "x", name="stem"), "s")
    plan = plan_of(net, identity_block(net, stem, "b"))
    assert wanted(plan)["s"] == {"b_1:0"}
    assert codes(plan) == {"b_add": "RESIDUAL_FLOAT_CONSUMER"}


def test_a_chain_of_blocks_pays_for_its_float_end_once():
    net = start()
    x = net.relu(conv(net, "x", name="stem"), "s")
    for name in "abc":
        x = identity_block(net, x, name)
    plan = plan_of(net, net.op("Softmax", x, name="float"), conv(net, x, name="tail"))
    assert wanted(plan)["b_out"] == {"c_1:0", "c_add:1"}  # the one stand-alone DQ
    assert wanted(plan)["a_out"] == {"b_1:0", "b_add:1"}
    assert wanted(plan)["s"] == {"a_1:0", "a_add:1"}
    assert codes(plan) == {}


def down_block(net: Network, x: str, swap: bool = False) -> str:
    main = conv(net, net.relu(conv(net, x, name="m1"), "m_r"), name="m2")
    short = conv(net, x, name="short", kernel=1)
    operands = (short, main) if swap else (main, short)
    return net.relu(net.add(*operands, name="sum"), "out")


@pytest.mark.parametrize("swap", [False, True])
def test_t10_only_the_shortcut_of_a_down_sample_block_is_quantized(swap):
    net = start()
    plan = plan_of(net, conv(net, down_block(net, "x", swap), name="next"))
    assert wanted(plan)["short"] == {f"sum:{0 if swap else 1}"}
    assert "m2" not in wanted(plan)


def test_t11_residual_branches_can_be_switched_off():
    net = start()
    plan = plan_of(net, conv(net, down_block(net, "x"), name="next"), residuals=False)
    assert not {"short", "m2"} & set(wanted(plan))
    assert codes(plan) == {"sum": "RESIDUAL_OFF"}


def classifier(net: Network, last: str, spelled: str) -> str:
    if spelled == "GlobalAveragePool":
        pooled = net.op("GlobalAveragePool", last, name="pooled")
    else:
        pooled = net.op("ReduceMean", last, axes=[2, 3] if spelled == "last" else [-1, -2], keepdims=1, name="pooled")
    return net.gemm(net.op("Flatten", pooled, name="flat"), 16, 16, "fc", scale=None)


@pytest.mark.parametrize("spelled", ["GlobalAveragePool", "last", "negative"])
def test_t14_pooling_and_the_last_residual_enable_each_other(spelled):
    net = start()
    stem = net.relu(conv(net, "x", name="stem"), "s")
    plan = plan_of(net, classifier(net, identity_block(net, stem, "b"), spelled))
    assert wanted(plan) == {
        "x": {"stem:0"},
        "s": {"b_1:0", "b_add:1"},
        "b_r1": {"b_2:0"},
        "b_out": {"pooled:0"},
        "flat": {"fc:0"},
    }
    assert plan.int8_nodes == ("flat",)
    assert not plan.skips


def test_t15_pooling_with_a_float_reader_stays_float():
    net = start()
    pool = net.op("AveragePool", conv(net, "x", name="c1"), kernel_shape=[2, 2], name="pool")
    plan = plan_of(net, net.op("Softmax", pool, name="s"))
    assert codes(plan) == {"pool": "POOL_FLOAT"}
    assert codes(plan_of(net, "s", pooling=False)) == {"pool": "POOL_OFF"}


def test_t61_both_operands_behind_activations_are_quantized():
    net = start()
    a = silu(net, conv(net, "x", name="c1"), "a")
    net._channels[a] = 16
    b = silu(net, conv(net, silu(net, conv(net, a, name="c2"), "m"), name="c3"), "b")
    total = net.add(a, b, "sum")
    net._channels[total] = 16
    plan = plan_of(net, conv(net, total, name="c4"))
    assert wanted(plan)["a"] == {"c2:0", "sum:0"}
    assert wanted(plan)["b"] == {"sum:1"}


def test_t62_pre_activation_residuals_stay_float():
    net = start()
    stem = conv(net, "x", name="stem")
    inner = conv(net, net.relu(batch_norm(net, stem), "r"), name="c1")
    total = net.add(inner, stem, "sum")
    tail = conv(net, net.relu(batch_norm(net, total), "r2"), name="c2")
    plan = plan_of(net, net.add(tail, total, "sum2"))
    assert codes(plan)["sum"] == "RESIDUAL_FLOAT_CONSUMER"


def test_an_add_of_different_shapes_stays_float():
    net = start()
    c1 = conv(net, "x", name="c1")
    squeezed = net.op("ReduceMean", c1, axes=[2, 3], keepdims=1, name="mean")
    total = net.add(c1, squeezed, "sum")
    net._channels[total] = 16
    plan = plan_of(net, conv(net, total, name="c2"))
    assert codes(plan)["sum"] == "RESIDUAL_BROADCAST"


def test_p18_a_constant_operand_is_no_residual():
    net = start()
    shifted = net.add(conv(net, "x", name="c1"), net.constant(np.ones((1, 16, 1, 1), np.float32)), "bias")
    net._channels[shifted] = 16
    plan = plan_of(net, conv(net, shifted, name="c2"))
    assert wanted(plan) == {"x": {"c1:0"}, "bias": {"c2:0"}}
    assert not plan.skips


def test_bias_between_conv_and_residual_is_absorbed():
    net = start()
    stem = net.relu(conv(net, "x", name="stem"), "s")
    biased = net.add(conv(net, stem, name="c1"), net.constant(np.ones((1, 16, 1, 1), np.float32)), "bias")
    total = net.relu(net.add(biased, stem, "sum"), "out")
    net._channels[total] = 16
    plan = plan_of(net, conv(net, total, name="c2"))
    assert wanted(plan)["s"] == {"c1:0", "sum:1"}
    assert "bias" not in wanted(plan)


# --- transformers and recurrent networks (3.2, case 5; section 3.3; P20) ----------------------------------------------


def attention(net: Network) -> str:
    normed = net.op(
        "LayerNormalization",
        "x",
        net.constant(np.ones(32, np.float32)),
        net.constant(np.zeros(32, np.float32)),
        name="ln",
    )
    q, k, v = (net.op("MatMul", normed, net.constant(net.weight(32, 32)), name=name) for name in "qkv")
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1], name="kt"), name="bmm1")
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1, name="p"), v, name="bmm2")
    out = net.op("MatMul", mixed, net.constant(net.weight(32, 32)), name="proj")
    return net.add(out, "x", "stream")


def test_t46_attention_products_stay_float_by_default():
    net = Network()
    net.input("x", ("N", 8, 32))
    plan = plan_of(net, attention(net))
    assert codes(plan) == {"bmm1": "ATTENTION", "bmm2": "ATTENTION", "stream": "RESIDUAL_FLOAT_CONSUMER"}
    assert wanted(plan) == {"ln": {"q:0", "k:0", "v:0"}, "bmm2": {"proj:0"}}  # T47: one pair for three Linears


def test_t46_attention_products_on_request():
    net = Network()
    net.input("x", ("N", 8, 32))
    plan = plan_of(net, attention(net), mha=True)
    assert {"q:0", "bmm1:0", "bmm1:1", "bmm2:0", "bmm2:1"} <= set().union(*wanted(plan).values())
    assert plan.int8_nodes == ("kt",)
    softmax = plan.groups[group_of(plan, "p")]
    assert softmax.known == Range(0.0, 1.0)
    assert "p" not in plan.observed


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("tokens", "options", "products"), [
    (512, {"mha": True}, 2),
    (513, {"mha": True}, 0),
    (513, {"mha": True, "attention_rules": False}, 2),
    (513, {"mha": True, "single_rest": True}, 2),
    (513, {"single_rest": True}, 2),
    (512, {"single_rest": True, "mha": False}, 0),
    (512, {}, 0),
    ("tokens", {"mha": True}, 2),
])  # fmt: skip
def test_a_long_attention_is_quantized_beside_an_fp32_rest_alone(tokens, options, products, masked):
    net = Network()
    q, v = net.input("x", ("N", tokens, 32)), net.input("v", ("N", tokens, 32))
    scores = net.op("MatMul", q, net.op("Transpose", v, perm=[0, 2, 1], name="vt"), name="bmm1")
    scaled = net.op("Mul", scores, net.constant(np.float32(0.125)), name="scaled")
    shown = net.add(scaled, net.input("mask", ("N", 1, tokens)), "masked") if masked else scaled
    weights = net.op("Dropout", net.op("Softmax", shown, axis=-1, name="p"), name="dropped")
    plan = plan_of(net, net.op("MatMul", weights, v, name="bmm2"), **options)
    found = {name: code for name, code in codes(plan).items() if name.startswith("bmm")}
    assert len(plan.quantized) == products
    wanted_code = "LONG_ATTENTION" if options.get("mha") else "ATTENTION"
    assert found == ({} if products else {"bmm1": wanted_code, "bmm2": wanted_code})


def test_a_long_product_that_is_no_attention_is_quantized_on_request():
    net = Network()
    a, b = net.input("a", ("N", 600, 600)), net.input("b", ("N", 600, 600))
    assert plan_of(net, net.op("MatMul", a, net.relu(b), name="product"), mha=True).quantized == ("product",)


def test_t48_recurrent_operators_stay_float_and_projections_do_not():
    net = Network()
    net.input("x", (4, "N", 16))
    net._nodes.append(
        helper.make_node(
            "LSTM",
            ["x", net.constant(net.weight(1, 64, 16), "w"), net.constant(net.weight(1, 64, 16), "r")],
            ["y", "last"],
            name="lstm",
            hidden_size=16,
        )
    )
    flat = net.op("Squeeze", "last", net.constant(np.array([0])), name="flat")
    plan = plan_of(net, net.op("MatMul", flat, net.constant(net.weight(16, 16)), name="fc"))
    assert wanted(plan) == {"flat": {"fc:0"}}
    assert plan.quantized == ("fc",)


# --- reasons to stay float ----------------------------------------------------------------------------------------


def test_t49_a_graph_output_may_also_be_read_by_a_quantized_conv():
    net = start()
    c1 = conv(net, "x", name="c1")
    plan = plan_of(net, c1, conv(net, c1, name="c2"))
    assert wanted(plan)["c1"] == {"c2:0"}


def test_t51_misaligned_groups_and_t52_few_channels():
    net = start(6)
    conv(net, "x", 6, name="grouped", group=3)
    assert codes(plan_of(net, "grouped")) == {"grouped": "GROUP_ALIGN"}
    assert plan_of(net, "grouped", group_rules=False, channel_rules=False).quantized == ("grouped",)
    net = start(3)
    head = conv(net, conv(net, "x", 16, name="first"), 1, name="head", kernel=1)
    assert codes(plan_of(net, head)) == {"head": "FEW_CHANNELS"}
    assert plan_of(net, head, channel_rules=False).quantized == ("first", "head")


@pytest.mark.parametrize("batch", [1, 8, "N"])
def test_the_batch_size_changes_nothing(batch):
    net = start(batch=batch)
    plan = plan_of(net, classifier(net, conv(net, "x", name="c1"), "GlobalAveragePool"))
    assert plan.quantized == ("c1", "fc")


def test_a_matrix_vector_product_stays_float():
    net = Network()
    net.input("x", ("N", 32))
    out = net.op("MatMul", "x", net.constant(net.weight(32, 1)), name="v")
    assert codes(plan_of(net, out)) == {"v": "GEMV"}
    assert plan_of(net, out, gemv_rules=False).quantized == ("v",)


def test_a_computed_weight_stays_float():
    net = start()
    net.input("w", (16, 16, 1, 1))
    assert codes(plan_of(net, net.op("Conv", "x", "w", name="c"))) == {"c": "WEIGHT_COMPUTED"}


def test_double_tensors_stay_float():
    net = Network()
    net.input("x", ("N", 32), dtype=11)
    plan = plan_of(net, net.op("MatMul", "x", net.constant(np.ones((32, 16))), name="m"))
    assert codes(plan) == {"m": "NOT_FLOAT"}


def chain() -> Network:
    net = start()
    for number in range(3):
        conv(net, "x" if number == 0 else f"c{number - 1}", name=f"c{number}")
    return net


def test_user_exclusions():
    assert codes(plan_of(chain(), "c2", exclude=("c[01]",))) == {"c0": "EXCLUDED", "c1": "EXCLUDED"}
    assert codes(plan_of(chain(), "c2", only=("c1",))) == {"c0": "NOT_SELECTED", "c2": "NOT_SELECTED"}
    assert codes(plan_of(chain(), "c2", exclude_op=("Conv",))) == dict.fromkeys(("c0", "c1", "c2"), "OP_EXCLUDED")
    assert codes(plan_of(chain(), "c2", skip_first=True)) == {"c0": "FIRST_LAYER"}
    assert codes(plan_of(chain(), "c2", skip_last=True)) == {"c2": "LAST_LAYER"}


@pytest.mark.parametrize("option", ["exclude", "only", "exclude_op"])
def test_a_pattern_without_a_match_is_an_error_with_near_names(option):
    pattern = "Cnv" if option == "exclude_op" else "cc1"
    with pytest.raises(UsageError, match=pattern) as error:
        plan_of(chain(), "c2", **{option: (pattern,)})
    assert "Near names" in error.value.hint


def test_shape_computations_stay_float():
    net = Network()
    net.input("x", ("N", 8, 32))
    size = net.op("Cast", net.op("Shape", "x"), to=1)
    count = net.op("Slice", size, *(net.constant(np.array([k])) for k in (1, 2)))
    q = net.op("MatMul", "x", net.constant(net.weight(32, 32)), name="q")
    scaled = net.op("Div", q, net.op("Sqrt", count), name="scaled")
    shifted = net.add(scaled, net.op("Sqrt", count), "shifted")
    plan = plan_of(net, net.op("MatMul", shifted, net.constant(net.weight(32, 32)), name="r"))
    assert wanted(plan) == {"x": {"q:0"}, "shifted": {"r:0"}}


def test_what_is_quantized_already_is_left_alone():
    net = start()
    c1 = net.conv("x", 16, "c1")
    plan = plan_of(net, conv(net, net.relu(c1, "r"), name="c2"))
    assert codes(plan) == {"c1": "ALREADY_QUANTIZED"}
    assert wanted(plan) == {"r": {"c2:0"}}
    assert [w.tensor for w in plan.weights] == ["c2_w"]


def test_an_existing_scale_on_a_tensor_is_the_scale_of_its_group():
    net = start()
    net.conv("x", 16, "c1", scale=0.25)
    plan = plan_of(net, "c1", conv(net, "x", name="c2"))
    assert wanted(plan) == {"x": {"c2:0"}}
    assert plan.groups[0].known == Range.symmetric(0.25 * 127)
    assert plan.observed == ()


# --- what must not matter -----------------------------------------------------------------------------------------


def rich_network() -> tuple[Network, tuple[str, ...]]:
    net = start()
    stem = net.relu(conv(net, "x", name="stem"), "s")
    block = identity_block(net, stem, "b")
    joined = net.concat(net.maxpool(block, "p1"), net.maxpool(conv(net, block, name="side"), "p2"), name="cat")
    return net, (
        classifier(net, conv(net, joined, name="tail"), "GlobalAveragePool"),
        net.op("Softmax", stem, name="float"),
    )


@pytest.mark.parametrize("seed", range(5))
def test_t58_the_order_of_nodes_in_the_file_does_not_matter(seed):
    net, outputs = rich_network()
    expected = plan_of(net, *outputs)
    assert make_plan(prepare(shuffled(net.model(*outputs), seed)).model, TENSORRT) == expected


def test_planning_changes_nothing():
    net, outputs = rich_network()
    model = prepare(net.model(*outputs)).model
    before = ir.to_proto(model).SerializeToString()
    assert make_plan(model, TENSORRT) == make_plan(model, TENSORRT)
    assert ir.to_proto(model).SerializeToString() == before


def test_every_reason_has_a_sentence():
    assert all(code.isupper() and sentence and not sentence.endswith(".") for code, sentence in REASONS.items())


@pytest.mark.parametrize("close", ["Softmax", "Identity"])
def test_long_chains_of_residual_blocks_take_no_more_sweeps_than_short_ones(
    close: str, monkeypatch: pytest.MonkeyPatch
):
    """Each sweep visits every node, so planning stays linear in the length of the network."""
    sweeps = []
    sweep = Wants.leading_to_q

    def counted(wants: Wants, *arguments: Any) -> Any:
        sweeps[-1] += 1
        return sweep(wants, *arguments)

    monkeypatch.setattr(Wants, "leading_to_q", counted)
    for blocks in (10, 60):
        net = Network()
        x = net.conv(net.input("x", (1, 16, 8, 8)), 16, scale=None)
        for _ in range(blocks):
            x = net.add(net.relu(net.conv(x, 16, scale=None)), x)
        sweeps.append(0)
        plan = make_plan(prepare(net.model(net.op(close, x))).model, TENSORRT)
        assert len(plan.quantized) == blocks + 1
    assert sweeps[0] == sweeps[1]
