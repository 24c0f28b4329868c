"""Small networks for the laws of channel classes, each with the tensors that can be scaled in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from tests.networks import Network

C = 4


class Net(Network):
    """Operators that the plain builder does not need."""

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def image(self, channels: int = C, size: int = 6, batch: int | str = 2) -> str:
        return "x" if "x" in self._channels else self.input("x", (batch, channels, size, size))

    def first(self, channels: int = C, size: int = 6) -> str:
        """A convolution of an image: the tensor `a`, all of whose channels can be scaled."""
        return self.conv(self.image(size=size), channels, "a", scale=None)

    def second(self, channels: int = C, name: str = "b", size: int = 6) -> str:
        """Another convolution of the same image."""
        return self.conv(self.image(size=size), channels, name, scale=None)

    def last(self, x: str, channels: int = 3) -> str:
        return self.conv(x, channels, "y", scale=None)

    def matmul(self, x: str, inputs: int, out: int, name: str | None = None) -> str:
        return self.op("MatMul", x, self.constant(self.weight(inputs, out)), name=name)

    def deconv(self, x: str, channels: int, name: str | None = None, *, group: int = 1) -> str:
        weight = self.constant(self.weight(self._channels[x], channels // group, 2, 2))
        name = self.op(
            "ConvTranspose", x, weight, self.constant(self.weight(channels)), name=name, strides=[2, 2], group=group
        )
        self._channels[name] = channels
        return name


def plain(net: Net) -> tuple[str, set[str]]:
    return net.last(net.relu(net.first(), "r")), {"a", "r"}


def relu6(net: Net) -> tuple[str, set[str]]:
    """A ReLU6 cuts at a fixed value, so nothing is scaled across it; what lies between others is."""
    b = net.conv(net.relu6(net.first(), "r"), C, "b", scale=None)
    return net.last(net.relu(b, "s")), {"b", "s"}


def depthwise(net: Net) -> tuple[str, set[str]]:
    d = net.conv(net.relu(net.first(), "r"), C, "d", group=C, scale=None)
    return net.last(net.relu(d, "s")), {"a", "r", "d", "s"}


def depthwise_relu6(net: Net) -> tuple[str, set[str]]:
    d = net.conv(net.relu6(net.first(), "r"), C, "d", group=C, scale=None)
    return net.last(net.relu6(d, "s")), set()


def grouped(net: Net) -> tuple[str, set[str]]:
    d = net.conv(net.relu(net.first(6), "r"), 4, "d", group=2, scale=None)
    return net.last(d), {"a", "r", "d"}


def multiplied_depthwise(net: Net) -> tuple[str, set[str]]:
    return net.last(net.conv(net.first(), 2 * C, "d", group=C, scale=None)), {"a", "d"}


def leaky(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("LeakyRelu", net.first(), name="r", alpha=0.25)), {"a", "r"}


def prelu(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("PRelu", net.first(), net.constant(net.weight(C, 1, 1)), name="r")), {"a", "r"}


def prelu_with_a_computed_slope(net: Net) -> tuple[str, set[str]]:
    slope = net.second(C, "slope")
    return net.last(net.op("PRelu", net.first(), slope, name="r")), {"a", "r"}


def pools(net: Net) -> tuple[str, set[str]]:
    m = net.maxpool(net.first(), "m")
    p = net.op("AveragePool", m, name="p", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    return net.last(p), {"a", "m", "p"}


def head(trans_b: int) -> Callable[[Net], tuple[str, set[str]]]:
    def classifier(net: Net) -> tuple[str, set[str]]:
        f = net.op("Flatten", net.op("GlobalAveragePool", net.first(), name="p"), name="f")
        weight = net.weight(5, C) if trans_b else net.weight(C, 5)
        return net.op("Gemm", f, net.constant(weight), net.constant(net.weight(5)), name="y", transB=trans_b), {
            "a",
            "p",
            "f",
        }

    return classifier


def flattened(net: Net) -> tuple[str, set[str]]:
    f = net.op("Flatten", net.relu(net.first(), "r"), name="f")
    g = net.relu(net.gemm(f, C * 36, 5, "g", scale=None), "h")
    return net.gemm(g, 5, 3, "y", scale=None), {"a", "r", "f", "g", "h"}


def gemm_with_a_row_of_biases(net: Net) -> tuple[str, set[str]]:
    x = net.input("x", (2, 5))
    weight, bias = net.constant(net.weight(5, 4)), net.constant(net.weight(1, 4))
    g = net.op("Gemm", x, weight, bias, name="g", alpha=0.5, beta=2.0)
    return net.matmul(g, 4, 3, "y"), {"g"}


def gemm_with_a_column_of_biases(net: Net) -> tuple[str, set[str]]:
    """One bias a sample, and as many samples as channels."""
    x = net.input("x", (4, 5))
    g = net.op("Gemm", x, net.constant(net.weight(5, 4)), net.constant(net.weight(4, 1)), name="g")
    return net.matmul(g, 4, 3, "y"), set()


def gemm_that_adds_a_computed_tensor(net: Net) -> tuple[str, set[str]]:
    x = net.input("x", (2, 5))
    other = net.matmul(x, 5, 4, "other")
    g = net.op("Gemm", x, net.constant(net.weight(5, 4)), other, name="g")
    return net.matmul(g, 4, 3, "y"), set()


def conv_with_a_computed_bias(net: Net) -> tuple[str, set[str]]:
    v = net.input("v", (1, 5))
    bias = net.op("Reshape", net.matmul(v, 5, C, "m"), net.ints(C), name="bias")
    a = net.op("Conv", net.image(), net.constant(net.weight(C, C, 3, 3)), bias, name="a")
    net._channels["a"] = C
    return net.last(a), set()


def gemm_of_transposed_data(net: Net) -> tuple[str, set[str]]:
    x = net.input("x", (4, 4))
    a = net.matmul(x, 4, 4, "a")
    return net.op("Gemm", a, net.constant(net.weight(4, 3)), name="y", transA=1), set()


def scalar_result(net: Net) -> tuple[str, set[str]]:
    """A model that returns one number."""
    x = net.input("x", (1, 5))
    g = net.op("Reshape", net.relu(net.gemm(x, 5, 1, "g", scale=None), "r"), net.constant(np.zeros(0, np.int64)))
    return net.op("Exp", g, name="y"), set()


def joined(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    b = net.second(2)
    return net.last(net.concat(a, "x", b, name="c")), {"a", "b", "c"}


def split(net: Net) -> tuple[str, set[str]]:
    left, right = net.split(net.first(), 2, name="s")
    b = net.relu(net.concat(right, left, name="c"), "r")
    return net.last(b), {"a", "s_0", "s_1", "c", "r"}


def split_over_space(net: Net) -> tuple[str, set[str]]:
    parts = net.split(net.first(), 2, axis=-1, name="s")
    net._channels[parts[0]] = net._channels[parts[1]] = C
    joined = net.op("Concat", *parts, name="c", axis=3)
    net._channels["c"] = C
    return net.last(joined), {"a", "s_0", "s_1", "c"}


def sliced(*numbers: list[int], kept: int) -> Callable[[Net], tuple[str, set[str]]]:
    """Slice(starts, ends, axes, steps)."""

    def network(net: Net) -> tuple[str, set[str]]:
        s = net.op("Slice", net.first(8), *(net.ints(*part) for part in numbers), name="s")
        net._channels["s"] = kept
        return net.last(s), {"a", "s"}

    return network


def sliced_backwards(net: Net) -> tuple[str, set[str]]:
    s = net.op("Slice", net.first(), net.ints(-1), net.ints(-100), net.ints(1), net.ints(-1), name="s")
    return net.last(s), set()


def residual(net: Net) -> tuple[str, set[str]]:
    a = net.relu(net.first(), "r")
    b = net.conv(a, C, "b", scale=None)
    s = net.add(a, b, "s")
    return net.last(net.relu(s, "t")), {"a", "r", "b", "s", "t"}


def residual_of_the_input(net: Net) -> tuple[str, set[str]]:
    return net.last(net.add(net.first(), "x", "s")), set()


def added_over_space(net: Net) -> tuple[str, set[str]]:
    p = net.op("GlobalAveragePool", net.second(), name="p")
    return net.last(net.op("Sub", net.first(), p, name="s")), {"a", "b", "p", "s"}


def with_constant(op_type: str, shape: tuple[int, ...], *free: str, first: bool = False):
    """A constant of some shape, added or multiplied."""

    def network(net: Net) -> tuple[str, set[str]]:
        operands = [net.first(), net.constant(net.weight(*shape) + np.float32(1 / 16))]
        net.op(op_type, *(reversed(operands) if first else operands), name="s")
        net._channels["s"] = C
        return net.last("s"), set(free)

    return network


def zeros_of_a_higher_rank(net: Net) -> tuple[str, set[str]]:
    """As many samples as channels: the new axis 1 is not that of the channels."""
    s = net.add(net.first(2), net.constant(np.zeros((1, 1, 1, 1, 1), np.float32)), "s")
    t = net.op("Transpose", s, name="t", perm=[0, 2, 3, 4, 1])
    return net.matmul(t, 2, 3, "y"), set()


def zeros_that_spread_a_channel(net: Net) -> tuple[str, set[str]]:
    s = net.add(net.first(1), net.constant(np.zeros((1, C, 1, 1), np.float32)), "s")
    net._channels["s"] = C
    return net.last(s), set()


def constant_of_a_higher_rank(net: Net) -> tuple[str, set[str]]:
    """A vector of channels, and a column of as many numbers: the channels are along its rows."""
    v = net.op("Reshape", net.matmul(net.input("x", (1, 5)), 5, C, "m"), net.ints(C), name="v")
    t = net.op("Transpose", net.add(v, net.constant(net.weight(C, 1)), "s"), name="t", perm=[1, 0])
    return net.matmul(t, C, 3, "y"), set()


def product_that_spreads_a_channel(net: Net) -> tuple[str, set[str]]:
    s = net.op("Mul", net.first(1), net.constant(net.weight(1, C, 1, 1)), name="s")
    net._channels["s"] = C
    return net.last(s), set()


def gate(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    p = net.conv(net.op("GlobalAveragePool", a, name="p"), 2, "q", kernel=1, scale=None)
    g = net.op("Sigmoid", net.conv(net.relu(p, "r"), C, "e", kernel=1, scale=None), name="g")
    return net.last(net.op("Mul", a, g, name="s")), {"a", "p", "q", "r", "s"}


def linear_gate(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    g = net.op("GlobalAveragePool", net.second(), name="g")
    return net.last(net.op("Mul", g, a, name="s")), {"a", "s"}


def silu(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    b = net.conv(net.op("Mul", a, net.op("Sigmoid", a, name="g"), name="s"), C, "b", scale=None)
    return net.last(b), {"b"}


def square(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    return net.last(net.op("Mul", a, a, name="s")), set()


def divided(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Div", net.first(), net.constant(np.float32(4)), name="s")), {"a", "s"}


def divides(net: Net) -> tuple[str, set[str]]:
    denominator = net.op("Add", net.op("Abs", net.first()), net.constant(np.float32(1)))
    return net.last(net.op("Div", "x", denominator, name="s")), set()


def quotient_of_two(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Div", net.first(), net.op("Exp", "x"), name="s")), set()


def softmax(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Softmax", net.first(), name="s", axis=1)), set()


def largest_of_two(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Max", net.first(), net.second(), name="s")), {"a", "b", "s"}


def smallest_with_a_constant(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Min", net.first(), net.constant(np.float32(0.5)), name="s")), set()


def clip_from_below(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Clip", net.first(), net.constant(np.float32(0)), name="s")), {"a", "s"}


def clip_from_above(net: Net) -> tuple[str, set[str]]:
    return net.last(net.op("Clip", net.first(), "", net.constant(np.float32(1)), name="s")), set()


def tokens(net: Net) -> tuple[str, set[str]]:
    """Patches as a vision transformer makes them: channels become the last axis."""
    r = net.op("Reshape", net.first(), net.ints(2, C, 36), name="r")
    t = net.op("Transpose", r, name="t", perm=[0, 2, 1])
    return net.matmul(t, C, 3, "y"), {"a", "r", "t"}


def normed(net: Net) -> tuple[str, set[str]]:
    x = net.input("x", (2, 5, 8))
    n = net.op("LayerNormalization", x, net.constant(net.weight(8)), net.constant(net.weight(8)), name="n", axis=-1)
    q = net.matmul(n, 8, 6, "q")
    k = net.add(net.matmul(n, 8, 6, "m"), net.constant(net.weight(6)), "k")
    return net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1]), name="y"), {"n"}


def normed_by_one_gain(net: Net) -> tuple[str, set[str]]:
    x = net.input("x", (2, 5, 8))
    n = net.op("LayerNormalization", x, net.constant(net.weight(1)), name="n")
    return net.matmul(n, 8, 3, "y"), set()


def bias_behind_matmul(net: Net) -> tuple[str, set[str]]:
    m = net.add(net.constant(net.weight(1, 1, 6)), net.matmul(net.input("x", (2, 5, 4)), 4, 6, "m"), "s")
    return net.matmul(net.relu(m, "r"), 6, 3, "y"), {"m", "s", "r"}


def matmul_over_another_axis(net: Net) -> tuple[str, set[str]]:
    """A convolution's channels are axis 1; MatMul reads the last one, of the same size."""
    return net.matmul(net.first(6), 6, 3, "y"), set()


