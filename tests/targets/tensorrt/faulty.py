"""One model for each lint code of the rules' section 1.11, as a file of another tool could hold it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.networks import Network
from tests.targets.tensorrt.forms import FP8, FP16, FP32, INT8, convolutions, weights_alone


def start(channels: int = 32, opset: int = 17) -> tuple[Network, str]:
    net = Network(opset)
    return net, net.input("x", (1, channels, 8, 8))


def pair(net: Network, x: str, scale: object, zero_point: object | None = np.int8(0), **attributes: int) -> str:
    operands = [net.constant(np.asarray(scale))]
    operands += [] if zero_point is None else [net.constant(np.asarray(zero_point))]
    q = net.op("QuantizeLinear", x, *operands, name="q", **attributes)
    return net.op("DequantizeLinear", q, *operands, name="dq", **attributes)


def on_the_input(
    scale: object, zero_point: object | None = np.int8(0), opset: int = 17, **attributes: int
) -> onnx.ModelProto:
    net, x = start(opset=opset)
    data = pair(net, x, scale, zero_point, **attributes)
    return net.proto(net.op("Conv", data, net.quantized_weight(net.weight(32, 32, 1, 1)), name="conv"))


def on_the_weight(scales: int, axis: int | None) -> onnx.ModelProto:
    net, x = start()
    attributes = {} if axis is None else {"axis": axis}
    scale, zero_point = np.full(scales, 0.5, np.float32), np.zeros(scales, np.int8)
    weight = pair(net, net.constant(net.weight(32, 32, 1, 1)), scale, zero_point, **attributes)
    return net.proto(net.op("Conv", net.pair(x), weight, name="conv"))


def with_bias(make: Callable[[Network], str]) -> onnx.ModelProto:
    net, x = start()
    return net.proto(
        net.op("Conv", net.pair(x), net.quantized_weight(net.weight(32, 32, 1, 1)), make(net), name="conv")
    )


def with_weight(make: Callable[[Network], str], channels: int = 32, shape: tuple[int, ...] = ()) -> onnx.ModelProto:
    net = Network()
    x = net.input("x", shape or (1, channels, 8, 8))
    return net.proto(net.op("Conv", net.pair(x), make(net), name="conv"))


def on_half_data() -> onnx.ModelProto:
    net = Network(19)
    y = pair(net, net.input("x", (1, 8), TensorProto.FLOAT16), np.float16(0.5))
    return net.proto(y, output_types={y: TensorProto.FLOAT16})


def computed_scale() -> onnx.ModelProto:
    net, x = start()
    operands = [net.op("Abs", net.input("s", ())), net.constant(np.int8(0))]
    data = net.op("DequantizeLinear", net.op("QuantizeLinear", x, *operands), *operands)
    return net.proto(net.op("Conv", data, net.quantized_weight(net.weight(32, 32, 1, 1)), name="conv"))


def stored_bias(net: Network) -> str:
    operands = [net.constant(np.full(32, 0.5, np.float32)), net.constant(np.zeros(32, np.int32))]
    return net.op("DequantizeLinear", net.constant(np.ones(32, np.int32)), *operands, axis=0)


def stored_weight(net: Network) -> str:
    operands = [net.constant(np.full(32, 0.5, np.float32)), net.constant(np.zeros(32, np.int8))]
    return net.op("DequantizeLinear", net.constant(np.ones((32, 32, 1, 1), np.int8)), *operands, axis=0)


def another_domain() -> onnx.ModelProto:
    net, x = start()
    operands = [net.constant(np.float32(0.5)), net.constant(np.int8(0))]
    q = net.op("QuantizeLinear", x, *operands, domain="com.microsoft")
    return net.proto(net.op("DequantizeLinear", q, *operands, domain="com.microsoft"))


def conv(channels: int, out: int, group: int = 1) -> onnx.ModelProto:
    net, x = start(channels)
    return net.proto(net.conv(x, out, "conv", group=group))


def two_scales() -> onnx.ModelProto:
    net, x = start()
    return net.proto(net.conv(x, 32, "a", scale=0.5), net.conv(x, 32, "b", scale=0.25))


def requantized() -> onnx.ModelProto:
    net, x = start()
    return net.proto(net.conv(net.maxpool(net.pair(x, 0.5)), 32, scale=0.25))


def clipped() -> onnx.ModelProto:
    """Codes of four bits between Q and DQ, as Brevitas writes them."""
    net, x = start()
    operands = net.constant(np.float32(0.5)), net.constant(np.int8(0))
    codes = net.op("QuantizeLinear", x, *operands, name="q")
    narrow = net.op("Clip", codes, net.constant(np.int8(-8)), net.constant(np.int8(7)))
    data = net.op("DequantizeLinear", narrow, *operands, name="dq")
    return net.proto(net.op("Conv", data, net.quantized_weight(net.weight(32, 32, 1, 1)), name="conv"))


def activated(op_type: str) -> onnx.ModelProto:
    net, x = start()
    return net.proto(net.conv(net.op(op_type, net.pair(net.conv(x, 32))), 32))


def padded() -> onnx.ModelProto:
    net, x = start()
    return net.proto(net.conv(net.op("Pad", x, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))), 32))


def float_neighbour(*, before: bool) -> onnx.ModelProto:
    net, x = start()
    y = net.conv(net.op("Softmax", net.conv(x, 32)) if before else x, 32)
    return net.proto(y if before else net.op("Softmax", net.pair(y)))


def float_rest() -> onnx.ModelProto:
    """A normalization and an activation that stay FP32 between quantized convolutions."""
    net, x = start()
    return net.proto(net.conv(net.op("Softmax", net.op("Sin", net.conv(x, 32))), 32))


def pooled(**attributes: object) -> onnx.ModelProto:
    net, x = start()
    return net.proto(net.conv(net.op("MaxPool", x, name="pool", kernel_shape=[2, 2], **attributes), 32))


def traced() -> onnx.ModelProto:
    """A diagonal, which TensorRT 10 reads since 10.12."""
    net, x = start()
    return net.proto(net.conv(x, 32), net.op("Einsum", net.input("square", (4, 4)), equation="ii->i"))


def in_double() -> onnx.ModelProto:
    net, x = start()
    wide = net.op("Abs", net.op("Cast", net.conv(x, 32), to=TensorProto.DOUBLE))
    return net.proto(net.op("Cast", wide, to=TensorProto.FLOAT))


def recurrent_branch(op_type: str = "LSTM", gates: int = 4) -> onnx.ModelProto:
    """An If whose first branch holds a recurrent operator, and whose second has none."""
    net, x = start()
    weights = net.constant(net.weight(1, 4 * gates, 4)), net.constant(net.weight(1, 4 * gates, 4))
    series, chosen = net.input("series", (3, 1, 4)), net.input("chosen", (), TensorProto.BOOL)
    shape = helper.make_tensor_value_info
    recurrent = helper.make_node(op_type, [series, *weights], ["ys", "last"], name="recurrent", hidden_size=4)
    plain = helper.make_node("ReduceMean", [series], ["mean"], name="plain", axes=[0])
    branches = {
        "then_branch": helper.make_graph([recurrent], "then", [], [shape("last", FP32, (1, 1, 4))]),
        "else_branch": helper.make_graph([plain], "else", [], [shape("mean", FP32, (1, 1, 4))]),
    }
    return net.proto(net.conv(x, 32), net.op("If", chosen, name="if", **branches))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "E_SCALE_NONPOS": lambda: on_the_input(np.float32(0)),
    "E_SCALE_NOT_CONST": computed_scale,
    "E_SCALE_DTYPE": on_half_data,
    "W_SCALE_DTYPE": lambda: convolutions(23, INT8, FP32, FP16),
    "E_ZP_MISSING": lambda: on_the_input(np.float32(0.5), None),
    "W_ZP_MISSING": lambda: on_the_input(np.float32(0.5), None),
    "E_ZP_NONZERO": lambda: on_the_input(np.float32(0.5), np.int8(3)),
    "E_ZP_DTYPE": lambda: on_the_input(np.float32(0.5), np.uint8(128)),
    "E_ZP_SIZE": lambda: on_the_input(np.float32(0.5), np.zeros(2, np.int8)),
    "E_ACT_PER_AXIS": lambda: on_the_input(np.full(32, 0.5, np.float32), np.zeros(32, np.int8), axis=1),
    "W_SCALE_SHAPE": lambda: on_the_input(np.full(1, 0.5, np.float32), np.zeros(1, np.int8)),
    "E_AXIS_MISSING": lambda: on_the_weight(32, None),
    "E_AXIS_LEN": lambda: on_the_weight(16, 0),
    "E_AXIS_REDUCTION": lambda: on_the_weight(32, 1),
    "E_BIAS_QUANTIZED": lambda: with_bias(stored_bias),
    "E_BIAS_NOT_CONST": lambda: with_bias(lambda net: net.op("Abs", net.input("b", (32,)))),
    "E_UNSUPPORTED_OP": another_domain,
    "E_UNSUPPORTED_FORM": lambda: pooled(dilations=[2, 2]),
    "W_MINOR_RELEASE": traced,
    "W_DOUBLE": in_double,
    "W_RECURRENT_BRANCH": recurrent_branch,
    "E_QDQ_TYPE": lambda: on_the_input(np.float32(0.5), np.int16(0), opset=21),
    "W_OPSET": lambda: on_the_input(np.float32(0.5), opset=21),
    "W_WEIGHT_ONLY_OR_ACT_ONLY": lambda: with_weight(lambda net: net.constant(net.weight(32, 32, 1, 1))),
    "W_DQ_ONLY_WEIGHTS": lambda: with_weight(stored_weight),
    "E_GPU_TYPE": lambda: convolutions(19, FP8),
    "W_GPU_TYPE": lambda: weights_alone(13, INT8, FP32),
    "W_FLOAT_REST": float_rest,
    "W_GROUP_ALIGN": lambda: conv(6, 6, 3),
    "W_CHANNEL_ALIGN": lambda: conv(3, 32),
    "W_CONV1D": lambda: with_weight(lambda net: net.quantized_weight(net.weight(32, 32, 3)), shape=(1, 32, 8)),
    "W_CODES_CLIPPED": clipped,
    "W_SHARED_SCALE_MISMATCH": two_scales,
    "W_STANDALONE_Q": lambda: float_neighbour(before=True),
    "W_STANDALONE_DQ": lambda: float_neighbour(before=False),
    "W_REQUANT": requantized,
    "W_Q_BEFORE_RELU": lambda: activated("Relu"),
    "W_OUTPUT_QUANTIZED_THEN_FLOAT_ACT": lambda: activated("Sigmoid"),
    "W_QDQ_BETWEEN_PAD_AND_CONV": padded,
}
"""Lint code -> a model that has it."""
