"""Random small networks for laws: every tensor is [1, 16, 8, 8], so that any two can be added or joined."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.networks import Network

CHANNELS = 16
STEPS = (
    "conv",
    "depthwise",
    "relu",
    "silu",
    "maxpool",
    "transpose",
    "reshape",
    "add",
    "concat",
    "split",
    "mean",
    "float",
    "scaled",
    "narrow",
    "zero",
)

Step = tuple[str, int, int]


def recipes(max_size: int = 14) -> st.SearchStrategy[list[Step]]:
    """Lists of (operator, first operand, second operand); operands count back from the newest tensor."""
    step = st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.integers(0, 3))
    return st.lists(step, min_size=2, max_size=max_size)


def build(recipe: list[Step]) -> tuple[Network, tuple[str, ...]]:
    """Build the float network of a recipe; every tensor that nothing reads is an output."""
    net = Network()
    tensors = [net.input("x", (1, CHANNELS, 8, 8))]
    for op, first, second in recipe:
        a, b = (tensors[-1 - min(back, len(tensors) - 1)] for back in (first, second))
        tensors.append(_STEPS[op](net, a, b))
        net._channels[tensors[-1]] = CHANNELS
    read = {name for node in net._nodes for name in node.input}
    return net, tuple(name for name in tensors[1:] if name not in read)


def _reshape(net: Network, a: str, b: str) -> str:
    flat = net.op("Reshape", a, net.constant(np.array([1, CHANNELS, 64])))
    return net.op("Reshape", flat, net.constant(np.array([1, CHANNELS, 8, 8])))


def _concat(net: Network, a: str, b: str) -> str:
    return net.conv(net.concat(a, b), CHANNELS, kernel=1, scale=None)


def _split(net: Network, a: str, b: str) -> str:
    left, right = net.split(a, 2)
    return net.concat(right, left)


def _silu(net: Network, a: str, b: str) -> str:
    return net.op("Mul", a, net.op("Sigmoid", a))


def _scaled(net: Network, a: str, b: str) -> str:
    """A chain of constants: one number or one a channel, as first or second operand."""
    half = net.op("Div", a, net.constant(np.float32(2)))
    shifted = net.op("Sub", net.constant(np.ones((CHANNELS, 1, 1), np.float32)), half)
    return net.op("Mul", shifted, net.constant(np.float32(0.5)))


def _narrow(net: Network, a: str, b: str) -> str:
    """A head of one channel."""
    head = net.conv(a, 1, kernel=1, scale=None)
    return net.op("Expand", head, net.constant(np.array([1, CHANNELS, 8, 8])))


def _zero(net: Network, a: str, b: str) -> str:
    """A convolution of a state that is zero for every sample, its shape taken from another tensor."""
    state = net.op("Expand", net.constant(np.zeros((1, CHANNELS, 1, 1), np.float32)), net.op("Shape", a))
    net._channels[state] = CHANNELS
    return net.add(net.conv(state, CHANNELS, scale=None), a)


_STEPS = {
    "conv": lambda net, a, b: net.conv(a, CHANNELS, scale=None),
    "depthwise": lambda net, a, b: net.conv(a, CHANNELS, group=CHANNELS, scale=None),
    "relu": lambda net, a, b: net.relu(a),
    "silu": _silu,
    "maxpool": lambda net, a, b: net.maxpool(a, kernel=3, stride=1, pad=1),
    "transpose": lambda net, a, b: net.op("Transpose", a, perm=[0, 1, 3, 2]),
    "reshape": _reshape,
    "add": lambda net, a, b: net.add(a, b),
    "concat": _concat,
    "split": _split,
    "mean": lambda net, a, b: net.op("AveragePool", a, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "scaled": _scaled,
    "narrow": _narrow,
    "zero": _zero,
    "float": lambda net, a, b: net.op("Softmax", a, axis=1),
}
