"""Write ort_defaults.onnx and ort_tensorrt.onnx: a small network as onnxruntime.quantization leaves it.

Run once by hand (onnxruntime 1.31): python -m tests.foreign.make_ort_models

The first with the defaults of `quantize_static`, the second with the settings its documentation gives for TensorRT:
symmetric INT8 for activations and weights, per channel, pairs on weights, no quantized bias.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.networks import Network

FOLDER = Path(__file__).parent

TENSORRT = {
    "activation_type": QuantType.QInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
    "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    | {"AddQDQPairToWeight": True, "DedicatedQDQPair": False},
}


def float_model() -> onnx.ModelProto:
    net = Network()
    y = net.relu(net.conv(net.input("image", (1, 3, 16, 16)), 16, "stem", scale=None), "stem_relu")
    z = net.relu(net.conv(y, 16, "conv1", scale=None), "relu1")
    y = net.relu(net.add(net.conv(z, 16, "conv2", scale=None), y, "add"), "add_relu")
    y = net.maxpool(y, "pool")
    net._channels[y] = 16
    y = net.op("Sigmoid", net.conv(y, 32, "conv3", scale=None), name="gate")
    y = net.op("Flatten", net.op("GlobalAveragePool", y, name="gap"), name="flatten")
    return net.proto(net.op("Softmax", net.gemm(y, 32, 10, "fc", scale=None), name="scores"))


class Pictures(CalibrationDataReader):
    """Eight seeded random pictures."""

    def __init__(self) -> None:
        self._left = self._all()

    def _all(self) -> Iterator[dict[str, np.ndarray]]:
        rng = np.random.default_rng(0)
        for _ in range(8):
            yield {"image": rng.standard_normal((1, 3, 16, 16)).astype(np.float32)}

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantize(target: Path, options: dict) -> None:
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "float.onnx"
            onnx.save(float_model(), source)
            quantize_static(source, target, Pictures(), **{"quant_format": QuantFormat.QDQ} | options)
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    quantize(FOLDER / "ort_defaults.onnx", {})
    quantize(FOLDER / "ort_tensorrt.onnx", TENSORRT)
