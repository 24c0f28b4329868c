"""Repairs of what TensorRT's importer refuses about operators: the outputs stay equal, bit for bit, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.config.fix import FixConfig
from qdq_cli.fixing.fix import fix_model
from qdq_cli.fixing.record import RepairReport
from qdq_cli.preparing.outputs import drop_unread_outputs
from tests.networks import run

FLOAT, INT8, INT64 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64


def model_of(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    data: int = FLOAT,
    result: Sequence[int] | None = None,
) -> onnx.ModelProto:
    """A model from x to y, with its types and shapes inferred; that of y may be given."""
    unknown = onnx.ValueInfoProto(name="y")
    ends = (
        helper.make_tensor_value_info("x", data, shape),
        unknown if result is None else helper.make_tensor_value_info("y", FLOAT, result),
    )
    arrays = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def fix(proto: onnx.ModelProto, folder: Path) -> tuple[RepairReport, ir.Model]:
    """Repair a model; returns the report and the result."""
    onnx.save(proto, folder / "model.onnx")
    report = fix_model(FixConfig(folder / "model.onnx", folder / "fixed.onnx", {}, samples=1))
    onnx.checker.check_model(folder / "fixed.onnx", full_check=True)
    return report, ir.load(folder / "fixed.onnx")


def assert_equal(proto: onnx.ModelProto, fixed: ir.Model, feeds: dict[str, np.ndarray] | None = None) -> None:
    before, after = (run(model, dict(feeds or {})) for model in (ir.from_proto(proto), fixed))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def pool(*outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("MaxPool", ["x"], list(outputs or ("y",)), name="pool", **attributes)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


POOLS: tuple[tuple[tuple[int | str, ...], dict[str, Any]], ...] = (
    ((1, 2, 9, 9), {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ((1, 2, 9, 9), {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ((1, 2, 9, 11), {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 1, 1], "strides": [2, 3]}),
    ((1, 2, 9, 9), {"kernel_shape": [3, 3], "dilations": [2, 1], "strides": [1, 2], "pads": [1, 1, 1, 1]}),
    ((1, 2, 9, 9), {"kernel_shape": [1, 3], "dilations": [2, 2]}),
    ((1, 2, 9, 9), {"kernel_shape": [1, 2], "dilations": [2, 1], "strides": [2, 2]}),
    ((1, 2, 10, 10), {"kernel_shape": [2, 3], "dilations": [3, 2], "strides": [2, 3], "ceil_mode": 1}),
    ((1, 2, 8, 8), {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1] * 4}),
    ((1, 2, 8, 9), {"kernel_shape": [2, 3], "dilations": [3, 2], "auto_pad": "VALID"}),
    ((1, 2, 12), {"kernel_shape": [4], "dilations": [3], "pads": [3, 3], "strides": [2]}),
    ((1, 2, 6, 6, 6), {"kernel_shape": [2, 2, 2], "dilations": [2, 1, 3], "pads": [1, 0, 1, 0, 1, 1]}),
    (("n", 2, "h", "w"), {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [2, 1], "pads": [1, 1, 1, 1]}),
)  # fmt: skip


@pytest.mark.parametrize(("shape", "attributes"), POOLS)
def test_max_pools_with_dilations_become_slices(shape, attributes, tmp_path):
    proto = model_of([pool(**attributes)], shape)
    report, fixed = fix(proto, tmp_path)
    assert [repair.node for repair in report.repairs] == ["pool"] and report.repairs[0].exact
    assert (report.before.errors, report.after.errors) == (1, 0)
    assert all(node.attributes.get_ints("dilations") is None for node in fixed.graph if node.op_type == "MaxPool")
    sizes = [dim if isinstance(dim, int) else 7 for dim in shape]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assert_equal(proto, fixed, {"x": (-rng.random(sizes) - 1).astype(np.float32)})


def test_half_pools_pad_with_a_number_of_their_own_type(tmp_path):
    proto = model_of([pool(kernel_shape=[2], dilations=[2], pads=[1, 1])], (1, 1, 6), data=TensorProto.FLOAT16)
    _, fixed = fix(proto, tmp_path)
    assert_equal(proto, fixed, {"x": -np.arange(6, dtype=np.float16).reshape(1, 1, 6)})


@pytest.mark.parametrize(
    ("shape", "attributes", "why"),
    [
        (("n", 1, "h", "w"), {"kernel_shape": [2, 2], "ceil_mode": 1}, "an open dimension"),
        ((1, 1, 60, 60), {"kernel_shape": [9, 9]}, "more than 16 Slices"),
        ((1, 1, 9, 9), {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "auto_pad"),
    ],
)
def test_pools_that_keep_their_dilations(shape, attributes, why, tmp_path):
    report, _ = fix(model_of([pool(dilations=[2, 2], **attributes)], shape), tmp_path)
    assert not report.repairs and why in report.left[0].why and report.left[0].node == "pool"


def unpooled(shape: Sequence[int | str], kernel: int, half: float = 0.5, **attributes: Any) -> onnx.ModelProto:
    """A pooling, something in between, and the unpooling of it into the picture it came from."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        pool("p", "i", kernel_shape=[kernel, kernel], strides=[2, 2], **attributes),
        helper.make_node("Mul", ["p", "half"], ["small"]),
        helper.make_node("MaxUnpool", ["small", "i", "size"], ["y"], name="unpool", **window),
    ]
    sizes = np.array([dim if isinstance(dim, int) else 1 for dim in shape])
    constants = {"half": np.float32(half), "size": sizes}
    return model_of(nodes, shape, {name: np.asarray(array) for name, array in constants.items()}, result=sizes.tolist())


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"),
    [
        ((1, 3, 8, 10), 2, {}),
        ((2, 3, 8, 10), 3, {"pads": [1, 1, 1, 1]}),
        ((1, 2, 8, 8), 3, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    ],
)
def test_indices_that_a_max_unpool_reads_are_found_by_argmax(shape, kernel, attributes, tmp_path):
    proto = unpooled(shape, kernel, **attributes)
    report, fixed = fix(proto, tmp_path)
    assert [repair.node for repair in report.repairs][:2] == ["unpool", "pool"] and report.after.errors == 0
    assert "MaxUnpool" not in operators(fixed)
    for seed in range(3):
        numbers = np.random.default_rng(seed).integers(-3, 4, shape)  # many are equal, and half of them negative
        assert_equal(proto, fixed, {"x": numbers.astype(np.float32)})