def mixed_axes(net: Net) -> tuple[str, set[str]]:
    """Channels turned to another axis of the same size and added to what is not turned."""
    t = net.op("Transpose", net.second(6), name="t", perm=[0, 2, 1, 3])
    s = net.add(net.first(6), t, "s")
    net._channels["s"] = 6
    return net.last(s), set()


def pooled_over_channels(op_type: str, kept: int = 6, **attributes: object) -> Callable[[Net], tuple[str, set[str]]]:
    """An operator over axes 2 and 3, where a Transpose put the channels."""

    def network(net: Net) -> tuple[str, set[str]]:
        t = net.op("Transpose", net.first(6), name="t", perm=[0, 3, 2, 1])
        p = net.op(op_type, t, name="p", **attributes)
        return net.matmul(p, kept, 3, "y"), set()

    return network


def padded_over_channels(net: Net) -> tuple[str, set[str]]:
    """Channels turned to the back, one cut off and a zero put before them."""
    t = net.op("Transpose", net.first(6), name="t", perm=[0, 2, 3, 1])
    return net.matmul(net.op("Pad", t, net.ints(0, 0, 0, 1, 0, 0, 0, -1), name="p"), 6, 3, "y"), set()


def resized_over_channels(net: Net) -> tuple[str, set[str]]:
    t = net.op("Transpose", net.first(6), name="t", perm=[0, 2, 3, 1])
    scales = net.constant(np.array([1, 1, 1, 2], np.float32))
    return net.matmul(net.op("Resize", t, "", scales, name="p", mode="nearest"), 12, 3, "y"), set()


