"""Products as they saturate on x86 processors with AVX2 and without VNNI, computed on any processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from qdq_cli.model.products import SAFE_CODE
from qdq_cli.model.saturated import Saturated, saturate_products
from qdq_cli.running.outputs import without_weights
from qdq_cli.running.session import SessionOptions, Source, make_session
from tests.model.test_products import CODES, model_of, signals

Arrays = Mapping[str, np.ndarray]


def saturated(proto: onnx.ModelProto, feeds: Arrays) -> tuple[np.ndarray, Saturated]:
    """What a model gives where its products saturate."""
    model = ir.from_proto(proto)
    found = saturate_products(model)
    graph, stored = without_weights(model)
    return run(Source(graph.SerializeToString(), stored), feeds), found


def run(source: Source, feeds: Arrays, *, default: bool = False) -> np.ndarray:
    options = SessionOptions(threads=1, optimize=default, fuse=default)
    return np.asarray(make_session(source, options).run(None, dict(feeds))[0])


def pair_by_pair(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows of codes (..., K) by weights (K, N); each pair of neighbours summed in 16 bits."""
    depth = len(weights)
    sums = np.zeros((*codes.shape[:-1], weights.shape[1]), np.int64)
    for first in range(0, depth, 2):
        pair = sum(
            codes[..., place, None].astype(np.int64) * weights[place]
            for place in range(first, min(first + 2, depth))
        )  # fmt: skip
        sums += np.clip(pair, -32768, 32767)
    return sums


@given(
    rows=st.integers(1, 4),
    depth=st.integers(1, 19),
    results=st.integers(1, 7),
    amax=st.sampled_from((64, 65, 90, 127)),
    zeros=st.tuples(st.integers(0, 255), st.integers(-9, 9)),
    seed=st.integers(0, 99),
)
def test_sums_of_a_matrix(rows: int, depth: int, results: int, amax: int, zeros: tuple[int, int], seed: int):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (rows, depth)).astype(np.uint8)
    stored = rng.choice((-amax, 0, amax - 1, amax), (depth, results)).astype(np.int8)
    zero, weights_zero = np.uint8(zeros[0]), np.int8(zeros[1])
    node = helper.make_node("MatMulInteger", ["x", "w", "x_zero", "w_zero"], ["y"], name="product")
    given = {"x": codes}
    got, _ = saturated(one(node, given, {"w": stored, "x_zero": zero, "w_zero": weights_zero}), given)
    exact = (codes.astype(np.int64) - zero) @ (stored.astype(np.int64) - weights_zero)
    lost = codes.astype(np.int64) @ stored.astype(np.int64) - pair_by_pair(codes, stored)
    np.testing.assert_array_equal(got, exact - lost)


@dataclass(frozen=True)
class Conv:
    channels: int
    outputs: int
    kernel: tuple[int, ...] = (3, 3)
    group: int = 1
    zero: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


