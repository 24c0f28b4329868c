"""The fusion cases of docs/rule-cases.md, and what the simulator says about each stand-alone Q and DQ."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.process.errors import ModelError
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import LayerKind, Simulation
from tests.networks import Network
from tests.targets.tensorrt.predictions import layer, left, types

INPUT = ("Q", "x", "BOUNDARY_INPUT")


def start(channels: int = 8, size: int = 8) -> tuple[Network, str]:
    net = Network()
    return net, net.input("x", (1, channels, size, size))


def result(net: Network, *outputs: str) -> Simulation:
    return simulate(net.model(*outputs))


def silu(net: Network, x: str, name: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x, name=f"{name}_sigmoid"), name=name)


def batch_norm(net: Network, x: str, name: str) -> str:
    channels = net._channels[x]
    operands = [net.constant(np.ones(channels, np.float32)) for _ in range(4)]
    return net.op("BatchNormalization", x, *operands, name=name)


def test_t01_one_convolution():
    net, x = start()
    found = result(net, net.conv(x, 8, "conv"))
    assert types(found, "conv") == "i8->f"
    assert left(found) == [INPUT]
    assert (found.weighted_quantized, found.weighted_total, found.conversions) == (1, 1, 1)


def test_t02_relu_and_q_fuse_into_the_convolution():
    net, x = start()
    found = result(net, net.conv(net.relu(net.conv(x, 8, "conv1"), "relu"), 8, "conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert layer(found, "conv1").nodes == ("conv1", "relu")
    assert types(found, "conv2") == "i8->f"
    assert left(found) == [INPUT]


def test_t03_batch_norm_between_convolution_and_relu():
    net, x = start()
    y = net.relu(batch_norm(net, net.conv(x, 8, "conv1"), "bn"), "relu")
    found = result(net, net.conv(y, 8, "conv2"))
    assert layer(found, "conv1").nodes == ("conv1", "bn", "relu")
    assert types(found, "conv1") == "i8->i8"


def test_t04_q_before_relu():
    net, x = start()
    y = net.relu(net.pair(net.conv(x, 8, "conv1")), "relu")
    found = result(net, net.conv(y, 8, "conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert layer(found, "relu").nodes == ("relu",)
    assert types(found, "relu") == "i8->i8"
    assert left(found) == [INPUT]


def test_t05_q_moves_back_over_maxpool():
    net, x = start()
    found = result(net, net.conv(net.maxpool(net.conv(x, 8, "conv1"), "pool"), 8, "conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert types(found, "pool") == "i8->i8"
    assert left(found) == [INPUT]


def test_t06_a_float_reader_of_maxpool_keeps_it_float():
    net, x = start()
    pool = net.maxpool(net.conv(x, 8, "conv1"), "pool")
    found = result(net, net.conv(pool, 8, "conv2"), net.add(pool, net.input("other", (1, 8, 4, 4)), "add"))
    assert types(found, "pool") == "f->f"
    assert types(found, "conv1") == "i8->f"
    assert left(found) == [("Q", "pool", "MIXED_FANOUT"), INPUT]


def identity_block(net: Network, x: str, *, quantized: bool) -> str:
    main = net.conv(net.relu(net.conv(x, 8, "conv1"), "relu1"), 8, "conv2")
    return net.relu(net.add(main, net.pair(x) if quantized else x, "add"), "relu2")


def test_t07_identity_block_with_a_quantized_residual():
    net, x = start()
    found = result(net, net.conv(identity_block(net, x, quantized=True), 8, "conv3"))
    assert types(found, "conv2") == "i8/i8->i8"
    assert layer(found, "conv2").nodes == ("conv2", "add", "relu2")
    assert left(found) == [INPUT]


def test_t08_identity_block_with_a_float_residual():
    net, x = start()
    found = result(net, net.conv(identity_block(net, x, quantized=False), 8, "conv3"))
    assert types(found, "conv2") == "i8/f->f"
    assert left(found) == [("Q", "relu2", "RESIDUAL_FLOAT"), INPUT]
    assert "'x'" in found.standalone[1].because and "P8" in found.standalone[1].remedy


@pytest.mark.parametrize("quantized", [False, True])
def test_t09_residual_before_a_graph_output(quantized):
    net, x = start()
    block = net.relu(net.conv(x, 8, "conv0"), "relu0")
    found = result(net, identity_block(net, block, quantized=quantized))
    if quantized:
        assert types(found, "conv0") == "i8->i8"
        assert left(found) == [("DQ", "relu0", "RESIDUAL_NOT_REQUANTIZED"), INPUT]
    else:
        assert types(found, "conv0") == "i8->f"
        assert left(found) == [("Q", "relu0", "MIXED_FANOUT"), INPUT]
    assert types(found, "conv2") == "i8/f->f"


def down_block(net: Network, x: str, *, shortcut: bool, main: bool, relu: bool = True) -> str:
    y = net.conv(net.relu(net.conv(x, 8, "conv1", stride=2)), 8, "conv2")
    side = net.conv(x, 8, "down", kernel=1, stride=2)
    y = net.add(net.pair(y) if main else y, net.pair(side) if shortcut else side, "add")
    return net.relu(y, "relu2") if relu else y


def test_t10_down_sample_block_with_a_pair_on_the_shortcut():
    net, x = start()
    found = result(net, net.conv(down_block(net, x, shortcut=True, main=False), 8, "conv3"))
    assert types(found, "down") == "i8->i8"
    assert types(found, "conv2") == "i8/i8->i8"
    assert left(found) == [INPUT]


def test_t11_down_sample_block_without_pairs():
    net, x = start()
    found = result(net, net.conv(down_block(net, x, shortcut=False, main=False), 8, "conv3"))
    assert types(found, "down") == "i8/f->f"
    assert layer(found, "down").nodes == ("down", "add", "relu2")
    assert "section 9" in layer(found, "down").uncertain
    assert types(found, "conv2") == "i8->f"
    assert left(found) == [("Q", "relu2", "RESIDUAL_FLOAT"), INPUT]


@pytest.mark.parametrize("relu", [False, True])
def test_t12_down_sample_block_with_both_pairs(relu):
    net, x = start()
    found = result(net, net.conv(down_block(net, x, shortcut=True, main=True, relu=relu), 8, "conv3"))
    assert types(found, "conv2") == types(found, "down") == "i8->i8"
    assert types(found, "add") == "i8/i8->i8"
    assert layer(found, "add").nodes == (("add", "relu2") if relu else ("add",))
    assert left(found) == [INPUT]


def test_t14_pooling_at_the_end():
    net, x = start()
    y = net.relu(net.add(net.conv(x, 8, "conv"), net.pair(x), "add"), "relu")
    y = net.op("Flatten", net.op("GlobalAveragePool", net.pair(y), name="gap"), name="flatten")
    found = result(net, net.gemm(y, 8, 4, "fc"))
    assert types(found, "gap") == types(found, "flatten") == "i8->i8"
    assert types(found, "add") == "i8/i8->i8"
    assert left(found) == [INPUT]


def test_t15_average_pool_with_a_float_reader():
    net, x = start()
    pool = net.op("AveragePool", net.pair(net.conv(x, 8, "conv")), name="pool", kernel_shape=[2, 2])
    found = result(net, net.op("Softmax", pool))
    assert types(found, "pool") == "f->f"
    assert left(found) == [("DQ", "conv", "NONCOMMUTING"), INPUT]


@pytest.mark.parametrize("shared", [False, True])
def test_t16_two_convolutions_on_one_tensor(shared):
    net, x = start()
    data = [net.pair(x, shared=shared) for _ in range(2)]
    made = [
        net.op("Conv", read, net.quantized_weight(net.weight(8, 8, 1, 1)), name=name)
        for read, name in zip(data, "ab", strict=True)
    ]
    found = result(net, *made)
    assert left(found) == [INPUT]
    assert types(found, "a") == types(found, "b") == "i8->f"


def test_t17_two_scales_on_one_tensor():
    net, x = start()
    stem = net.conv(x, 8, "stem")
    found = result(net, net.conv(stem, 8, "a", scale=0.5), net.conv(stem, 8, "b", scale=0.25))
    assert left(found) == [("Q", "stem", "SCALE_MISMATCH"), ("Q", "stem", "SCALE_MISMATCH"), INPUT]
    assert types(found, "stem") == "i8->f"


def test_t17_two_scales_on_a_graph_input_cost_one_kernel_more():
    net, x = start()
    found = result(net, net.conv(x, 8, "a", scale=0.5), net.conv(x, 8, "b", scale=0.25))
    assert left(found) == [INPUT, ("Q", "x", "SCALE_MISMATCH")]


def test_t18_concat_of_two_convolutions():
    net, x = start()
    both = net.concat(net.conv(x, 8, "a"), net.conv(x, 8, "b"), name="cat")
    found = result(net, net.conv(both, 8, "c"))
    assert types(found, "a") == types(found, "b") == "i8->i8"
    assert types(found, "cat") == "i8/i8->i8"
    assert left(found) == [INPUT]


@pytest.mark.parametrize("scale", [2.0**-5, 2.0**-4])
def test_t19_concat_input_that_another_convolution_reads(scale):
    net, x = start()
    a = net.conv(x, 8, "a")
    found = result(net, net.conv(net.concat(a, net.conv(x, 8, "b")), 8, "c"), net.conv(a, 8, "d", scale=scale))
    if scale == 2.0**-5:
        assert left(found) == [INPUT]
    else:
        assert types(found, "a") == "i8->f"
        assert left(found) == [("Q", "a", "SCALE_MISMATCH"), ("Q", "a", "SCALE_MISMATCH"), INPUT]


@pytest.mark.parametrize("equal", [False, True])
def test_t20_concat_of_dqs_with_a_float_reader(equal):
    net, x = start()
    a, b = net.conv(x, 8, "a"), net.conv(x, 8, "b")
    both = net.concat(net.pair(a, 0.5), net.pair(b, 0.5 if equal else 0.25), name="cat")
    found = result(net, net.op("Softmax", both, name="soft"))
    if equal:
        assert types(found, "cat") == "i8/i8->i8"
        assert left(found) == [("DQ", "cat", "FLOAT_CONSUMER"), INPUT]
    else:
        assert types(found, "cat") == "f/f->f"
        assert left(found) == [("DQ", "a", "SCALE_MISMATCH"), ("DQ", "b", "SCALE_MISMATCH"), INPUT]


def test_t21_concat_with_a_float_operator():
    net, x = start()
    a = net.conv(x, 8, "a")
    soft = net.op("Softmax", net.op("Transpose", a, name="move", perm=[0, 1, 3, 2]), name="soft")
    net._channels[soft] = 8
    found = result(net, net.conv(net.concat(soft, net.conv(x, 8, "b")), 8, "c"))
    assert left(found) == [("Q", "soft", "FLOAT_PRODUCER"), INPUT]
    assert types(found, "b") == "i8->i8"


def test_t22_silu_fuses_into_an_ordinary_convolution():
    net, x = start()
    found = result(net, net.conv(silu(net, net.conv(x, 8, "conv1"), "silu"), 8, "conv2"))
    assert layer(found, "conv1").nodes == ("conv1", "silu_sigmoid", "silu")
    assert types(found, "conv1") == "i8->i8"
    assert left(found) == [INPUT]


def test_t23_silu_does_not_fuse_into_a_depthwise_convolution():
    net, x = start()
    found = result(net, net.conv(silu(net, net.conv(x, 8, "conv1", group=8), "silu"), 8, "conv2"))
    assert types(found, "conv1") == "i8->f"
    assert types(found, "silu") == "f->f"
    assert left(found) == [("Q", "silu", "DEPTHWISE_ACT"), INPUT]


def test_t24_relu6_fuses_into_a_depthwise_convolution():
    net, x = start()
    found = result(net, net.conv(net.relu6(net.conv(x, 8, "conv1", group=8)), 8, "conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert left(found) == [INPUT]


def gelu(net: Network, x: str) -> str:
    half = net.op("Erf", net.op("Div", x, net.constant(np.float32(1.41421))))
    y = net.op("Mul", x, net.op("Add", half, net.constant(np.float32(1))))
    return net.op("Mul", y, net.constant(np.float32(0.5)), name="gelu")


@pytest.mark.parametrize("activation", ["LeakyRelu", "HardSwish", "Tanh", "gelu", "hard swish in pieces"])
def test_t25_other_activations_fuse(activation):
    net, x = start()
    y = net.conv(x, 8, "conv1")
    if activation == "gelu":
        y = gelu(net, y)
    elif activation == "hard swish in pieces":
        gate = net.relu6(net.op("Add", y, net.constant(np.float32(3))))
        y = net.op("Div", net.op("Mul", y, gate), net.constant(np.float32(6)))
    else:
        y = net.op(activation, y)
    net._channels[y] = 8
    found = result(net, net.conv(y, 8, "conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert left(found) == [INPUT]


@pytest.mark.parametrize("before", [False, True])
def test_t26_inner_zero_pad_becomes_int8(before):
    net, x = start()
    y = net.conv(x, 8, "conv1")
    pads = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    data = net.op("Pad", net.pair(y) if before else y, pads, name="pad")
    data = data if before else net.pair(data)
    weight = net.quantized_weight(net.weight(8, 8, 3, 3))
    found = result(net, net.op("Conv", data, weight, name="conv2"))
    assert types(found, "pad") == "i8->i8"
    assert types(found, "conv1") == "i8->i8"
    assert types(found, "conv2") == "i8->f"
    assert left(found) == [INPUT]


def test_t27_outer_zero_pad_of_an_nhwc_input_stays_float():
    net = Network()
    x = net.input("x", (1, 8, 8, 4))
    padded = net.op("Pad", x, net.constant(np.array([0, 1, 1, 0, 0, 1, 1, 0])), name="pad")
    y = net.op("Transpose", net.pair(padded), name="transpose", perm=[0, 3, 1, 2])
    found = result(net, net.op("Conv", y, net.quantized_weight(net.weight(8, 4, 3, 3)), name="conv"))
    assert types(found, "pad") == "f->f"
    assert types(found, "transpose") == "i8->i8"
    assert left(found) == [("Q", "pad", "BOUNDARY_INPUT")]


def test_t28_pad_with_another_value_is_not_crossed():
    net, x = start()
    y = net.conv(x, 8, "conv1")
    padded = net.op("Pad", y, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), net.constant(np.float32(1)), name="pad")
    found = result(net, net.conv(padded, 8, "conv2"))
    assert types(found, "conv1") == "i8->f"
    assert left(found) == [("Q", "pad", "NONCOMMUTING"), INPUT]
    assert "fill value" in found.standalone[1].because


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_t29_t30_resize(mode):
    net, x = start()
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    y = net.op("Resize", net.conv(x, 8, "conv1"), "", scales, name="resize", mode=mode)
    found = result(net, net.conv(y, 8, "conv2"))
    if mode == "nearest":
        assert types(found, "resize") == types(found, "conv1") == "i8->i8"
        assert layer(found, "resize").uncertain
        assert left(found) == [INPUT]
    else:
        assert types(found, "resize") == "f->f"
        assert types(found, "conv1") == "i8->f"
        assert left(found) == [("Q", "resize", "NONCOMMUTING"), INPUT]


def test_t31_split_with_both_parts_quantized():
    net, x = start()
    a, b = net.split(net.conv(x, 8, "stem"), 2, name="split")
    found = result(net, net.conv(a, 8, "a"), net.conv(b, 8, "b"))
    assert types(found, "stem") == types(found, "split") == "i8->i8"
    assert left(found) == [INPUT]


def test_t31_split_with_one_part_quantized():
    net, x = start()
    a, b = net.split(net.conv(x, 8, "stem"), 2, name="split")
    found = result(net, net.conv(a, 8, "a"), net.op("Softmax", b, name="soft"))
    assert types(found, "stem") == "i8->f"
    slices = [layer for layer in found.layers if layer.name == "split"]
    assert sorted(layer.quantized for layer in slices) == [False, True]
    assert left(found) == [("Q", "stem", "MIXED_FANOUT"), INPUT]


def test_t32_transpose_and_reshape_between_convolution_and_matmul():
    net, x = start()
    y = net.op("Transpose", net.conv(x, 8, "conv"), name="transpose", perm=[0, 2, 3, 1])
    y = net.op("Reshape", y, net.constant(np.array([64, 8])), name="reshape")
    found = result(net, net.op("MatMul", net.pair(y), net.quantized_weight(net.weight(8, 4), 1), name="matmul"))
    assert types(found, "conv") == types(found, "transpose") == types(found, "reshape") == "i8->i8"
    assert types(found, "matmul") == "i8->f"
    assert left(found) == [INPUT]


def attention(net: Network, x: str, *, quantized: bool) -> str:
    def project(name: str, perm: list[int]) -> str:
        y = net.op("MatMul", net.pair(x), net.quantized_weight(net.weight(8, 8), 1), name=name)
        y = net.op("Reshape", y, net.constant(np.array([1, 4, 2, 4])))
        return net.op("Transpose", y, perm=perm)

    q, k, v = project("q", [0, 2, 1, 3]), project("k", [0, 2, 3, 1]), project("v", [0, 2, 1, 3])
    on = net.pair if quantized else lambda tensor: tensor
    score = net.op("MatMul", on(q), on(k), name="bmm1")
    weights = net.op("Softmax", net.op("Mul", score, net.constant(np.float32(0.5))), name="softmax")
    return net.op("MatMul", on(weights), on(v), name="bmm2")


@pytest.mark.parametrize("quantized", [False, True])
def test_t46_attention(quantized):
    net = Network()
    found = result(net, attention(net, net.input("x", (1, 4, 8)), quantized=quantized))
    if quantized:
        assert [types(found, name) for name in "qkv"] == ["i8->i8"] * 3
        assert [types(found, name) for name in ("bmm1", "bmm2")] == ["i8/i8->f"] * 2
        assert left(found) == [("Q", "softmax", "FLOAT_PRODUCER"), INPUT]
        assert "fused attention" in found.standalone[-1].uncertain
    else:
        assert [types(found, name) for name in "qkv"] == ["i8->f"] * 3
        assert [types(found, name) for name in ("bmm1", "bmm2")] == ["f/f->f"] * 2
        assert (found.weighted_quantized, found.weighted_total) == (3, 5)
        assert left(found) == [INPUT]


def test_t47_layer_norm_in_front_of_three_products():
    net = Network()
    x = net.op("MatMul", net.input("x", (4, 8)), net.constant(net.weight(8, 8)), name="stem")
    y = net.op("LayerNormalization", x, net.constant(np.ones(8, np.float32)), name="norm")
    made = [net.op("MatMul", net.pair(y), net.quantized_weight(net.weight(8, 8), 1), name=name) for name in "abc"]
    found = result(net, *made)
    assert [types(found, name) for name in "abc"] == ["i8->f"] * 3
    assert left(found) == [("Q", "norm", "FLOAT_PRODUCER")]


def test_t48_a_recurrent_network_stays_float():
    net = Network()
    x = net.input("x", (5, 1, 8))
    operands = [net.constant(net.weight(1, 16, 8)), net.constant(net.weight(1, 16, 4))]
    net.op("LSTM", x, *operands, name="lstm", hidden_size=4)
    flat = net.op("Reshape", "lstm", net.constant(np.array([5, 4])), name="flat")
    found = result(net, net.op("MatMul", net.pair(flat), net.quantized_weight(net.weight(4, 2), 1), name="fc"))
    assert not layer(found, "lstm").quantized
    assert types(found, "fc") == "i8->f"
    assert left(found) == [("Q", "lstm", "FLOAT_PRODUCER")]


def test_t49_a_graph_output_that_a_convolution_reads_too():
    net, x = start()
    y = net.relu(net.conv(x, 8, "conv1"), "relu")
    found = result(net, net.conv(y, 8, "conv2"), y)
    assert types(found, "conv1") == "i8->f"
    assert left(found) == [("Q", "relu", "MIXED_FANOUT"), INPUT]
    assert "graph output" in found.standalone[1].because


def test_t59_spatial_pyramid_pooling():
    net, x = start()
    y = net.conv(x, 8, "conv1")
    pools = [y]
    for number in range(3):
        pools.append(net.maxpool(pools[-1], f"pool{number}", kernel=3, stride=1, pad=1))
    found = result(net, net.conv(net.concat(*pools, name="cat"), 8, "conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert all(types(found, f"pool{number}") == "i8->i8" for number in range(3))
    assert left(found) == [INPUT]


def bottleneck(net: Network, x: str, *, main: bool) -> str:
    stem = silu(net, net.conv(x, 8, "conv0"), "silu0")
    y = silu(net, net.conv(silu(net, net.conv(stem, 8, "conv1"), "silu1"), 8, "conv2"), "silu2")
    return net.add(net.pair(stem), net.pair(y) if main else y, "add")


def test_t61_yolo_bottleneck_with_both_operands_quantized():
    net, x = start()
    found = result(net, net.conv(bottleneck(net, x, main=True), 8, "conv3"))
    assert types(found, "add") == "i8/i8->i8"
    assert types(found, "conv2") == "i8->i8"
    assert left(found) == [INPUT]


def test_t61_yolo_bottleneck_with_one_operand_quantized():
    net, x = start()
    found = result(net, net.conv(bottleneck(net, x, main=False), 8, "conv3"))
    assert types(found, "add") == "i8/f->f" or types(found, "add") == "f/f->f"
    assert left(found) == [("DQ", "silu0", "FLOAT_CONSUMER"), ("Q", "add", "FLOAT_PRODUCER"), INPUT]


def test_t62_pre_activation_residual():
    net, x = start()
    stem = net.conv(x, 8, "stem")
    branch = net.conv(net.relu(batch_norm(net, stem, "bn1")), 8, "conv1")
    y = net.add(stem, branch, "add")
    y2 = net.conv(net.relu(batch_norm(net, y, "bn2"), "relu2"), 8, "conv2")
    found = result(net, net.add(y, y2, "add2"))
    assert types(found, "stem") == "i8->f"
    assert types(found, "conv1") == "i8/f->f"
    assert types(found, "conv2") == "i8/f->f"
    assert ("Q", "relu2", "FLOAT_PRODUCER") in left(found)


# What the table of docs/rule-cases.md leaves out.


def test_unquantized_convolutions_fuse_but_stay_float():
    net, x = start()
    y = net.relu(net.conv(x, 8, "conv1", scale=None), "relu")
    found = result(net, net.conv(y, 8, "conv2"))
    assert layer(found, "conv1").nodes == ("conv1", "relu")
    assert types(found, "conv1") == "f->f"
    assert "A31" in layer(found, "conv1").because[0]
    assert left(found) == [("Q", "relu", "FLOAT_PRODUCER")]


def test_activation_pair_without_quantized_weight_leaves_the_convolution_float():
    net, x = start()
    y = net.relu(net.conv(x, 8, "conv1"), "relu")
    found = result(net, net.op("Conv", net.pair(y), net.constant(net.weight(8, 8, 1, 1), "plain"), name="conv2"))
    assert types(found, "conv2") == "f->f"
    assert "'plain'" in layer(found, "conv2").because[0]
    assert left(found) == [("DQ", "relu", "FLOAT_CONSUMER"), INPUT]


def test_quantized_weight_without_activation_pair_folds():
    net, x = start()
    found = result(net, net.op("Conv", x, net.quantized_weight(net.weight(8, 8, 1, 1)), name="conv"))
    assert types(found, "conv") == "f->f"
    assert left(found) == []


def test_int8_weights_behind_dq_alone_count_as_quantized():
    net, x = start()
    codes = net.constant(np.ones((8, 8, 1, 1), np.int8), "codes")
    weight = net.dequantize(codes, np.full(8, 0.5), axis=0)
    found = result(net, net.op("Conv", net.pair(x), weight, name="conv"))
    assert types(found, "conv") == "i8->f"
    assert left(found) == [INPUT]


def test_four_bit_weights_compute_in_float():
    net = Network(21)
    x = net.input("x", (4, 8))
    weight = net.constant(net.weight(8, 8))
    scale = net.constant(np.float32(0.5))
    codes = net.op("QuantizeLinear", weight, scale, output_dtype=int(TensorProto.INT4))
    found = result(net, net.op("MatMul", net.pair(x), net.op("DequantizeLinear", codes, scale), name="matmul"))
    assert "INT4" in layer(found, "matmul").because[0]


@pytest.mark.parametrize(("group", "per_group", "doubted"), [(8, 1, True), (2, 4, False), (4, 4, True), (1, 8, False)])
def test_a_grouped_deconvolution_without_a_documented_kernel_is_uncertain(group, per_group, doubted):
    net, x = start()
    weight = net.quantized_weight(net.weight(8, per_group, 2, 2), None)
    found = result(net, net.op("ConvTranspose", net.pair(x), weight, name="up", group=group))
    assert ("A34" in layer(found, "up").uncertain) is doubted


def test_a_shuffle_between_a_weights_dq_and_its_operator_is_uncertain():
    net = Network()
    x = net.input("x", (4, 8))
    weight = net.op("Transpose", net.quantized_weight(net.weight(8, 8), 0), perm=[1, 0])
    found = result(net, net.op("MatMul", net.pair(x), weight, name="matmul"))
    assert types(found, "matmul") == "i8->f"
    assert "A22" in layer(found, "matmul").uncertain
    assert left(found) == [INPUT]


def test_constants_behind_q_and_dq_fold_where_they_are_no_weights():
    net, x = start()
    shift = net.quantized_weight(net.weight(1, 8, 1, 1), None)
    y = net.add(net.conv(x, 8, "conv1"), shift, "shift")
    found = result(net, net.conv(y, 8, "conv2"))
    assert layer(found, "conv1").nodes == ("conv1", "shift")
    assert types(found, "conv1") == "i8->i8"
    assert left(found) == [INPUT]


def test_identity_and_dropout_are_gone_and_shape_computations_read_nothing():
    net, x = start()
    y = net.op("Identity", net.op("Dropout", net.conv(x, 8, "conv1")))
    net._channels[y] = 8
    shape = net.op("Concat", net.op("Shape", y, name="shape", end=2), net.constant(np.array([64])), name="join", axis=0)
    y = net.op("Reshape", net.op("Reshape", y, shape, name="flat"), net.constant(np.array([1, 8, 8, 8])), name="back")
    net._channels[y] = 8
    found = result(net, net.conv(y, 8, "conv2"))
    assert [layer.name for layer in found.layers] == ["conv1", "flat", "back", "conv2"]
    assert left(found) == [INPUT]


def test_deconvolution_absorbs_a_q_without_activation_only():
    def build(relu: bool) -> Network:
        net, x = start()
        weight = net.quantized_weight(net.weight(8, 8, 2, 2), None, "w")
        y = net.op("ConvTranspose", net.pair(x), weight, name="deconv", strides=[2, 2])
        net._channels[y] = 8
        y = net.relu(y, "relu") if relu else y
        net.conv(y, 8, "conv")
        return net

    plain, activated = simulate(build(False).model("conv")), simulate(build(True).model("conv"))
    assert types(plain, "deconv") == "i8->i8" and layer(plain, "deconv").uncertain
    assert types(activated, "deconv") == "i8->f"
    assert left(activated) == [("Q", "relu", "DECONV"), INPUT]
    hopeful = simulate(build(True).model("conv"), deconv_absorbs_q=True)
    assert left(hopeful) == [INPUT]


def test_a_requantization_is_one_rescaling_kernel():
    net, x = start()
    y = net.pair(net.pair(net.conv(x, 8, "conv1"), 0.5), 0.25)
    weight = net.quantized_weight(net.weight(8, 8, 1, 1))
    found = result(net, net.op("Conv", y, weight, name="conv2"))
    assert types(found, "conv1") == "i8->i8"
    assert left(found) == [("Q", "conv1", "SCALE_MISMATCH"), INPUT]
    assert found.standalone[1].uncertain


def test_a_broadcast_operand_is_no_residual():
    net, x = start()
    side = net.op("GlobalAveragePool", net.conv(x, 8, "other"), name="gap")
    found = result(net, net.add(net.conv(x, 8, "conv"), side, "add"))
    assert layer(found, "conv").nodes == ("conv",)
    assert layer(found, "add").kind is LayerKind.POINTWISE


def test_pointwise_nodes_on_one_level_join_and_never_close_a_cycle():
    net, x = start()
    a = net.op("Tanh", x, name="a")
    b, c = net.op("Abs", a, name="b"), net.op("Neg", a, name="c")
    net._channels[b] = 8
    inner = net.conv(b, 8, "conv", scale=None)
    found = result(net, net.op("Mul", inner, net.op("Sub", c, x, name="late"), name="join"))
    groups = [layer.nodes for layer in found.layers if layer.kind is LayerKind.POINTWISE]
    assert sorted(groups) == [("a",), ("b",), ("c", "late", "join")]


def test_pooling_result_that_two_read_is_not_int8():
    net, x = start()
    pool = net.op("GlobalAveragePool", net.pair(net.conv(x, 8, "conv")), name="gap")
    net._channels[pool] = 8
    found = result(net, net.conv(pool, 8, "gate", kernel=1), net.op("Softmax", pool))
    assert types(found, "gap") == "f->f"
    assert left(found) == [("DQ", "conv", "NONCOMMUTING"), ("Q", "gap", "MIXED_FANOUT"), INPUT]


def test_an_int8_network_has_no_boundary():
    net = Network()
    x = net.input("x", (1, 8, 8, 8), TensorProto.INT8)
    y = net.op("Conv", net.dequantize(x, name="dq"), net.quantized_weight(net.weight(8, 8, 1, 1)), name="conv")
    codes = net.quantize(y, name="codes")
    found = simulate(net.model(codes, output_types={"codes": TensorProto.INT8}))
    assert types(found, "conv") == "i8->i8"
    assert found.standalone == ()


def test_a_dq_that_makes_a_graph_output_is_a_boundary():
    net, x = start()
    found = result(net, net.pair(net.conv(x, 8, "conv")))
    assert types(found, "conv") == "i8->i8"
    assert left(found) == [("DQ", "conv", "BOUNDARY_OUTPUT"), INPUT]
    assert not found.removable


def test_dq_counts_once_for_each_float_reader():
    net, x = start()
    y = net.pair(net.conv(x, 8, "conv"))
    found = result(net, net.op("Softmax", y, name="a"), net.op("Softmax", y, name="b", axis=1))
    assert [(entry.consumer, entry.reason.value) for entry in found.removable] == [
        ("a", "FLOAT_CONSUMER"),
        ("b", "FLOAT_CONSUMER"),
    ]


def test_gemm_and_matmul_with_bias_are_the_same():
    def build(gemm: bool) -> Simulation:
        net = Network()
        x = net.input("x", (4, 8))
        if gemm:
            y = net.gemm(x, 8, 8, "fc")
        else:
            product = net.op("MatMul", net.pair(x), net.quantized_weight(net.weight(8, 8), 1), name="fc")
            y = net.add(product, net.constant(net.weight(8)), "bias")
        return result(net, net.gemm(net.relu(y), 8, 2, "fc2"))

    assert types(build(True), "fc") == types(build(False), "fc") == "i8->i8"


def test_scales_of_one_element_are_per_tensor_whatever_their_rank():
    net, x = start()
    data = net.dequantize(net.quantize(x, np.full(1, 0.5)), np.full(1, 0.5))
    found = result(net, net.op("Conv", data, net.quantized_weight(net.weight(8, 8, 1, 1)), name="conv"))
    assert types(found, "conv") == "i8->f"


def test_weighted_operators_in_bodies_count_as_float():
    net, x = start()
    model = net.model(net.conv(x, 8, "conv"))
    inner_input = ir.Value(name="inner_in")
    inner = ir.Node("", "MatMul", [inner_input, inner_input], outputs=[ir.Value(name="inner_out")])
    body = ir.Graph([inner_input], [inner.outputs[0]], nodes=[inner], name="body")
    loop = ir.Node("", "Loop", [], attributes=[ir.AttrGraph("body", body)], outputs=[ir.Value(name="loop_out")])
    model.graph.append(loop)
    model.graph.outputs.append(loop.outputs[0])
    assert simulate(model).weighted_total == 2


def test_a_cycle_is_an_error():
    net, x = start()
    model = net.model(net.relu(net.op("Tanh", x, name="first"), "second"))
    model.graph.node("first").replace_input_with(0, model.graph.node("second").outputs[0])
    with pytest.raises(ModelError, match="cycle"):
        simulate(model)


def test_nodes_without_names_are_called_by_operator_and_output():
    net, x = start()
    model = net.model(net.conv(x, 8, "y"))
    for node in model.graph:
        node.name = None
    found = simulate(model)
    assert [layer.name for layer in found.layers] == ["Conv_y"]
    assert found.standalone[0].nodes == ("QuantizeLinear_x_QuantizeLinear",)


def test_a_reader_in_a_body_joins_no_kernel_outside():
    """A Relu that an If alone reads the convolution with runs in the If, or not at all."""
    net, x = start(16)
    made = net.conv(x, 16, "made")
    inside = helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Relu", [made], ["inside"], name="relu")], "body", [], [inside])
    value = helper.make_tensor_value_info("kept", TensorProto.FLOAT, None)
    other = helper.make_graph([helper.make_node("Constant", [], ["kept"], value_floats=[0.0])], "other", [], [value])
    flag = net.input("flag", (), TensorProto.BOOL)
    net.op("If", flag, name="choice", then_branch=body, else_branch=other)
    found = simulate(net.model("choice"))
    assert layer(found, "made").nodes == ("made",)