def padded(fill: float | None, mode: str = "constant") -> Callable[[Net], tuple[str, set[str]]]:
    def network(net: Net) -> tuple[str, set[str]]:
        fills = [] if fill is None else [net.constant(np.float32(fill))]
        p = net.op("Pad", net.first(), net.ints(0, 0, 1, 0, 0, 0, 0, 1), *fills, name="p", mode=mode)
        return net.last(p), {"a", "p"} if not fill and mode == "constant" else set()

    return network


def padded_channels(net: Net) -> tuple[str, set[str]]:
    p = net.op("Pad", net.first(), net.ints(0, 1, 0, 0, 0, 1, 0, 0), name="p")
    net._channels["p"] = C + 2
    return net.last(p), set()


def resized(mode: str) -> Callable[[Net], tuple[str, set[str]]]:
    def network(net: Net) -> tuple[str, set[str]]:
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        return net.last(net.op("Resize", net.first(), "", scales, name="p", mode=mode)), {"a", "p"}

    return network


def deconvolutions(net: Net) -> tuple[str, set[str]]:
    b = net.deconv(net.relu(net.first(6), "r"), 4, "b", group=2)
    c = net.deconv(b, 4, "c", group=4)
    return net.last(net.deconv(c, 5, "d")), {"a", "r", "b", "c", "d"}


