"""Six networks rebuilt from their topology, with Q/DQ as in the INT8 engines whose layers are published (section 4.9).

Widths are an eighth of the originals: the simulator looks at structure alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.networks import Network


def resnet18(*, residual: bool = False, pool: bool = False) -> ir.Model:
    net = Network()
    x = net.input("input", (1, 3, 64, 64))
    x = net.relu(net.conv(x, 8, "conv1", kernel=7, stride=2), "relu1")
    x = net.maxpool(x, "maxpool", kernel=3, stride=2, pad=1)
    for stage, width in enumerate((8, 16, 32, 64)):
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            x = _basic_block(net, x, width, name, shrink=stage > 0 and block == 0, residual=residual)
    return net.model(_classifier(net, x, 64, pool=pool))


def _basic_block(net: Network, x: str, width: int, name: str, *, shrink: bool, residual: bool) -> str:
    main = net.relu(net.conv(x, width, f"{name}.conv1", stride=2 if shrink else 1), f"{name}.relu1")
    main = net.conv(main, width, f"{name}.conv2")
    shortcut = net.conv(x, width, f"{name}.downsample", kernel=1, stride=2) if shrink else x
    return net.relu(net.add(main, net.pair(shortcut) if residual else shortcut, f"{name}.add"), f"{name}.relu2")


def _classifier(net: Network, x: str, width: int, *, pool: bool) -> str:
    x = net.op("GlobalAveragePool", net.pair(x) if pool else x, name="avgpool")
    return net.gemm(net.op("Flatten", x, name="flatten"), width, 10, "fc")


def mobilenet_v2(*, residual: bool = False) -> ir.Model:
    net = Network()
    x = net.relu6(net.conv(net.input("input", (1, 3, 64, 64)), 4, "features.0", stride=2), "features.0.relu6")
    settings = [(1, 4, 1, 1), (6, 4, 2, 2), (6, 8, 3, 2), (6, 12, 4, 2), (6, 16, 3, 1), (6, 24, 3, 2), (6, 40, 1, 1)]
    number = 0
    for expand, width, repeats, stride in settings:
        for repeat in range(repeats):
            number += 1
            x = _inverted_residual(
                net, x, (expand, width, stride if repeat == 0 else 1), f"features.{number}", residual=residual,
                adds=repeat > 0,
            )  # fmt: skip
    x = net.relu6(net.conv(x, 160, "features.18", kernel=1), "features.18.relu6")
    return net.model(_classifier(net, x, 160, pool=False))


def _inverted_residual(
    net: Network, x: str, sizes: tuple[int, int, int], name: str, *, residual: bool, adds: bool
) -> str:
    expand, width, stride = sizes
    hidden = net._channels[x] * expand
    y = x
    if expand != 1:
        y = net.relu6(net.conv(y, hidden, f"{name}.expand", kernel=1), f"{name}.relu6a")
    y = net.relu6(net.conv(y, hidden, f"{name}.depthwise", stride=stride, group=hidden), f"{name}.relu6b")
    y = net.conv(y, width, f"{name}.project", kernel=1)
    return net.add(net.pair(x) if residual else x, y, f"{name}.add") if adds else y


def tf_resnet50() -> ir.Model:
    """NHWC input with a Pad in front of the Transpose, a second Pad in front of MaxPool, ReduceMean, MatMul + Add."""
    net = Network()
    x = net.input("input", (1, 64, 64, 3))
    x = net.op("Pad", x, net.constant(np.array([0, 3, 3, 0, 0, 3, 3, 0])), name="input_pad")
    x = net.op("Transpose", net.pair(x), name="transpose", perm=[0, 3, 1, 2])
    net._channels[x] = 3
    weight = net.quantized_weight(net.weight(8, 3, 7, 7), 0, "conv1_w")
    x = net.op("Conv", x, weight, net.constant(net.weight(8)), name="conv1", strides=[2, 2], kernel_shape=[7, 7])
    net._channels[x] = 8
    x = net.relu(x, "conv1_relu")
    x = net.op("Pad", x, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), name="pool1_pad")
    x = net.maxpool(x, "pool1", kernel=3, stride=2)
    for stage, (width, blocks) in enumerate([(8, 3), (16, 4), (32, 6), (64, 3)]):
        for block in range(blocks):
            x = _bottleneck(net, x, width, f"conv{stage + 2}_block{block + 1}", stride=2 if stage and not block else 1)
    x = net.op("ReduceMean", net.pair(x), name="avg_pool", axes=[2, 3], keepdims=0)
    x = net.op("MatMul", net.pair(x), net.quantized_weight(net.weight(256, 10), 1, "predictions_w"), name="predictions")
    return net.model(net.op("Softmax", net.add(x, net.constant(net.weight(10)), "bias_add"), name="softmax"))


def _bottleneck(net: Network, x: str, width: int, name: str, *, stride: int) -> str:
    changes = net._channels[x] != 4 * width
    shortcut = net.conv(x, 4 * width, f"{name}_0_conv", kernel=1, stride=stride) if changes else x
    y = net.relu(net.conv(x, width, f"{name}_1_conv", kernel=1, stride=stride), f"{name}_1_relu")
    y = net.relu(net.conv(y, width, f"{name}_2_conv"), f"{name}_2_relu")
    y = net.conv(y, 4 * width, f"{name}_3_conv", kernel=1)
    return net.relu(net.add(net.pair(shortcut), y, f"{name}_add"), f"{name}_out")
