"""A network with nearly dead channels in front of a depthwise convolution, and what quantizing it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from tests.networks import Network
from tests.workspace import make_workspace, qdq

CHANNELS = 16
DEAD = [2, 5, 11]
F = np.float32


def network(
    activation: str = "Clip", *, pad: int = 1, jitter: float = 0.02, bounded: bool = True, dtype: type = F
) -> Network:
    """A convolution, its activation, and a depthwise one that amplifies three channels which hold little over 0.1."""
    rng, net = np.random.default_rng(0), Network(opset=19)

    def constant(array: np.ndarray, name: str) -> str:
        return net.constant(np.asarray(array).astype(dtype), name)

    kind = TensorProto.FLOAT if dtype is F else TensorProto.FLOAT16
    x = net.input("x", (2, 8, 12, 12), kind)
    low, high = constant(0.0, "low"), constant(6.0, "high")
    if bounded:
        x = net.op("Clip", x, low, high, name="bounded")
    weight, bias = rng.normal(size=(CHANNELS, 8, 1, 1)) / 2, rng.normal(size=CHANNELS) / 4
    weight[DEAD] *= jitter
    bias[DEAD] = 0.1
    made = net.op("Conv", x, constant(weight, "w"), constant(bias, "b"), name="made")
    if activation:
        made = net.op(activation, made, *((low, high) if activation == "Clip" else ()), name="clipped")
    read = rng.normal(size=(CHANNELS, 1, 3, 3)) / 4
    read[DEAD] *= 30
    depthwise = constant(read, "d"), constant(-0.1 * read.sum((1, 2, 3)), "e")
    net.op("Conv", made, *depthwise, name="y", group=CHANNELS, pads=[pad] * 4)
    return net


def inputs(dtype: type = F) -> dict[str, np.ndarray]:
    """Far beyond what a network is fed, too."""
    values = np.random.default_rng(1).normal(size=(2, 8, 12, 12)) * np.geomspace(0.1, 1000, 12)
    return {"x": values.astype(dtype)}


def quantized_db(folder: Path, net: Network) -> tuple[float, str]:
    space = make_workspace(folder, net.proto("y"))
    rng = np.random.default_rng(2)
    np.savez(space.arrays, x=np.abs(rng.normal(size=(24, 8, 12, 12))).astype(F)[:, None].repeat(2, 1))
    done = space.quantize("--json", "--cache", folder / "model.qcal")
    assert done.code == 0, done.err
    first = space.output.read_bytes()
    assert qdq("quantize", space.model, "--cache", folder / "model.qcal", "-o", space.output).code == 0
    assert space.output.read_bytes() == first
    compared = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers")
    return done.document["verification"]["outputs"]["y"]["sqnr_db"], compared.err + compared.out