def shared_weight(net: Net) -> tuple[str, set[str]]:
    weight = net.constant(net.weight(C, C, 3, 3), "w")
    a = net.op("Conv", net.image(), weight, name="a", pads=[1] * 4)
    b = net.op("Conv", a, weight, name="b", pads=[1] * 4)
    net._channels["b"] = C
    return net.last(b), set()


def shared_bias(net: Net) -> tuple[str, set[str]]:
    bias = net.constant(net.weight(C), "bias")
    a = net.op("Conv", net.image(), net.constant(net.weight(C, C, 3, 3)), bias, name="a", pads=[1] * 4)
    b = net.op("Conv", a, net.constant(net.weight(C, C, 3, 3)), bias, name="b", pads=[1] * 4)
    net._channels["b"] = C
    return net.last(b), set()


def shared_bias_of_zeros(net: Net) -> tuple[str, set[str]]:
    bias = net.constant(np.zeros(C, np.float32), "bias")
    a = net.op("Conv", net.image(), net.constant(net.weight(C, C, 3, 3)), bias, name="a", pads=[1] * 4)
    b = net.op("Conv", a, net.constant(net.weight(C, C, 3, 3)), bias, name="b", pads=[1] * 4)
    net._channels["b"] = C
    return net.last(b), {"a", "b"}


