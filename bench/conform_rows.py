"""One network for each operator row of TensorRT's table: the operator between products that run in INT8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx

from qdq_cli.targets.tensorrt.operators import OPERATORS
from tests.networks import Network

CHANNELS = 32
SIZE = 16
Make = Callable[[Network, str], str]


def between(make: Make, channels: int = CHANNELS, size: int = SIZE) -> onnx.ModelProto:
    """Put what `make` makes between two convolutions, and behind an activation."""
    net = Network(20)
    x = net.relu(net.conv(net.input("x", (1, channels, size, size)), channels, "first", scale=None), "act")
    y = make(net, x)
    net._channels[y] = channels
    return net.proto(net.conv(y, channels, "last", kernel=1, scale=None))


def _unary(op_type: str, net: Network, x: str, **attributes: object) -> str:
    return net.op(op_type, x, name="row", **attributes)


def _prelu(net: Network, x: str) -> str:
    return net.op("PRelu", x, net.constant(np.full((CHANNELS, 1, 1), 0.1, np.float32)), name="row")


def _deconvolution(net: Network, x: str) -> str:
    return net.op("ConvTranspose", x, net.constant(net.weight(CHANNELS, CHANNELS, 2, 2)), name="row", strides=[2, 2])


def _product(net: Network, x: str, *, op_type: str) -> str:
    """A fully connected layer on rows of channels, and the picture again behind it."""
    rows = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 3, 1]), net.constant(np.array([SIZE * SIZE, CHANNELS])))
    made = net.op(op_type, rows, net.constant(net.weight(CHANNELS, CHANNELS)), name="row")
    picture = net.op("Reshape", made, net.constant(np.array([1, SIZE, SIZE, CHANNELS])))
    return net.op("Transpose", picture, perm=[0, 3, 1, 2])


def _sum(net: Network, x: str) -> str:
    return net.relu(net.add(net.conv(x, CHANNELS, "branch", scale=None), x, "row"))


def _with(op_type: str, *arrays: object, **attributes: object) -> Make:
    def make(net: Network, x: str) -> str:
        return net.op(op_type, x, *(net.constant(array) for array in arrays), name="row", **attributes)

    return make


def _back(make: Make, *shape: int) -> Make:
    """Give the result of a step the shape of a picture again."""

    def made(net: Network, x: str) -> str:
        return net.op("Reshape", make(net, x), net.constant(np.array([1, CHANNELS, *shape])))

    return made


def _split(net: Network, x: str) -> str:
    left, right = net.split(x, 2, name="row")
    return net.concat(right, left)


def _dropout(net: Network, x: str) -> str:
    return net.op("Dropout", x, name="row")


def _upsample() -> onnx.ModelProto:
    """Upsample ended with opset 9."""
    net = Network(9)
    x = net.relu(net.conv(net.input("x", (1, CHANNELS, SIZE, SIZE)), CHANNELS, "first", scale=None), "act")
    y = net.op("Upsample", x, net.constant(np.array([1, 1, 2, 2], np.float32)), name="row", mode="nearest")
    net._channels[y] = CHANNELS
    return net.proto(net.conv(y, CHANNELS, "last", kernel=1, scale=None))


def _swish(net: Network, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x, name="row"))


_ints = partial(np.array, dtype=np.int64)
_POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

_STEPS: Mapping[str, Make] = {
    "Conv": lambda net, x: net.conv(x, CHANNELS, "row", scale=None),
    "ConvTranspose": _deconvolution,
    "Gemm": partial(_product, op_type="Gemm"),
    "MatMul": partial(_product, op_type="MatMul"),
    "AveragePool": partial(_unary, "AveragePool", **_POOL),
    "GlobalAveragePool": partial(_unary, "GlobalAveragePool"),
    "ReduceMean": _with("ReduceMean", _ints([2, 3])),
    "Add": _sum,
    "Relu": partial(_unary, "Relu"),
    "Clip": lambda net, x: net.relu6(x),
    **{
        name: partial(_unary, name)
        for name in (
            *("LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Mish", "Gelu", "Elu", "Selu", "Celu"),
            *("Softplus", "Softsign", "ThresholdedRelu", "Erf", "Identity"),
        )
    },
    "PRelu": _prelu,
    "Swish": _swish,
    "MaxPool": partial(_unary, "MaxPool", **_POOL),
    "GlobalMaxPool": partial(_unary, "GlobalMaxPool"),
    "ReduceMax": _with("ReduceMax", _ints([2, 3])),
    "ReduceMin": _with("ReduceMin", _ints([2, 3])),
    "Transpose": partial(_unary, "Transpose", perm=[0, 1, 3, 2]),
    "Reshape": _back(_with("Reshape", _ints([1, CHANNELS, SIZE * SIZE])), SIZE, SIZE),
    "Flatten": _back(partial(_unary, "Flatten"), SIZE, SIZE),
    "Squeeze": _back(_with("Squeeze", _ints([0])), SIZE, SIZE),
    "Unsqueeze": _back(_with("Unsqueeze", _ints([0])), SIZE, SIZE),
    "Slice": _with("Slice", _ints([0]), _ints([8]), _ints([2])),
    "Split": _split,
    "Concat": lambda net, x: net.conv(net.concat(x, net.maxpool(x, kernel=3, stride=1, pad=1)), CHANNELS, scale=None),
    "Expand": _with("Expand", _ints([1, CHANNELS, SIZE, SIZE])),
    "Tile": _with("Tile", _ints([1, 1, 2, 2])),
    "DepthToSpace": lambda net, x: net.op("SpaceToDepth", net.op("DepthToSpace", x, blocksize=2), blocksize=2),
    "SpaceToDepth": lambda net, x: net.op("DepthToSpace", net.op("SpaceToDepth", x, blocksize=2), blocksize=2),
    "Resize": _with("Resize", np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32), **_NEAREST),
    "Dropout": _dropout,
    "Gather": _with("Gather", _ints(range(CHANNELS)), axis=1),
    "GatherND": _with("GatherND", _ints([[0]])),
    "GatherElements": _with("GatherElements", np.zeros((1, CHANNELS, SIZE, SIZE), np.int64), axis=3),
    "Pad": _with("Pad", _ints([0, 0, 1, 1, 0, 0, 1, 1])),
}  # fmt: skip

ROWS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    name: _upsample if name == "Upsample" else partial(between, _STEPS[name]) for name in OPERATORS.rules
}
"""Operator of the table -> a float network with it."""
