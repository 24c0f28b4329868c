"""Small models in every type and form that TensorRT reads, as their exporters write them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.networks import Network

FP32, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
INT8, FP8, INT4, FP4 = TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.INT4, TensorProto.FLOAT4E2M1
CHANNELS = 64


class Form(Network):
    """A network whose floats, scales and codes have any type."""

    def __init__(self, opset: int, floats: int = FP32, scales: int | None = None) -> None:
        super().__init__(opset)
        self.floats = floats
        self.scales = floats if scales is None else scales
        named = self.scales != floats
        self.returned: dict[str, object] = {"output_dtype": floats} if named else {}

    def typed(self, array: object, kind: int, name: str | None = None) -> str:
        """A constant of any element type."""
        name = name or self._fresh("typed")
        values = np.asarray(array)
        self._initializers[name] = helper.make_tensor(name, kind, values.shape, values.ravel().tolist())
        return name

    def data(self, *shape: int) -> str:
        return self.input("x", shape, self.floats)

    def coded(self, x: str, codes: int, shape: tuple[int, ...] = (), **attributes: object) -> str:
        """A Q/DQ pair; with a shape of scales, per channel."""
        operands = [self.typed(np.full(shape, 0.25), self.scales), self.typed(np.zeros(shape), codes)]
        q = self.op("QuantizeLinear", x, *operands, name=f"{x}_QuantizeLinear", **attributes)
        return self.op("DequantizeLinear", q, *operands, name=f"{x}_DequantizeLinear", **attributes, **self.returned)

    def stored(self, codes: int, dims: tuple[int, ...], scales: tuple[int, ...], **attributes: object) -> str:
        """A weight of codes behind a DQ alone."""
        operands = [self.typed(np.ones(dims), codes, "w"), self.typed(np.full(scales, 0.25), self.scales, "w_scale")]
        return self.op("DequantizeLinear", *operands, name="w_DequantizeLinear", **attributes, **self.returned)

    def finished(self, *outputs: str) -> onnx.ModelProto:
        model = self.proto(*outputs, output_types=dict.fromkeys(outputs, self.floats))
        model.ir_version = 11
        return model


def convolutions(
    opset: int, codes: int = INT8, floats: int = FP32, scales: int | None = None, *, channel: bool = False
) -> onnx.ModelProto:
    """Conv -> Relu -> Conv with Q/DQ on all that they read."""
    net = Form(opset, floats, scales)
    x, shape = net.data(1, CHANNELS, 8, 8), (CHANNELS,) if channel else ()
    for name in ("first", "second"):
        w = net.typed(np.ones((CHANNELS, CHANNELS, 1, 1)), floats, f"{name}_w")
        weight = net.coded(w, codes, shape, **({"axis": 0} if channel else {}))
        x = net.op("Conv", net.coded(x, codes), weight, name=name)
        x = net.op("Relu", x, name="relu") if name == "first" else x
    return net.finished(x)


def products(opset: int, codes: int, floats: int, op_type: str = "MatMul") -> onnx.ModelProto:
    """One product with Q/DQ on both operands."""
    net = Form(opset, floats)
    w = net.typed(np.ones((CHANNELS, CHANNELS)), floats, "w")
    return net.finished(net.op(op_type, net.coded(net.data(16, CHANNELS), codes), net.coded(w, codes), name="product"))


def weights_alone(
    opset: int, codes: int, floats: int, scales: int | None = None, *, block: int = 0, op_type: str = "MatMul"
) -> onnx.ModelProto:
    """A product of float data and a stored weight: INT8 with a scale a column, or codes of 4 bits in blocks."""
    net = Form(opset, floats, scales)
    x = net.data(16, 256)
    if block:
        weight = net.stored(codes, (256, CHANNELS), (256 // block, CHANNELS), axis=0, block_size=block)
    else:
        weight = net.stored(codes, (256, CHANNELS), (CHANNELS,), axis=1)
    return net.finished(net.op(op_type, x, weight, name="product"))


def nvfp4(floats: int = FP16) -> onnx.ModelProto:
    """FP4 in blocks of 16: each block has an FP8 scale, all of them one FP32 scale; Casts return to the floats."""
    net = Form(23, floats, FP32)
    x, scale = net.data(16, 256), net.typed(0.5, FP32, "x_global")
    net.op("TRT_FP4DynamicQuantize", x, scale, name="x_codes", domain="trt", axis=-1, block_size=16, scale_type=17)
    net._nodes[-1].output.append("x_blocks")
    data = _two_steps(net, "x_codes", "x_blocks", scale, -1, floats)
    net.typed(np.ones((256, CHANNELS)), FP4, "w")
    net.typed(np.ones((16, CHANNELS)), FP8, "w_blocks")
    weight = _two_steps(net, "w", "w_blocks", net.typed(0.5, FP32, "w_global"), 0, floats)
    return net.finished(net.op("MatMul", data, weight, name="product"))


def _two_steps(net: Form, codes: str, blocks: str, scale: str, axis: int, floats: int) -> str:
    scales = net.op("DequantizeLinear", blocks, scale, name=f"{blocks}_DequantizeLinear")
    result = net.op("DequantizeLinear", codes, scales, name=f"{codes}_DequantizeLinear", axis=axis, block_size=16)
    return result if floats == FP32 else net.op("Cast", result, name=f"{codes}_cast", to=floats)


def mxfp8(floats: int = FP16) -> onnx.ModelProto:
    """FP8 in blocks of 32, whose scales are powers of two, stored as UINT8."""
    net = Form(23, floats)
    x = net.data(16, 256)
    net.op("TRT_MXFP8DynamicQuantize", x, name="x_codes", domain="trt", axis=-1, block_size=32, output_dtype=FP8)
    net._nodes[-1].output.append("x_blocks")
    net.typed(np.ones((256, CHANNELS)), FP8, "w")
    net.typed(np.full((8, CHANNELS), 127), TensorProto.UINT8, "w_blocks")
    names = [("x_codes", "x_blocks", -1), ("w", "w_blocks", 0)]
    operands = [
        net.op(
            "TRT_MXFP8DequantizeLinear", codes, blocks, name=f"{codes}_DequantizeLinear", domain="trt", axis=axis,
            block_size=32, output_dtype=floats,
        )
        for codes, blocks, axis in names
    ]  # fmt: skip
    return net.finished(net.op("MatMul", *operands, name="product"))


VALID: dict[str, onnx.ModelProto] = {
    "INT8 in FP32": convolutions(13, channel=True),
    "INT8 in FP16": convolutions(19, INT8, FP16, channel=True),
    "INT8 in BF16": convolutions(22, INT8, BF16),
    "INT8 in FP16, FP32 scales": convolutions(23, INT8, FP16, FP32, channel=True),
    "INT8 in BF16, FP32 scales": convolutions(23, INT8, BF16, FP32),
    "FP8 in FP32": convolutions(19, FP8),
    "FP8 in FP16": convolutions(19, FP8, FP16),
    "FP8 in FP16, FP32 scales": convolutions(23, FP8, FP16, FP32),
    "FP8 in BF16": convolutions(22, FP8, BF16),
    "FP8 of MatMul": products(19, FP8, FP16),
    "FP8 of Gemm": products(19, FP8, FP16, "Gemm"),
    "INT4 in blocks of 64": weights_alone(21, INT4, FP16, block=64),
    "INT4 in blocks of 128": weights_alone(21, INT4, FP32, block=128),
    "INT4 in BF16": weights_alone(22, INT4, BF16, block=128),
    "INT8 weights alone in FP32": weights_alone(13, INT8, FP32),
    "INT8 weights alone in FP16": weights_alone(19, INT8, FP16),
    "INT8 weights alone, FP32 scales": weights_alone(23, INT8, FP16, FP32),
    "INT8 weights alone of Gemm": weights_alone(19, INT8, FP16, op_type="Gemm"),
    "NVFP4 in FP16": nvfp4(),
    "NVFP4 in BF16": nvfp4(BF16),
    "NVFP4 in FP32": nvfp4(FP32),
    "MXFP8 in FP16": mxfp8(),
    "MXFP8 in BF16": mxfp8(BF16),
}
"""Name -> a model that TensorRT reads and computes in the type it is written in (rules, section 7)."""
