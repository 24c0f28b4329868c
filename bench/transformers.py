"""The transformers of the bench, built here: a small vision transformer and an encoder of BERT's size, weights seeded.

Weights are drawn so that activations keep their size from layer to layer, as in a trained network; the outputs mean
nothing.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.networks import Network
from bench.pictures import SIDE

TOKENS, WORDS = 128, 8_192  # of a sample; of the vocabulary
_PATCH = 16


def _constant(net: Network, name: str, value: object) -> str:
    net.weights[name] = np.asarray(value)
    return name


def _linear(net: Network, x: str, inside: int, out: int) -> str:
    """Append MatMul and Add."""
    name = f"linear_{len(net.nodes)}"
    weight = net.generator.standard_normal((inside, out)) / np.sqrt(inside)
    _constant(net, f"{name}_weight", weight.astype(np.float32))
    _constant(net, f"{name}_bias", np.zeros(out, np.float32))
    return net.add("Add", [net.add("MatMul", [x, f"{name}_weight"]), f"{name}_bias"])


def _norm(net: Network, x: str, width: int) -> str:
    name = f"norm_{len(net.nodes)}"
    _constant(net, f"{name}_scale", np.ones(width, np.float32))
    _constant(net, f"{name}_bias", np.zeros(width, np.float32))
    return net.add("LayerNormalization", [x, f"{name}_scale", f"{name}_bias"], axis=-1)


def _attention(net: Network, x: str, width: int, heads: int) -> str:
    """Append multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762, section 3.2)."""
    shape = _constant(net, "split", np.array([0, 0, heads, width // heads], np.int64))
    joined = _constant(net, "joined", np.array([0, 0, width], np.int64))
    root = _constant(net, "root", np.float32(np.sqrt(width // heads)))
    query, key, value = (net.add("Reshape", [_linear(net, x, width, width), shape]) for _ in range(3))
    query, value = (net.add("Transpose", [each], perm=[0, 2, 1, 3]) for each in (query, value))
    scores = net.add("Div", [net.add("MatMul", [query, net.add("Transpose", [key], perm=[0, 2, 3, 1])]), root])
    mixed = net.add("MatMul", [net.add("Softmax", [scores], axis=-1), value])
    together = net.add("Reshape", [net.add("Transpose", [mixed], perm=[0, 2, 1, 3]), joined])
    return _linear(net, together, width, width)


def _gelu(net: Network, x: str) -> str:
    """Append GELU as exporters write it (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""
    one, half = _constant(net, "one", np.float32(1.0)), _constant(net, "half", np.float32(0.5))
    error = net.add("Erf", [net.add("Div", [x, _constant(net, "root_of_two", np.float32(np.sqrt(2.0)))])])
    return net.add("Mul", [net.add("Mul", [x, net.add("Add", [error, one])]), half])


def _encoder(net: Network, x: str, width: int, heads: int, layers: int) -> str:
    for _ in range(layers):
        x = net.add("Add", [x, _attention(net, _norm(net, x, width), width, heads)])
        inner = _gelu(net, _linear(net, _norm(net, x, width), width, 4 * width))
        x = net.add("Add", [x, _linear(net, inner, 4 * width, width)])
    return _norm(net, x, width)


def vit_tiny(seed: int = 3, layers: int = 12) -> onnx.ModelProto:
    """Build DeiT-Tiny (Touvron et al. 2020, arXiv 2012.12877, table 1): 5.7 million weights, 1.3 GMAC."""
    net, width = Network(seed), 192
    weight = net.generator.standard_normal((width, 3, _PATCH, _PATCH)) / np.sqrt(3 * _PATCH**2)
    _constant(net, "patches_weight", weight.astype(np.float32))
    cut = net.add("Conv", ["input", "patches_weight"], kernel_shape=[_PATCH] * 2, strides=[_PATCH] * 2)
    flat = net.add("Reshape", [cut, _constant(net, "tokens", np.array([0, width, -1], np.int64))])
    x = _encoder(net, net.add("Transpose", [flat], perm=[0, 2, 1]), width, 3, layers)
    mean = net.add("ReduceMean", [x], axes=[1], keepdims=0)
    shape = ["N", 3, SIDE, SIDE]
    return _model(net, _linear(net, mean, width, 1000), (onnx.TensorProto.FLOAT, shape), "vit_tiny")


def bert_base(seed: int = 4, layers: int = 12) -> onnx.ModelProto:
    """Build an encoder of BERT-Base's size (Devlin et al. 2018, arXiv 1810.04805, section 3): 85 million weights."""
    net, width = Network(seed), 768
    _constant(net, "words", net.generator.standard_normal((WORDS, width)).astype(np.float32))
    x = _encoder(net, net.add("Gather", ["words", "input"]), width, 12, layers)
    return _model(net, _linear(net, x, width, 2), (onnx.TensorProto.INT64, ["N", TOKENS]), "bert_base")


def sentences(count: int, seed: int = 0) -> np.ndarray:
    """Return `count` samples of made-up words, int64 [count, TOKENS]."""
    return np.random.default_rng(seed).integers(0, WORDS, (count, TOKENS))


def _model(net: Network, output: str, source: tuple[int, list[object]], name: str) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info("input", *source), onnx.ValueInfoProto(name=output)]
    weights = [numpy_helper.from_array(array, key) for key, array in net.weights.items()]
    graph = helper.make_graph(net.nodes, name, ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
