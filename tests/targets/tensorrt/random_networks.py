"""Random small networks for laws: every tensor is [1, 4, 6, 6], so that any operator may read any tensor."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.networks import Network

SCALES = (2.0**-5, 2.0**-4, 0.03)
SHAPE = (1, 4, 6, 6)

QDQ_STEPS = ("conv", "depthwise", "float_conv", "relu", "relu6", "sigmoid", "silu", "softmax", "maxpool", "transpose")
QDQ_STEPS += ("reshape", "add", "concat", "split", "pair", "pair", "pad", "identity", "average", "requantize")
FLOAT_STEPS = (
    "float_conv",
    "depthwise_float",
    "relu",
    "relu6",
    "silu",
    "maxpool",
    "transpose",
    "add",
    "float_concat",
    "average",
)


@st.composite
def networks(draw: st.DrawFn, steps: tuple[str, ...] = QDQ_STEPS, most: int = 14) -> Network:
    """A network of random steps; its outputs are the tensors nothing else reads, see `finished`."""
    return assembled(lambda options: draw(st.sampled_from(options)), steps, most)


def assembled(choose: Callable[[Sequence[Any]], Any], steps: tuple[str, ...] = QDQ_STEPS, most: int = 14) -> Network:
    """A network of steps that `choose` takes out of what it is offered."""
    net = Network(seed=choose(range(4)))
    tensors = [net.input("x", SHAPE)]
    for number in range(choose(range(2, most + 1))):
        step, recent = choose(steps), tensors[-5:]
        a, b = choose(recent), choose(recent)
        made = _step(net, step, a, b, choose(SCALES), f"n{number}")
        net._channels[made] = 4
        tensors.append(made)
    net.tail = tensors[-1]
    net.extra = choose(tensors[1:]) if choose((False, True)) else net.tail
    return net


def finished(net: Network) -> onnx.ModelProto:
    """The network with its last tensor, and sometimes one from its middle, as outputs."""
    outputs = dict.fromkeys([net.tail, net.extra])
    return net.proto(*outputs)


def _step(net: Network, step: str, a: str, b: str, scale: float, name: str) -> str:  # noqa: PLR0912 - one case a step
    match step:
        case "conv":
            return net.conv(a, 4, name, scale=scale)
        case "depthwise":
            return net.conv(a, 4, name, group=4, scale=scale)
        case "float_conv":
            return net.conv(a, 4, name, scale=None)
        case "depthwise_float":
            return net.conv(a, 4, name, group=4, scale=None)
        case "relu":
            return net.relu(a, name)
        case "relu6":
            return net.relu6(a, name)
        case "sigmoid":
            return net.op("Sigmoid", a, name=name)
        case "silu":
            return net.op("Mul", a, net.op("Sigmoid", a, name=f"{name}_gate"), name=name)
        case "softmax":
            return net.op("Softmax", a, name=name)
        case "maxpool":
            return net.maxpool(a, name, kernel=3, stride=1, pad=1)
        case "average":
            return net.op("AveragePool", a, name=name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        case "transpose":
            return net.op("Transpose", a, name=name, perm=[0, 1, 3, 2])
        case "reshape":
            flat = net.op("Reshape", a, net.constant(np.array([4, 36])), name=f"{name}_flat")
            return net.op("Reshape", flat, net.constant(np.array(SHAPE)), name=name)
        case "add":
            return net.add(a, b, name)
        case "concat" | "float_concat":
            both = net.concat(a, b, name=f"{name}_cat")
            return net.conv(both, 4, name, kernel=1, scale=None if step == "float_concat" else scale)
        case "split":
            parts = net.split(a, 2, name=f"{name}_split")
            return net.concat(*reversed(parts), name=name)
        case "pad":
            padded = net.op("Pad", a, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), name=f"{name}_pad")
            return net.op("MaxPool", padded, name=name, kernel_shape=[3, 3])
        case "identity":
            return net.op("Identity", a, name=name)
        case "requantize":
            return net.pair(net.pair(a, SCALES[0], shared=False), scale, shared=False)
    return net.pair(a, scale, shared=False)


def shuffled(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same model with its nodes in another valid order."""
    rng = random.Random(seed)
    waiting = list(model.graph.node)
    made = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    ordered = []
    while waiting:
        ready = [node for node in waiting if all(not name or name in made for name in node.input)]
        node = rng.choice(ready)
        waiting.remove(node)
        ordered.append(node)
        made.update(node.output)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(ordered)
    return result
