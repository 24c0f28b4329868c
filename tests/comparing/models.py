"""Pairs of small models to compare, and one way to compare them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from qdq_cli.comparing.alignment import make_comparable, to_one_opset
from qdq_cli.comparing.compare import compare_models
from qdq_cli.comparing.record import Comparison, LayerError
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from tests.networks import Network

SIDE = 8
CHANNELS = 16
LAYERS = ("a", "b", "c")


def chain(
    scales: dict[str, float] | None = None, weight_scales: dict[str, float] | None = None, *, quantized: bool = True
) -> onnx.ModelProto:
    """Three convolutions a, b, c with Relu between them, and class scores; scale 2**-5 where none is given.

    Args:
        scales: Layer -> scale of the activation it reads.
        weight_scales: Layer -> scale of its weights, one for all channels.
        quantized: False for the float model.
    """
    net = Network()
    x = net.input("images", ("N", CHANNELS, SIDE, SIDE))
    for layer in LAYERS:
        weight = net.weight(CHANNELS, CHANNELS, 3, 3) / 8
        weight_name, data = net.constant(weight, f"{layer}_w"), x
        if quantized:
            scale = np.float32((weight_scales or {}).get(layer, 2.0**-9))
            codes = net.quantize(weight_name, scale, f"{layer}_w_QuantizeLinear")
            weight_name = net.dequantize(codes, scale, f"{layer}_w_DequantizeLinear")
            data = net.pair(x, (scales or {}).get(layer, 2.0**-5))
        x = net.op("Conv", data, weight_name, name=layer, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = net.relu(x, f"{layer}_relu") if layer != LAYERS[-1] else x
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x, name="pool"), name="flat")
    return net.proto(net.gemm(pooled, CHANNELS, 8, "scores", scale=None))


def write_samples(path: Path, count: int = 6, *, order: int = 1) -> Path:
    values = np.random.default_rng(5).normal(size=(count, CHANNELS, SIDE, SIDE)).astype(np.float32)
    np.savez(path, images=values[::order])
    return path


def compare(folder: Path, quantized: onnx.ModelProto, *, order: int = 1, layers: bool = True) -> Comparison:
    onnx.save(chain(quantized=False), folder / "float.onnx")
    onnx.save(quantized, folder / "quantized.onnx")
    data = DataConfig(calib=(write_samples(folder / f"data{order}.npz", order=order),))
    return compare_models(CompareConfig(folder / "float.onnx", folder / "quantized.onnx", data, layers=layers))


def layer(found: Comparison, tensor: str) -> LayerError:
    assert found.layers is not None
    return next(entry for entry in found.layers.ranked if entry.tensor == tensor)


def comparable(*protos: onnx.ModelProto) -> tuple[ir.Model, ir.Model]:
    one, other = (ir.serde.deserialize_model(proto) for proto in protos)
    for model in (one, other):
        make_comparable(model)
    return to_one_opset(one, other)