CONVS = {
    "odd channels": Conv(3, 4),
    "a padded zero point": Conv(4, 3, zero=131, options={"pads": [1, 1, 1, 1]}),
    "groups": Conv(6, 4, group=2),
    "a group for each channel": Conv(3, 6, group=3),
    "strides and dilations": Conv(5, 3, options={"strides": [2, 1], "dilations": [1, 2]}),
    "automatic padding": Conv(4, 4, zero=7, options={"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "one place": Conv(6, 5, (1, 1)),
    "one dimension": Conv(4, 3, (3,), options={"pads": [1, 1]}),
    "three dimensions": Conv(2, 3, (2, 1, 2)),
    "depthwise": Conv(4, 4, group=4),
}


@pytest.mark.parametrize("case", CONVS)
def test_sums_of_a_convolution(case: str):
    """Against im2col in NumPy of ONNX Runtime's own float convolution: one kernel for each place and channel."""
    conv, rng = CONVS[case], np.random.default_rng(1)
    codes = rng.integers(0, 256, (2, conv.channels, *[6] * len(conv.kernel))).astype(np.uint8)
    stored = rng.integers(70, 128, (conv.outputs, conv.channels // conv.group, *conv.kernel)).astype(np.int8)
    proto, feeds = linear_conv(conv, codes, stored)
    got, found = saturated(proto, feeds)
    exact = run(Source(proto.SerializeToString()), feeds) if case == "depthwise" else None
    assert found == Saturated(int(case != "depthwise"), ())
    np.testing.assert_array_equal(got, reference(conv, codes, stored) if exact is None else exact)
    assert len(np.unique(got)) > 3


STEP = 8192.0


def linear_conv(conv: Conv, codes: np.ndarray, stored: np.ndarray) -> tuple[onnx.ModelProto, Arrays]:
    inputs = ["x", "one", "zero", "w", "ones", "none", "step", "middle", "bias"]
    node = helper.make_node("QLinearConv", inputs, ["y"], name="product", group=conv.group, **conv.options)
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(conv.zero),
        "w": stored,
        "ones": np.ones(conv.outputs, np.float32),
        "none": np.zeros(conv.outputs, np.int8),
        "step": np.float32(STEP),
        "middle": np.uint8(64),
        "bias": np.arange(conv.outputs, dtype=np.int32) * 1000,
    }
    return one(node, {"x": codes}, constants), {"x": codes}


def reference(conv: Conv, codes: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """All in NumPy, but for what a kernel sees, which a convolution with kernels of a single one takes out."""
    channels, places = conv.channels // conv.group, int(np.prod(conv.kernel))
    outputs = conv.outputs // conv.group
    parts = []
    for group in range(conv.group):
        own = slice(group * channels, (group + 1) * channels)
        kernels = np.eye(channels * places, dtype=np.float32).reshape(-1, channels, *conv.kernel)
        node = helper.make_node("Conv", ["x", "k"], ["y"], name="take", **conv.options)
        given = {"x": codes[:, own].astype(np.float32) - conv.zero}
        seen = run(Source(one(node, given, {"k": kernels}).SerializeToString()), given) + conv.zero
        rows = np.moveaxis(seen, 1, -1).reshape(*seen.shape[:1], *seen.shape[2:], channels, places)
        rows = np.swapaxes(rows, -1, -2).reshape(*rows.shape[:-2], -1).astype(np.int64)
        flat = stored[group * outputs : (group + 1) * outputs].reshape(outputs, channels, places)
        matrix = flat.transpose(2, 1, 0).reshape(-1, outputs)
        parts.append(pair_by_pair(rows, matrix) - conv.zero * matrix.sum(0, dtype=np.int64))
    sums = np.concatenate(parts, axis=-1) + np.arange(conv.outputs) * 1000
    return np.moveaxis(np.clip(np.rint(sums / STEP) + 64, 0, 255), -1, 1)


def one(node: onnx.NodeProto, given: Arrays, constants: Arrays) -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name="y")], tensors)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


INSIDE = ("QAttention", "DynamicQuantizeLSTM", "ConvInteger")
"""Products that are not written: inside of a larger operator, or of two operands of which none is a weight."""


@pytest.mark.parametrize("case", [case for case in CODES if case not in INSIDE])
def test_the_default_session_gives_one_or_the_other(case: str):
    """Exact sums or saturated ones, whatever the processor; and here these are different."""
    proto, feeds = model_of(case, 127, signals(case))
    got, found = saturated(proto, feeds)
    exact = run(Source(without_weights(ir.from_proto(proto))[0].SerializeToString()), feeds)
    here = run(Source(proto.SerializeToString()), feeds, default=True)
    assert found == Saturated(1, ())
    assert not np.array_equal(got, exact)
    assert any(np.allclose(here, other, rtol=1e-6) for other in (exact, got))


@pytest.mark.parametrize("case", INSIDE)
def test_what_is_not_written_is_named(case: str):
    proto, feeds = model_of(case, 127, signals(case))
    got, found = saturated(proto, feeds)
    assert found == Saturated(0, ("product",))
    np.testing.assert_array_equal(got, run(Source(without_weights(ir.from_proto(proto))[0].SerializeToString()), feeds))


def test_codes_that_are_computed_on_both_sides_are_named():
    _, found = saturated(*model_of("QLinearMatMul", SAFE_CODE, "x", "w"))
    assert found == Saturated(0, ("product",))


@pytest.mark.parametrize("case", CODES)
def test_weights_of_seven_bits_are_left_alone(case: str):
    proto, _ = model_of(case, SAFE_CODE, signals(case))
    model = ir.from_proto(proto)
    assert saturate_products(model) == Saturated(0, ())
    assert ir.to_proto(model) == ir.to_proto(ir.from_proto(proto))
