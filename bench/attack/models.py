"""Small models that hold one of everything a command looks at: what the attack mutates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

SIDE = 8
"""Height and width of the pictures the models take."""

_HEAD = '<ir_version: 8, opset_import: ["" : 17{more}]>'

_CONVOLUTIONS = """
net (float[N,3,8,8] x) => (float[N,4] y) {
  [first] c0 = Conv <pads = [1,1,1,1]> (x, w0, b0)
  [relu] r0 = Relu (c0)
  [second] c1 = Conv <pads = [1,1,1,1], group = 1> (r0, w1)
  [norm] n1 = BatchNormalization (c1, g, g, g, v)
  [residual] a = Add (n1, r0)
  [clip] k = Clip (a, zero, six)
  [pool] p = GlobalAveragePool (k)
  [flat] f = Flatten (p)
  [fc] z = Gemm <transB = 1> (f, w2, b2)
  [softmax] y = Softmax (z)
}
"""

_ATTENTION = """
net (float[N,4,16] x) => (float[N,4,16] y) {
  [norm] l = LayerNormalization <axis = -1> (x, gamma, gamma)
  [query] q = MatMul (l, wq)
  [key] k = MatMul (l, wk)
  [turn] t = Transpose <perm = [0,2,1]> (k)
  [product] m = MatMul (q, t)
  [scaled] d = Div (m, eight)
  [softmax] p = Softmax <axis = -1> (d)
  [value] o = MatMul (p, l)
  [shape] h = Reshape (o, dims)
  [out] u = MatMul (h, wk)
  [back] y = Add (u, x)
}
"""

_CONTROL = """
net (float[N,3,8,8] x, bool c) => (float[N,16,M,M] y) {
  [first] a = Conv <pads = [1,1,1,1]> (x, w0, b0)
  [branch] b = If (c) <
    then_branch = yes () => (float[N,16,8,8] s) { [inner] s = Conv <pads = [1,1,1,1]> (a, w1) },
    else_branch = no () => (float[N,16,8,8] t) { [other] t = Relu (a) }
  >
  [shape] d = Shape (b)
  [cast] e = Cast <to = 1> (d)
  [sum] f = ReduceSum (e)
  [half] h = Mul (b, six)
  [pool] y = MaxPool <kernel_shape = [2,2], strides = [2,2]> (h)
}
"""

_FUNCTIONS = """
net (float[N,3,8,8] x) => (float[N,16,8,8] y) {
  [call] a = own.block <alpha = 0.5> (x, w0)
  [again] y = own.block <alpha = 0.25> (a, w1)
}
<domain: "own", opset_import: ["" : 17]>
block <alpha> (x, w) => (y) {
  c = Conv <pads = [1,1,1,1]> (x, w)
  y = LeakyRelu <alpha: float = @alpha> (c)
}
"""

_INTEGERS = """
net (float[N,16] x) => (float[N,4] y) {
  [dynamic] q, s, z = DynamicQuantizeLinear (x)
  [product] i = MatMulInteger (q, w8, z, z8)
  [float] f = Cast <to = 1> (i)
  [scaled] y = Mul (f, s)
}
"""


_MAPS = """
net (float[N,16] x) => (float[N,4] p, seq(map(int64, float)) m, seq(float[]) s, optional(float[]) o, string[N] l) {
  [fc] z = Gemm <transB = 1> (x, w2, b2)
  [softmax] p = Softmax (z)
  [zip] m = ai.onnx.ml.ZipMap <classlabels_int64s = [0, 1, 2, 3]> (p)
  [split] s = SplitToSequence <axis = 1> (p)
  [maybe] o = Optional (p)
  [best] i = ArgMax <axis = 1, keepdims = 0> (p)
  [word] l = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1], values_strings = ["a", "b"]> (i)
}
"""


def models() -> dict[str, onnx.ModelProto]:
    """Name -> float model; the same bytes on every call."""
    return {
        "convolutions": _model(_CONVOLUTIONS),
        "attention": _model(_ATTENTION),
        "control": _model(_CONTROL),
        "functions": _model(_FUNCTIONS, ', "own" : 1'),
        "integers": _model(_INTEGERS),
        "maps": _model(_MAPS, ', "ai.onnx.ml" : 2'),
    }


def samples() -> dict[str, dict[str, NDArray[np.generic]]]:
    """Name of a model -> arrays that feed it, eight samples."""
    rng = np.random.default_rng(1)
    picture = rng.normal(size=(8, 3, SIDE, SIDE)).astype(np.float32)
    return {
        "convolutions": {"x": picture},
        "attention": {"x": rng.normal(size=(8, 4, 16)).astype(np.float32)},
        "control": {"x": picture, "c": np.arange(8) % 2 == 0},
        "functions": {"x": picture},
        "integers": {"x": rng.normal(size=(8, 16)).astype(np.float32)},
        "maps": {"x": rng.normal(size=(8, 16)).astype(np.float32)},
    }


def save_external(model: onnx.ModelProto, path: Path) -> None:
    """Write a model with its weights in a file beside it."""
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=64)


def _model(text: str, more: str = "") -> onnx.ModelProto:
    model = onnx.parser.parse_model(_HEAD.format(more=more) + text)
    read = {name for node in model.graph.node for name in _names(node)}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in _weights().items() if name in read
    )
    return model


def _names(node: onnx.NodeProto) -> set[str]:
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return set(node.input) | {name for body in bodies for inner in body.node for name in _names(inner)}


def _weights() -> Mapping[str, NDArray[np.generic]]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.normal(scale=0.3, size=shape).astype(np.float32)

    return {
        "w0": normal(16, 3, 3, 3), "b0": normal(16), "w1": normal(16, 16, 3, 3), "w2": normal(4, 16), "b2": normal(4),
        "g": np.ones(16, np.float32), "v": np.ones(16, np.float32), "wq": normal(16, 16), "wk": normal(16, 16),
        "gamma": np.ones(16, np.float32), "zero": np.float32(0)[...], "six": np.float32(6)[...],
        "eight": np.float32(8)[...], "dims": np.array([0, -1, 16]), "w8": rng.integers(-8, 8, (16, 4)).astype(np.int8),
        "z8": np.int8(0)[...],
    }  # fmt: skip
