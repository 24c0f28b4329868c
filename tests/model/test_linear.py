"""Rows times matrices are what ONNX Runtime computes, for every weighted operator that is searched."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.data.batches import Batch
from qdq_cli.model.linear import Linear, linear_of
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source

CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("Conv", (2, 4, 9, 8), (6, 4, 3, 3), {"pads": [1, 0, 2, 1]}),
    ("Conv", (2, 4, 9, 8), (6, 4, 3, 3), {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 1]}),
    ("Conv", (1, 4, 9, 8), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", (1, 4, 9, 8), (6, 2, 3, 3), {"group": 2}),
    ("Conv", (2, 4, 9, 8), (6, 4, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (2, 4, 9, 8), (6, 4, 2, 3), {"auto_pad": "SAME_LOWER", "strides": [1, 2]}),
    ("Conv", (2, 4, 20), (6, 4, 3), {"auto_pad": "VALID"}),
    ("Conv", (1, 2, 5, 6, 4), (3, 2, 2, 2, 2), {}),
    ("Gemm", (5, 7), (7, 3), {}),
    ("Gemm", (5, 7), (3, 7), {"transB": 1}),
    ("Gemm", (7, 5), (7, 3), {"transA": 1, "alpha": 0.5}),
    ("MatMul", (2, 5, 7), (7, 3), {}),
]


@pytest.mark.parametrize(("op_type", "data_shape", "weight_shape", "attributes"), CASES)
def test_rows_times_matrices_are_the_output(
    op_type: str, data_shape: tuple[int, ...], weight_shape: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    rng = np.random.default_rng(3)
    data = rng.standard_normal(data_shape).astype(np.float32)
    weight = rng.standard_normal(weight_shape).astype(np.float32)
    node, expected = _computed(op_type, data, weight, attributes)
    linear = linear_of(node)
    assert linear is not None
    rows = linear.rows(data, 10**6, 0)
    found = linear.gain * np.einsum("rgk,gko->rgo", rows, linear.matrices(weight)).reshape(len(rows), -1)
    by_channel = expected if op_type in ("Gemm", "MatMul") else np.moveaxis(expected, 1, -1)
    np.testing.assert_allclose(found, by_channel.reshape(len(rows), -1), rtol=1e-4, atol=1e-4)
    assert linear.channels == by_channel.shape[-1]
    np.testing.assert_array_equal(linear.stored(linear.matrices(weight), weight.dtype), weight)


def test_rows_of_a_transposed_convolution_scatter_into_its_output() -> None:
    rng = np.random.default_rng(3)
    data = rng.standard_normal((1, 4, 3, 3)).astype(np.float32)
    weight = rng.standard_normal((4, 5, 2, 2)).astype(np.float32)
    node, expected = _computed("ConvTranspose", data, weight, {"strides": [2, 2]})
    linear = linear_of(node)
    assert linear is not None
    rows = linear.rows(data, 10**6, 0)
    columns = np.einsum("rgk,gko->rgo", rows, linear.matrices(weight)).reshape(3, 3, 5, 2, 2)
    found = columns.transpose(2, 0, 3, 1, 4).reshape(1, 5, 6, 6)  # stride = kernel: nothing overlaps
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    scale = np.arange(1.0, 6.0)
    np.testing.assert_array_equal(linear.column_scales(scale).reshape(5, 4), np.repeat(scale[:, None], 4, axis=1))


LINEARS = [
    (Linear("Conv", (6, 2, 3, 3), groups=2), 0),
    (Linear("Gemm", (7, 3)), 1),
    (Linear("Gemm", (3, 7), transposed_weight=True), 0),
    (Linear("MatMul", (7, 3)), 1),
    (Linear("ConvTranspose", (4, 5, 2, 2)), 1),
    (Linear("ConvTranspose", (4, 3, 2, 2), groups=2), 1),
    (Linear("ConvTranspose", (4, 1, 2, 2), groups=4), 0),
]


@pytest.mark.parametrize(("linear", "axis"), LINEARS)
def test_scales_of_columns_are_those_of_the_stored_weight(linear: Linear, axis: int) -> None:
    weight = np.random.default_rng(3).standard_normal(linear.weight_shape)
    scale = np.arange(1.0, linear.weight_shape[axis] + 1)
    stored = weight * scale.reshape([-1 if one == axis else 1 for one in range(weight.ndim)])
    columns = linear.column_scales(scale)
    np.testing.assert_array_equal(linear.matrices(weight) * columns, linear.matrices(stored))
    np.testing.assert_array_equal(linear.stored_scales(columns, axis), scale)
    np.testing.assert_array_equal(linear.stored_scales(linear.column_scales(np.array([2.0])), None), [2.0])


def test_equal_seeds_take_rows_at_equal_places() -> None:
    linear = Linear("MatMul", (4, 2))
    data = np.arange(400, dtype=np.float32).reshape(100, 4)
    first, second = linear.rows(data, 10, 5), linear.rows(10 * data, 10, 5)
    assert first.shape == (10, 1, 4)
    np.testing.assert_array_equal(second, 10 * first)


def _computed(
    op_type: str, data: np.ndarray, weight: np.ndarray, attributes: dict[str, Any]
) -> tuple[ir.Node, np.ndarray]:
    node = helper.make_node(op_type, ["x", "w"], ["y"], name="layer", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    output = Runner(Source(proto.SerializeToString())).run(Batch({"x": data}, ("x",), 1))["y"]
    return ir.from_proto(proto).graph[0], output