@pytest.mark.parametrize(
    ("proto", "why"),
    [
        (unpooled((1, 2, 12, 12), 5, pads=[2, 2, 2, 2]), "more than 16 Slices"),
        (unpooled(("n", 2, 8, 8), 2, storage_order=1), "columns first"),
        (
            model_of([pool("p", "i", kernel_shape=[2]), helper.make_node("Cast", ["i"], ["y"], to=FLOAT)], (1, 1, 6)),
            "something else than MaxUnpool reads them",
        ),
        (unpooled((1, 2, "h", 8), 2), "the size of its picture is not known"),
    ],
)
def test_indices_that_stay(proto, why, tmp_path):
    onnx.save(proto, tmp_path / "model.onnx")
    report = fix_model(FixConfig(tmp_path / "model.onnx", tmp_path / "fixed.onnx", {}, samples=0))
    assert not report.repairs and why in report.left[0].why and report.left[0].node == "pool"


def test_integer_pools_stay(tmp_path):
    proto = model_of([pool(kernel_shape=[2], dilations=[2])], (1, 1, 6), data=INT8)
    report, _ = fix(proto, tmp_path)
    assert "no float type" in report.left[0].why


@pytest.mark.parametrize(
    "node",
    [
        pool("y", "unread", kernel_shape=[2, 2]),
        helper.make_node("LayerNormalization", ["x", "s"], ["y", "mean", "inverse"], name="pool"),
    ],
)
def test_outputs_that_nothing_reads_are_taken_away(node, tmp_path):
    proto = model_of([node], (1, 2, 6, 6), {"s": np.ones(6, np.float32)} if node.op_type != "MaxPool" else {})
    report, fixed = fix(proto, tmp_path)
    assert [repair.node for repair in report.repairs] == ["pool"]
    assert len(fixed.graph[0].outputs) == 1 and report.after.errors == 0
    assert_equal(proto, fixed)


def test_outputs_that_are_read_stay():
    nodes = [pool("p", "i", kernel_shape=[2]), helper.make_node("Cast", ["i"], ["y"], to=FLOAT)]
    model = ir.from_proto(model_of(nodes, (1, 1, 6)))
    assert drop_unread_outputs(model.graph) == [] and len(model.graph[0].outputs) == 2


CODES = np.array([[1, -2], [3, 127], [-128, 0]], np.int8)


def gathered() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["x"], ["index"], to=INT64),
        helper.make_node("Gather", ["table", "index"], ["rows"], name="gather"),
        helper.make_node("Cast", ["rows"], ["y"], to=FLOAT),
    ]


def added() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["x"], ["codes"], to=INT8),
        helper.make_node("Add", ["codes", "table"], ["sum"], name="gather"),
        helper.make_node("Cast", ["sum"], ["y"], to=FLOAT),
    ]


