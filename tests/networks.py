"""A small builder of ONNX models with Q/DQ, so that a test's graph reads like the sentence it tests."""

from __future__ import annotations

import random

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.model.wire import encode

SCALE = 2.0**-5


class Network:
    """Add operators one by one; every method returns the name of the tensor it makes.

    Weights come from a seeded generator and are multiples of 1/8, so that integer arithmetic on them stays exact.
    """

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self._opset = opset
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._count = 0
        self._channels: dict[str, int] = {}
        self._pairs: dict[tuple[str, float], str] = {}

    def input(self, name: str, shape: tuple[int | str, ...], dtype: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        if len(shape) > 1 and isinstance(shape[1], int):
            self._channels[name] = shape[1]
        return name

    def constant(self, array: object, name: str | None = None) -> str:
        name = name or self._fresh("constant")
        self._initializers[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def op(self, op_type: str, *inputs: str, name: str | None = None, domain: str = "", **attributes: object) -> str:
        name = name or self._fresh(op_type.lower())
        self._nodes.append(helper.make_node(op_type, inputs, [name], name=name, domain=domain, **attributes))
        if inputs and inputs[0] in self._channels:
            self._channels[name] = self._channels[inputs[0]]
        return name

    def split(self, x: str, parts: int, axis: int = 1, name: str | None = None) -> list[str]:
        name = name or self._fresh("split")
        outputs = [f"{name}_{part}" for part in range(parts)]
        extra = {"num_outputs": parts} if self._opset >= 18 else {}
        self._nodes.append(helper.make_node("Split", [x], outputs, name=name, axis=axis, **extra))
        for output in outputs:
            self._channels[output] = self._channels[x] // parts
        return outputs

    def concat(self, *inputs: str, axis: int = 1, name: str | None = None) -> str:
        name = self.op("Concat", *inputs, name=name, axis=axis)
        self._channels[name] = sum(self._channels[x] for x in inputs)
        return name

    def weight(self, *shape: int) -> np.ndarray:
        return (self._rng.integers(-8, 9, shape) / 8).astype(np.float32)

    def quantize(self, x: str, scale: float | np.ndarray = SCALE, name: str | None = None, **attributes: object) -> str:
        return self._qdq("QuantizeLinear", x, scale, name, attributes)

    def dequantize(
        self, x: str, scale: float | np.ndarray = SCALE, name: str | None = None, **attributes: object
    ) -> str:
        return self._qdq("DequantizeLinear", x, scale, name, attributes)

    def _qdq(self, op_type: str, x: str, scale: float | np.ndarray, name: str | None, attributes: dict) -> str:
        name = name or self._fresh(f"{x}_{op_type}")
        array = np.asarray(scale, np.float32)
        operands = [self.constant(array, f"{name}_scale"), self.constant(np.zeros(array.shape, np.int8), f"{name}_zp")]
        return self.op(op_type, x, *operands, name=name, **attributes)

    def pair(self, x: str, scale: float = SCALE, *, shared: bool = True) -> str:
        """Q/DQ on a tensor; all users of a shared pair read one DQ, as the planner emits it."""
        if shared and (x, scale) in self._pairs:
            return self._pairs[x, scale]
        first = shared and not any(tensor == x for tensor, _ in self._pairs)
        q = self.quantize(x, scale, f"{x}_QuantizeLinear" if first else None)
        result = self.dequantize(q, scale, f"{x}_DequantizeLinear" if first else None)
        self._channels[result] = self._channels.get(x, 0)
        if shared:
            self._pairs[x, scale] = result
        return result

    def quantized_weight(self, array: np.ndarray, axis: int | None = 0, name: str | None = None) -> str:
        """A float constant behind Q and DQ with a scale for each slice of `axis`, or one scale for None (form F1)."""
        name = self.constant(array, name)
        scale = np.float32(SCALE) if axis is None else np.full(array.shape[axis], SCALE, np.float32)
        extra = {} if axis is None else {"axis": axis}
        q = self.quantize(name, scale, f"{name}_QuantizeLinear", **extra)
        return self.dequantize(q, scale, f"{name}_DequantizeLinear", **extra)

    def conv(
        self, x: str, channels: int, name: str | None = None, *, kernel: int = 3, stride: int = 1, group: int = 1,
        scale: float | None = SCALE, bias: bool = True,
    ) -> str:  # fmt: skip
        """A 2-D convolution with padding; with a `scale`, its input and weight are quantized."""
        name = name or self._fresh("conv")
        array = self.weight(channels, self._channels[x] // group, kernel, kernel)
        weight = self.constant(array, f"{name}_w") if scale is None else self.quantized_weight(array, 0, f"{name}_w")
        data = x if scale is None else self.pair(x, scale)
        operands = [data, weight, *([self.constant(self.weight(channels), f"{name}_b")] if bias else [])]
        pad = kernel // 2
        self.op(
            "Conv", *operands, name=name, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2, group=group
        )
        self._channels[name] = channels
        return name

    def gemm(self, x: str, features: int, out: int, name: str | None = None, *, scale: float | None = SCALE) -> str:
        """A fully connected layer as PyTorch writes it (transB = 1)."""
        name = name or self._fresh("gemm")
        array = self.weight(out, features)
        weight = self.constant(array, f"{name}_w") if scale is None else self.quantized_weight(array, 0, f"{name}_w")
        data = x if scale is None else self.pair(x, scale)
        return self.op("Gemm", data, weight, self.constant(self.weight(out), f"{name}_b"), name=name, transB=1)

    def relu(self, x: str, name: str | None = None) -> str:
        return self.op("Relu", x, name=name)

    def relu6(self, x: str, name: str | None = None) -> str:
        return self.op("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)), name=name)

    def add(self, a: str, b: str, name: str | None = None) -> str:
        return self.op("Add", a, b, name=name)

    def maxpool(self, x: str, name: str | None = None, *, kernel: int = 2, stride: int = 2, pad: int = 0) -> str:
        return self.op("MaxPool", x, name=name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def proto(self, *outputs: str, output_types: dict[str, int] | None = None) -> onnx.ModelProto:
        types = output_types or {}
        infos = [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in outputs]
        graph = helper.make_graph(
            self._nodes, "network", self._inputs, infos, initializer=list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", self._opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in {node.domain for node in self._nodes} - {""}]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if self._opset < 21 else 10)
        return onnx.shape_inference.infer_shapes(model, data_prop=True)

    def model(self, *outputs: str, output_types: dict[str, int] | None = None) -> ir.Model:
        return ir.serde.deserialize_model(self.proto(*outputs, output_types=output_types))

    def _fresh(self, stem: str) -> str:
        return f"{stem}_{self._next()}"

    def _next(self) -> int:
        self._count += 1
        return self._count


def spoiled_convnet(side: int = 16, channels: int = 48) -> Network:
    """A network whose depthwise operator `deep` INT8 ruins, at 0.4 % of the MACs; its last tensor is `last`.

    Two thirds of the channels it reads hardly move, around 0.05, and meet weights of 30: what is left where a batch
    norm of nearly dead channels is folded. The tensor as a whole looks well, and the Swish that makes it keeps these
    channels from being made larger.
    """
    net, rng = Network(), np.random.default_rng(0)
    still = np.arange(channels) % 3 > 0

    def conv(data: str, weight: np.ndarray, bias: np.ndarray, name: str, **attributes: object) -> str:
        constants = (
            net.constant(array.astype(np.float32), f"{name}_{part}")
            for part, array in zip("wb", (weight, bias), strict=True)
        )
        return net.op("Conv", data, *constants, name=name, **attributes)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))

    x = conv(net.input("images", ("N", 3, side, side)), weight(channels, 3, 3, 3), np.zeros(channels), "first")
    x = net.relu(x, "first_relu")
    pointwise, depthwise = weight(channels, channels, 1, 1), weight(channels, 1, 3, 3)
    pointwise[still] *= 0.004
    depthwise[still] *= 30
    x = conv(x, pointwise, 0.1 * still, "point")
    x = net.op("Mul", x, net.op("Sigmoid", x, name="point_gate"), name="point_swish")
    middle = 0.1 / (1 + np.exp(-0.1)) * still
    x = conv(x, depthwise, -middle * depthwise.sum(axis=(1, 2, 3)), "deep", group=channels, pads=[1, 1, 1, 1])
    net.op(
        "Conv",
        net.relu(x, "deep_relu"),
        net.constant(weight(128, channels, 3, 3).astype(np.float32), "last_w"),
        name="last",
    )
    return net


def serialized(model: ir.Model) -> bytes:
    """A model as protobuf bytes with every weight inside, as it is written and run."""
    return b"".join(encode(model).pieces())


def proto_of(model: ir.Model) -> onnx.ModelProto:
    """The protobuf of a model, checked in full: types and shapes are inferred and compared with the declared ones."""
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def shuffled(model: ir.Model, seed: int) -> ir.Model:
    """Put the nodes of a model, in place, into another order that is topological too."""
    nodes = list(model.graph)
    model.graph.remove(nodes)
    random.Random(seed).shuffle(nodes)
    model.graph.extend(nodes)
    model.graph.sort()
    return model


def run(model: ir.Model, feeds: dict[str, np.ndarray] | None = None, seed: int = 0) -> list[np.ndarray]:
    """Run a model in ONNX Runtime with its optimisations off; inputs not given are seeded multiples of 1/64."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto_of(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(seed)
    for put in session.get_inputs():
        feeds = feeds or {}
        if put.name not in feeds:
            shape = [dim if isinstance(dim, int) else 2 for dim in put.shape]
            feeds[put.name] = (rng.integers(-400, 401, shape) / 64).astype(np.float32)
    return session.run(None, feeds)


def as_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn a float model into one of FP16, in place; returns it with its shapes."""
    for constant in model.graph.initializer:
        array = numpy_helper.to_array(constant)
        if array.dtype == np.float32:
            constant.CopyFrom(numpy_helper.from_array(array.astype(np.float16), constant.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)
