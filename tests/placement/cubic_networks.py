"""Random networks whose tensors are all [4, 4, 4, 4]: whatever takes one axis for another finds the size it expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from tests.networks import Network

SIZE = 4

CubicStep = tuple[str, int, int, int]
"""Operator; operands, counted back from the newest tensor; a number that chooses among variants."""

_PERMUTATIONS = ((0, 1, 3, 2), (0, 2, 1, 3), (0, 3, 1, 2), (0, 2, 3, 1), (1, 0, 2, 3), (3, 2, 1, 0))
_CONSTANTS: tuple[tuple[int, ...], ...] = (
    (),
    (4,),
    (4, 1),
    (4, 1, 1),
    (1, 4, 1, 1),
    (4, 1, 1, 1),
    (1, 1, 4, 1),
    (4, 4),
)
_SHAPES = ((4, 4, 16), (16, 4, 4), (4, 16, 4), (4, 64), (64, 4), (16, 16), (1, 4, 64), (4, 4, 1, 16), (4, 4, 2, 2, 4))


def cubic_recipes(max_size: int = 12) -> st.SearchStrategy[list[CubicStep]]:
    step = st.tuples(st.sampled_from(sorted(_STEPS)), st.integers(0, 2), st.integers(0, 3), st.integers(0, 99))
    return st.lists(step, min_size=2, max_size=max_size)


def build_cubic(recipe: Sequence[CubicStep]) -> tuple[Network, str]:
    """Build the network of a recipe; a convolution reads the newest tensor and is the output."""
    net = Network()
    tensors = [_conv(net, net.input("x", (SIZE,) * 4), "", 0)]
    for op, first, second, number in recipe:
        a, b = (tensors[-1 - min(back, len(tensors) - 1)] for back in (first, second))
        tensors.append(_STEPS[op](net, a, b, number))
    return net, _conv(net, tensors[-1], "", 0)


def _conv(net: Network, a: str, b: str, number: int) -> str:
    net._channels[a] = SIZE
    return net.conv(a, SIZE, group=(1, 2, 4)[number % 3], scale=None)


def _matmul(net: Network, a: str, b: str, number: int) -> str:
    product = net.op("MatMul", a, net.constant(net.weight(SIZE, SIZE)))
    return net.add(product, net.constant(net.weight(SIZE))) if number % 2 else product


def _with_constant(net: Network, a: str, b: str, number: int) -> str:
    op_type = ("Add", "Sub", "Mul", "Div")[number % 4]
    shape = _CONSTANTS[number // 4 % len(_CONSTANTS)]
    constant = net.constant(net.weight(*shape) + np.float32(1 / 16))
    turned = number >= 50 and op_type != "Div"
    return net.op(op_type, constant, a) if turned else net.op(op_type, a, constant)


def _two(net: Network, a: str, b: str, number: int) -> str:
    return net.op(("Add", "Sub", "Mul", "Max", "Min", "Sum")[number % 6], a, b)


def _transpose(net: Network, a: str, b: str, number: int) -> str:
    return net.op("Transpose", a, perm=_PERMUTATIONS[number % len(_PERMUTATIONS)])


def _reshape(net: Network, a: str, b: str, number: int) -> str:
    shapes = _SHAPES[number % len(_SHAPES)], (SIZE,) * 4
    inner = net.relu(net.op("Reshape", a, net.constant(np.array(shapes[0]))))
    return net.op("Reshape", inner, net.constant(np.array(shapes[1])))


def _flatten(net: Network, a: str, b: str, number: int) -> str:
    flat = net.op("Flatten", a, axis=number % 5)
    if number % 5 == 1 and number > 50:
        flat = net.gemm(flat, SIZE**3, SIZE**3, scale=None)
    return net.op("Reshape", flat, net.constant(np.array((SIZE,) * 4)))


def _reduce(net: Network, a: str, b: str, number: int) -> str:
    axis, keepdims = number % 4 - 4 * (number // 4 % 2), number // 8 % 2
    mean = net.op("ReduceMean", a, axes=[axis], keepdims=keepdims)
    return net.op(("Add", "Mul")[number // 16 % 2], b, mean)


def _turned(net: Network, a: str, b: str, number: int) -> str:
    """The two halves of an axis, the other way round."""
    axis = number % 4
    net._channels[a] = SIZE
    left, right = net.split(a, 2, axis=axis - 4 * (number // 4 % 2)) if number > 50 else _halves(net, a, axis)
    return net.op("Concat", right, left, axis=axis)


def _halves(net: Network, a: str, axis: int) -> list[str]:
    ranges = ((0, 2), (-2, 2**63 - 1))
    return [net.op("Slice", a, *(net.constant(np.array([at])) for at in (*part, axis))) for part in ranges]


def _shifted(net: Network, a: str, b: str, number: int) -> str:
    pads = np.zeros(8, np.int64)
    pads[number % 4], pads[4 + number % 4] = 1, -1
    return net.op("Pad", a, net.constant(pads))


def _pool(net: Network, a: str, b: str, number: int) -> str:
    return net.op(("MaxPool", "AveragePool")[number % 2], a, kernel_shape=[3, 3], pads=[1] * 4)


def _gate(net: Network, a: str, b: str, number: int) -> str:
    pooled = net.op(("GlobalAveragePool", "GlobalMaxPool")[number % 2], b)
    return net.op("Mul", a, pooled) if number < 50 else net.op("Mul", net.op("Sigmoid", pooled), a)


def _squeeze(net: Network, a: str, b: str, number: int) -> str:
    axis = net.constant(np.array([2 + number % 2]))
    mean = net.op("Squeeze", net.op("ReduceMax", a, axes=[2 + number % 2]), axis)
    return net.add(b, net.op("Unsqueeze", mean, axis) if number % 4 < 2 else mean)


def _norm(net: Network, a: str, b: str, number: int) -> str:
    return net.op("LayerNormalization", a, net.constant(net.weight(SIZE)), net.constant(net.weight(SIZE)), axis=-1)


_STEPS: dict[str, Callable[[Network, str, str, int], str]] = {
    "conv": _conv,
    "constant": _with_constant,
    "flatten": _flatten,
    "gate": _gate,
    "matmul": _matmul,
    "norm": _norm,
    "pool": _pool,
    "prelu": lambda net, a, b, number: net.op("PRelu", a, net.constant(net.weight(SIZE, 1, 1))),
    "reduce": _reduce,
    "relu": lambda net, a, b, number: net.relu(a) if number % 3 else net.relu6(a),
    "reshape": _reshape,
    "shifted": _shifted,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "turned": _turned,
    "two": _two,
}