def three_readers(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    y = net.add(net.last(a), net.conv(a, 3, "z", scale=None), "s")
    return net.op("Exp", net.op("ReduceMean", y, name="m", axes=[2, 3])), {"a"}


def reduced(axes: list[int], keepdims: int, free: set[str]) -> Callable[[Net], tuple[str, set[str]]]:
    def network(net: Net) -> tuple[str, set[str]]:
        m = net.op("ReduceMean", net.first(), name="m", axes=axes, keepdims=keepdims)
        if keepdims:
            net._channels["m"] = 1 if 1 in axes or -3 in axes else C
            return net.last(m), free
        return (net.matmul(m, C, 3, "y") if free else net.op("Exp", m, name="y")), free

    return network


def sum_over_all_axes(net: Net) -> tuple[str, set[str]]:
    s = net.op("ReduceSum", net.first(), net.ints(), name="s")
    net._channels["s"] = 1
    return net.last(s), set()


def unsqueezed(net: Net) -> tuple[str, set[str]]:
    p = net.op("GlobalMaxPool", net.first(), name="p")
    s = net.op("Squeeze", p, net.ints(-1, 2), name="s")
    g = net.gemm(net.relu(s, "r"), C, 6, "g", scale=None)
    u = net.op("Unsqueeze", g, net.ints(2), name="u")
    return net.op("Exp", u, name="y"), {"a", "p", "s", "r"}


def rows_of_the_same_size(net: Net) -> tuple[str, set[str]]:
    """[2, 6, 6, 6] flattened from axis 2 on: [12, 36] has no axis of channels."""
    f = net.op("Flatten", net.first(6), name="f", axis=2)
    return net.matmul(f, 36, 3, "y"), set()


def squeezed_batch(net: Net) -> tuple[str, set[str]]:
    """[1, 6, 6, 6] without its batch: channels are axis 0, and axis 1 has their size."""
    a = net.conv(net.input("x", (1, C, 6, 6)), 6, "a", scale=None)
    s = net.op("Squeeze", a, net.ints(0), name="s")
    return net.matmul(s, 6, 3, "y"), set()


def shuffled(net: Net) -> tuple[str, set[str]]:
    """A channel shuffle: not followed, and not taken for something else."""
    r = net.op("Reshape", net.first(6), net.ints(2, 2, 3, 6, 6))
    t = net.op("Reshape", net.op("Transpose", r, perm=[0, 2, 1, 3, 4]), net.ints(2, 6, 6, 6), name="t")
    net._channels[t] = 6
    return net.last(t), set()


def used_indices(net: Net) -> tuple[str, set[str]]:
    a = net.first()
    net._nodes.append(helper.make_node("MaxPool", [a], ["m", "i"], name="m", kernel_shape=[2, 2], strides=[2, 2]))
    net._channels["m"] = C
    i = net.op("Cast", "i", to=TensorProto.FLOAT)
    return net.add(net.last("m"), net.op("ReduceMean", i, axes=[1, 2, 3]), "z"), set()


_PLAIN = (
    plain, relu6, depthwise, depthwise_relu6, grouped, multiplied_depthwise, leaky, prelu,
    prelu_with_a_computed_slope, pools, flattened, gemm_with_a_row_of_biases, gemm_with_a_column_of_biases,
    gemm_that_adds_a_computed_tensor, conv_with_a_computed_bias, gemm_of_transposed_data, scalar_result, joined,
    split, split_over_space, sliced_backwards, residual, residual_of_the_input, added_over_space,
    zeros_of_a_higher_rank, zeros_that_spread_a_channel, constant_of_a_higher_rank, product_that_spreads_a_channel,
    gate, linear_gate, silu, square, divided, divides, quotient_of_two, softmax, largest_of_two,
    smallest_with_a_constant, clip_from_below, clip_from_above, tokens, normed, normed_by_one_gain,
    bias_behind_matmul, matmul_over_another_axis, mixed_axes, padded_over_channels, resized_over_channels,
    padded_channels, deconvolutions, shared_weight, shared_bias, shared_bias_of_zeros, three_readers,
    sum_over_all_axes, unsqueezed, rows_of_the_same_size, squeezed_batch, shuffled, used_indices,
)  # fmt: skip

NETWORKS: dict[str, Callable[[Net], tuple[str, set[str]]]] = {
    **{build.__name__: build for build in _PLAIN},
    "head transB=0": head(0),
    "head transB=1": head(1),
    "slice middle": sliced([1], [3], [1], kept=2),
    "slice to the end": sliced([2], [2**63 - 1], [1], [2], kept=3),
    "slice from the end": sliced([-3], [-1], [-3], kept=2),
    "slice space": sliced([1, 1], [4, -1], [2, 3], kept=8),
    "slice without axes": sliced([0, 5], [2, 7], kept=2),
    "add a channel vector": with_constant("Add", (C, 1, 1), "a", "s"),
    "add a channel vector of rank 4": with_constant("Add", (1, C, 1, 1), "a", "s"),
    "subtract a channel vector": with_constant("Sub", (C, 1, 1), "a", "s"),
    "subtract from a channel vector": with_constant("Sub", (1, C, 1, 1), "a", "s", first=True),
    "add a scalar": with_constant("Add", ()),
    "add an image": with_constant("Add", (1, 1, 6, 6)),
    "add a row": with_constant("Add", (6,)),
    "multiply by channels": with_constant("Mul", (C, 1, 1), "a", "s"),
    "multiply by a scalar": with_constant("Mul", (), "a", "s", first=True),
    "multiply by an image": with_constant("Mul", (1, 1, 6, 6), "a", "s"),
    "divide by channels": with_constant("Div", (1, C, 1, 1), "a", "s"),
    "max pool over channels": pooled_over_channels("MaxPool", kernel_shape=[3, 3], pads=[1] * 4),
    "average pool over channels": pooled_over_channels("AveragePool", kernel_shape=[3, 3], pads=[1] * 4),
    "global pool over channels": pooled_over_channels("GlobalAveragePool", 1),
    "pad": padded(None),
    "pad with zeros": padded(0.0),
    "pad with ones": padded(1.0),
    "pad by reflection": padded(None, "reflect"),
    "resize nearest": resized("nearest"),
    "resize linear": resized("linear"),
    "resize cubic": resized("cubic"),
    "mean over space": reduced([2, 3], 1, {"a", "m"}),
    "mean over space without axes": reduced([-1, -2], 0, {"a", "m"}),
    "mean over channels": reduced([1], 1, set()),
    "mean over channels from the end": reduced([-3, -1], 0, set()),
}
