"""Very deep networks: thousands of small blocks, as one would find them in no trained network; weights are noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from bench.networks import Network
from qdq_cli.model import files
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT

CHANNELS = 32
_GAIN = 0.03  # of a convolution: thousands of residual blocks must not overflow


def _conv(net: Network, x: str, channels: tuple[int, int], *, group: int = 1) -> str:
    """Append a convolution with bias: pointwise, or depthwise of 3x3."""
    inside, out = channels
    side = 1 if group == 1 else 3
    weight, bias = f"weight_{len(net.nodes)}", f"bias_{len(net.nodes)}"
    shape = (out, inside // group, side, side)
    deviation = _GAIN / np.sqrt(np.prod(shape[1:]))
    net.weights[weight] = (net.generator.standard_normal(shape) * deviation).astype(np.float32)
    net.weights[bias] = (net.generator.standard_normal(out) * _GAIN).astype(np.float32)
    return net.add("Conv", [x, weight, bias], group=group, kernel_shape=[side] * 2, pads=[side // 2] * 4)


def _clip(net: Network, x: str) -> str:
    net.weights |= {"zero": np.float32(0.0).reshape(()), "six": np.float32(6.0).reshape(())}
    return net.add("Clip", [x, "zero", "six"])


def _plain(net: Network, x: str) -> str:
    return net.add("Relu", [_conv(net, x, (CHANNELS, CHANNELS))])


def _residual(net: Network, x: str) -> str:
    main = _conv(net, _plain(net, x), (CHANNELS, CHANNELS))
    return net.add("Relu", [net.add("Add", [x, main])])


def _depthwise(net: Network, x: str) -> str:
    wide = _clip(net, _conv(net, x, (CHANNELS, 2 * CHANNELS)))
    wide = _clip(net, _conv(net, wide, (2 * CHANNELS, 2 * CHANNELS), group=2 * CHANNELS))
    return net.add("Add", [x, _conv(net, wide, (2 * CHANNELS, CHANNELS))])


def _dense(net: Network, x: str) -> str:
    """Twelve layers that each read all before them, then one that narrows."""
    channels = CHANNELS
    for _ in range(12):
        grown = net.add("Relu", [_conv(net, x, (channels, 16))])
        x, channels = net.add("Concat", [x, grown], axis=1), channels + 16
    return net.add("Relu", [_conv(net, x, (channels, CHANNELS))])


BLOCKS: dict[str, Callable[[Network, str], str]] = {
    "convolutions": _plain,
    "residual": _residual,
    "depthwise": _depthwise,
    "dense": _dense,
}


def build_deep(kind: str, nodes: int, folder: Path, *, quantized: bool = False) -> Path:
    """Write a network made of blocks of one kind; returns its path.

    Args:
        kind: Key of `BLOCKS`.
        nodes: How many nodes it has at least; about so many with Q/DQ, which are more than half of them.
        folder: Where to write it.
        quantized: With the Q/DQ of its plan, and placeholders as scales.
    """
    path = folder / f"deep_{kind}_{nodes}{'_qdq' if quantized else ''}.onnx"
    if not quantized:
        _write(kind, nodes, path)
        return path
    prepared = prepare(files.load(build_deep(kind, nodes * 2 // 5, folder)).model).model
    ir.save(draft(prepared, make_plan(prepared, TENSORRT)), path)
    return path


def _write(kind: str, nodes: int, path: Path) -> None:
    net, x = Network(seed=3), "input"
    while len(net.nodes) < nodes:
        x = BLOCKS[kind](net, x)
    shape = ["N", CHANNELS, 8, 8]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("input", x)]
    weights = [numpy_helper.from_array(array, name) for name, array in net.weights.items()]
    graph = helper.make_graph(net.nodes, f"deep_{kind}", ends[:1], ends[1:], initializer=weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
