"""The networks of the bench, built here: MobileNetV2 and ResNet-50 in size and shape, weights seeded.

Weights are He-initialised; every batch-norm gets the mean and variance its input really has on a few seeded pictures,
so activations stay near N(0, 1) behind each normalization, as in a trained network: histograms, zeros behind Relu and
the cost of counting are realistic, the class scores mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from bench.pictures import SIDE, pictures

EPSILON = 1e-5


@dataclass
class Network:
    """A graph under construction: nodes in order, weights by name, and which tensors every batch-norm reads."""

    seed: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    norms: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)

    def add(self, op_type: str, inputs: list[str], **attributes: object) -> str:
        """Append a node and return the name of its output."""
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_output"], name=name, **attributes))
        return f"{name}_output"

    def conv(self, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1, group: int = 1) -> str:
        """Append Conv (no bias) and BatchNormalization; `channels` are those in and out."""
        inside, out = channels
        shape = (out, inside // group, kernel, kernel)
        name = f"conv_{len(self.nodes)}_weight"
        deviation = np.sqrt(2.0 / np.prod(shape[1:]))
        self.weights[name] = (self.generator.standard_normal(shape) * deviation).astype(np.float32)
        pad = kernel // 2
        y = self.add("Conv", [x, name], group=group, kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2)
        return self.norm(y, out)

    def norm(self, x: str, channels: int) -> str:
        """Append a BatchNormalization whose statistics `measure` fills in."""
        stem = f"norm_{len(self.nodes)}"
        gamma = self.generator.uniform(0.8, 1.2, channels)
        beta = self.generator.normal(0.0, 0.3, channels)
        for part, values in (
            ("gamma", gamma),
            ("beta", beta),
            ("mean", np.zeros(channels)),
            ("var", np.ones(channels)),
        ):
            self.weights[f"{stem}_{part}"] = values.astype(np.float32)
        names = [f"{stem}_{part}" for part in ("gamma", "beta", "mean", "var")]
        y = self.add("BatchNormalization", [x, *names], epsilon=EPSILON)
        self.norms.append((y, names[2], names[3]))
        return y

    def head(self, x: str, channels: int) -> str:
        """Append global average pooling and the classifier of 1,000 classes."""
        self.weights["classifier_weight"] = (
            self.generator.standard_normal((1000, channels)) / np.sqrt(channels)
        ).astype(np.float32)
        self.weights["classifier_bias"] = np.zeros(1000, np.float32)
        flat = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        return self.add("Gemm", [flat, "classifier_weight", "classifier_bias"], transB=1)


def mobilenet_v2(seed: int = 1) -> onnx.ModelProto:
    """Build MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2): 3.5 million weights, 0.3 GMAC."""
    net = Network(seed)

    def relu6(x: str) -> str:
        return net.add("Clip", [x, "zero", "six"])

    net.weights |= {"zero": np.float32(0.0).reshape(()), "six": np.float32(6.0).reshape(())}
    x, inside = relu6(net.conv("input", (3, 32), kernel=3, stride=2)), 32
    for expand, out, repeats, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for repeat in range(repeats):
            stride, wide = (first_stride if repeat == 0 else 1), inside * expand
            y = relu6(net.conv(x, (inside, wide))) if expand > 1 else x
            y = relu6(net.conv(y, (wide, wide), kernel=3, stride=stride, group=wide))
            y = net.conv(y, (wide, out))
            x = net.add("Add", [x, y]) if stride == 1 and inside == out else y
            inside = out
    return _finish(net, net.head(relu6(net.conv(x, (inside, 1280))), 1280), "mobilenet_v2")


def resnet50(seed: int = 2) -> onnx.ModelProto:
    """Build ResNet-50 (He et al. 2015, arXiv 1512.03385, table 1; stride in the 3x3): 25 million weights, 4.1 GMAC."""
    net = Network(seed)
    x = net.add("Relu", [net.conv("input", (3, 64), kernel=7, stride=2)])
    x, inside = net.add("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]), 64
    for wide, repeats, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for repeat in range(repeats):
            stride, out = (first_stride if repeat == 0 else 1), wide * 4
            y = net.add("Relu", [net.conv(x, (inside, wide))])
            y = net.add("Relu", [net.conv(y, (wide, wide), kernel=3, stride=stride)])
            y = net.conv(y, (wide, out))
            shortcut = net.conv(x, (inside, out), stride=stride) if repeat == 0 else x
            x, inside = net.add("Relu", [net.add("Add", [y, shortcut])]), out
    return _finish(net, net.head(x, inside), "resnet50")


def resnet18(seed: int = 3) -> onnx.ModelProto:
    """Build ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1): 11.7 million weights, 1.8 GMAC."""
    net = Network(seed)
    x = net.add("Relu", [net.conv("input", (3, 64), kernel=7, stride=2)])
    x, inside = net.add("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]), 64
    for wide, first_stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first_stride, 1):
            y = net.add("Relu", [net.conv(x, (inside, wide), kernel=3, stride=stride)])
            y = net.conv(y, (wide, wide), kernel=3)
            shortcut = x if stride == 1 and inside == wide else net.conv(x, (inside, wide), stride=stride)
            x, inside = net.add("Relu", [net.add("Add", [y, shortcut])]), wide
    return _finish(net, net.head(x, inside), "resnet18")


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {"mobilenet_v2": mobilenet_v2, "resnet50": resnet50}


def build(name: str, folder: Path, make: Callable[[], onnx.ModelProto] | None = None) -> Path:
    """Write network `name` into `folder` unless it is already there, and return its path.

    Args:
        name: Of the file, and of one of `NETWORKS` where `make` does not say how it is built.
        folder: Where it goes.
        make: Builds it.
    """
    path = folder / f"{name}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        onnx.save((make or NETWORKS[name])(), partial)
        partial.replace(path)
    return path


def _finish(net: Network, output: str, name: str) -> onnx.ModelProto:
    _measure(net)
    model = _model(net, net.nodes, [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["N", 1000])], name)
    onnx.checker.check_model(model)
    return model


def _model(net: Network, nodes: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto], name: str) -> onnx.ModelProto:
    source = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    weights = [numpy_helper.from_array(array, key) for key, array in net.weights.items()]
    graph = helper.make_graph(nodes, name, [source], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _measure(net: Network) -> None:
    """Fill in every batch-norm's mean and variance from one run in which each normalizes by its own batch."""
    nodes: list[onnx.NodeProto] = []
    moments = {y: (mean, var) for y, mean, var in net.norms}
    for node in net.nodes:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        x, gamma, beta, mean, var = node.input
        y = node.output[0]
        nodes += [
            helper.make_node("ReduceMean", [x], [f"{y}/mean"], axes=[0, 2, 3], keepdims=1),
            helper.make_node("Sub", [x, f"{y}/mean"], [f"{y}/centred"]),
            helper.make_node("Mul", [f"{y}/centred"] * 2, [f"{y}/square"]),
            helper.make_node("ReduceMean", [f"{y}/square"], [f"{y}/var"], axes=[0, 2, 3], keepdims=1),
            helper.make_node("BatchNormalization", [x, gamma, beta, f"{y}/m", f"{y}/v"], [y], epsilon=EPSILON),
            helper.make_node("Squeeze", [f"{y}/mean", "axes"], [f"{y}/m"]),
            helper.make_node("Squeeze", [f"{y}/var", "axes"], [f"{y}/v"]),
        ]
        nodes[-3:] = [nodes[-2], nodes[-1], nodes[-3]]
    measuring = Network(net.seed, nodes, net.weights | {"axes": np.array([0, 2, 3], np.int64)})
    names = [f"{y}/{part}" for y in moments for part in ("m", "v")]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["C"]) for name in names]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(_model(measuring, nodes, outputs, "measure").SerializeToString(), options)
    found = dict(zip(names, session.run(names, {"input": pictures(4, seed=net.seed)}), strict=True))
    for y, (mean, var) in moments.items():
        net.weights[mean], net.weights[var] = found[f"{y}/m"], found[f"{y}/v"]