def shared_with_dq() -> list[onnx.NodeProto]:
    return [
        *gathered()[:2],
        helper.make_node("Cast", ["rows"], ["floats"], to=FLOAT),
        helper.make_node("DequantizeLinear", ["table", "scale", "zero"], ["weight"]),
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Add", ["floats", "product"], ["y"]),
    ]


@pytest.mark.parametrize(
    ("nodes", "x"), [(gathered(), [0, 2]), (added(), np.ones((3, 2))), (shared_with_dq(), [[0, 2, 1]])]
)
def test_int8_constants_that_others_than_dq_read_are_stored_as_int32(nodes, x, tmp_path):
    feeds = {"x": np.asarray(x, np.float32)}
    shared = len(nodes) > 3
    operands = {"scale": np.array(0.5, np.float32), "zero": np.array(0, np.int8)} if shared else {}
    proto = model_of(nodes, feeds["x"].shape, {"table": CODES, **operands})
    report, fixed = fix(proto, tmp_path)
    (repair,) = [repair for repair in report.repairs if repair.rule == "1.9"]
    assert (repair.node, repair.tensor) == ("gather", "table")
    stored = {value.name: value.dtype for value in fixed.graph.initializers.values()}
    assert stored["table_int32"] is ir.DataType.INT32 and ("table" in stored) == shared
    assert report.after.errors == 0
    assert_equal(proto, fixed, feeds)


def test_axes_computed_from_constants_become_initializers(tmp_path):
    nodes = [
        helper.make_node("Sub", ["two", "one"], ["axes"]),
        helper.make_node("ReduceSum", ["x", "axes"], ["y"], name="sum", keepdims=0),
    ]
    proto = model_of(nodes, (2, 3, 4), {"two": np.array([2]), "one": np.array([1])}, result=(2, 4))
    report, fixed = fix(proto, tmp_path)
    assert operators(fixed) == ["ReduceSum"] and report.repairs[0].node == "sum"
    assert (report.before.errors, report.after.errors) == (1, 0)
    assert_equal(proto, fixed)


def test_einsums_are_written_in_small_letters(tmp_path):
    node = helper.make_node("Einsum", ["x", "w"], ["y"], name="product", equation="Abk,Bk->AbB")
    proto = model_of([node], (2, 3, 4), {"w": np.arange(20, dtype=np.float32).reshape(5, 4)})
    report, fixed = fix(proto, tmp_path)
    assert report.repairs[0].done == "its equation Abk,Bk->AbB is written abk,ck->abc"
    assert (report.before.errors, report.after.errors) == (1, 0)
    assert_equal(proto, fixed)


def test_einsums_of_more_than_26_letters_stay(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyzA"
    node = helper.make_node("Einsum", ["x"], ["y"], name="many", equation=f"{letters}->{letters}")
    model = model_of([node], (1,) * 27)
    onnx.save(model, tmp_path / "model.onnx")
    report = fix_model(FixConfig(tmp_path / "model.onnx", tmp_path / "fixed.onnx", {}, samples=0))
    assert [entry.why for entry in report.left] == ["its equation has more than 26 letters"]


def test_reductions_of_none_need_no_name(tmp_path):
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], name="scatter", reduction="none")
    proto = model_of([node], (4, 2), {"i": np.array([[1]]), "u": np.ones((1, 2), np.float32)})
    report, fixed = fix(proto, tmp_path)
    assert [repair.node for repair in report.repairs] == ["scatter"]
    assert "reduction" not in fixed.graph[0].attributes
    assert_equal(proto, fixed)


def test_old_opsets_are_raised(tmp_path):
    node = helper.make_node("Add", ["x", "b"], ["y"], name="add", broadcast=1)
    constants = {"b": np.arange(4, dtype=np.float32)}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, (2, 3, 4)), helper.make_tensor_value_info("b", FLOAT, (4,))],
        [helper.make_tensor_value_info("y", FLOAT, (2, 3, 4))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
    onnx.save(proto, tmp_path / "model.onnx")
    report = fix_model(FixConfig(tmp_path / "model.onnx", tmp_path / "fixed.onnx", {}, samples=0))
    assert (report.before.errors, report.after.errors) == (1, 0)
    assert [repair.done for repair in report.repairs] == [
        "the model was raised from opset 6 to 13, which broadcasts as TensorRT does"
    ]
    x = np.ones((2, 3, 4), np.float32)
    np.testing.assert_array_equal(run(ir.load(tmp_path / "fixed.onnx"), {"x": x})[0], x + constants["b"])
