"""Networks in which somebody made a layer bad on purpose."""

from __future__ import annotations

import numpy as np
import onnx

from tests.networks import Network
from tests.workspace import SIDE

BAD = "bad"


def with_a_bad_layer(position: int, *, layers: int = 4, grouped: int | None = None) -> onnx.ModelProto:
    """A chain of convolutions; the weight of one holds a value that takes nearly all codes from the others.

    That value meets a channel of zeros, so that it changes nothing in float.

    Args:
        position: Which one, from 1 on: the first reads the input, which has no such channel. One more than there are
            layers for the product of the scores.
        layers: How many there are.
        grouped: Which one has two groups, which INT8 has kernels for and FP8 has not; None for none.
    """
    net = Network()
    rng = np.random.default_rng(3)
    x = net.input("images", ("N", 3, SIDE, SIDE))
    channels = 3
    for number in range(layers):
        groups = 2 if number == grouped else 1
        weight = (rng.normal(size=(16, channels // groups, 3, 3)) / np.sqrt(9 * channels)).astype(np.float32)
        weight[0] = 0.0  # channel 0 of what the next layer reads is zero
        if number == position:
            weight[1:, 0, 0, 0] = 30.0
        name = BAD if number == position else f"good_{number}"
        bias = np.full(16, 0.1, np.float32)
        bias[0] = 0.0
        operands = [x, net.constant(weight, f"{name}_w"), net.constant(bias, f"{name}_b")]
        x = net.relu(net.op("Conv", *operands, name=name, kernel_shape=[3, 3], pads=[1] * 4, group=groups))
        channels = 16
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x, name="pool"), name="flat")
    weight = rng.normal(size=(16, 10)).astype(np.float32)
    if position > layers:
        weight[0] = 30.0
    name = BAD if position > layers else "scores"
    return net.proto(net.op("MatMul", pooled, net.constant(weight, "scores_w"), name=name))
