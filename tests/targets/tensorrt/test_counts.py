"""Weighted operators and their multiply-accumulates are counted the same way in plan, prediction and inspection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.main import run

RANDOM = np.random.default_rng(3)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RANDOM.standard_normal(shape).astype(np.float32), name)


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model_of(nodes: list[onnx.NodeProto], inputs, outputs, weights) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def zero_state() -> onnx.ModelProto:
    """An unrolled cell: the Gemm of its state reads zeros, as many rows as the batch has."""
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["dims"], end=1),
        node("Concat", ["dims", "width"], ["state_dims"], axis=0),
        node("ConstantOfShape", ["state_dims"], ["state"]),
        node("Gemm", ["x", "w"], ["a"], name="of_input"),
        node("Gemm", ["state", "w"], ["b"], name="of_state"),
        node("Add", ["a", "b"], ["y"]),
    ]
    width = numpy_helper.from_array(np.array([32]), "width")
    return model_of(nodes, [floats("x", "N", 32)], [floats("y", "N", 32)], [weight("w", 32, 32), width])


def branches() -> onnx.ModelProto:
    """Two products outside of an If, one in its first branch and two in the other."""
    node = helper.make_node
    many = helper.make_graph(
        [node("MatMul", ["h", "w"], ["m"], name="m"), node("MatMul", ["m", "w"], ["n"], name="n")],
        "many", [], [floats("n", "N", 32)],
    )  # fmt: skip
    one = helper.make_graph([node("MatMul", ["h", "w"], ["k"], name="k")], "one", [], [floats("k", "N", 32)])
    nodes = [
        node("MatMul", ["x", "w"], ["h"], name="first"),
        node("If", ["flag"], ["i"], then_branch=many, else_branch=one, name="branch"),
        node("MatMul", ["i", "w"], ["y"], name="last"),
    ]
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    return model_of(nodes, [floats("x", "N", 32), flag], [floats("y", "N", 32)], [weight("w", 32, 32)])


def loop(*, shaped: bool = True) -> onnx.ModelProto:
    """A product before a Loop with one in its body; of what the body is handed the shape is known, or not."""
    node = helper.make_node
    handed = helper.make_tensor_value_info("s", TensorProto.FLOAT, ["N", 32] if shaped else None)
    counter = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    goes, still = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("goes", "still"))
    nodes = [node("MatMul", ["s", "w"], ["t"], name="inside"), node("Identity", ["goes"], ["still"])]
    body = helper.make_graph(nodes, "body", [counter, goes, handed], [still, floats("t", "N", 32)])
    outer = [
        node("MatMul", ["x", "w"], ["a"], name="first"),
        node("Loop", ["n", "", "a"], ["y"], body=body, name="loop"),
    ]
    times = numpy_helper.from_array(np.array(4), "n")
    return model_of(outer, [floats("x", "N", 32)], [floats("y", "N", 32)], [weight("w", 32, 32), times])


def fused() -> onnx.ModelProto:
    """A convolution behind one that ONNX Runtime's optimizer fused, whose cost nothing says."""
    node = helper.make_node
    nodes = [
        node("FusedConv", ["x", "w"], ["a"], name="hidden", domain="com.microsoft", activation="Relu", pads=[1] * 4),
        node("Conv", ["a", "w"], ["y"], name="plain", pads=[1] * 4),
    ]
    return model_of(nodes, [floats("x", 1, 32, 8, 8)], [floats("y", 1, 32, 8, 8)], [weight("w", 32, 32, 3, 3)])


def counted(folder: Path, model: onnx.ModelProto, capsys: pytest.CaptureFixture[str]) -> tuple[dict, dict, str]:
    """The report of `qdq quantize`, the summary of `qdq inspect` of the result, and what people read of both."""
    onnx.save(model, folder / "model.onnx")
    arrays = {"x": RANDOM.standard_normal((12, *(dim.dim_value or 1 for dim in _dims(model)[1:]))).astype(np.float32)}
    if any(value.name == "flag" for value in model.graph.input):
        arrays["flag"] = np.arange(12) % 2 == 0
    np.savez(folder / "data.npz", **arrays)
    quantize = ["quantize", str(folder / "model.onnx"), "--calib", str(folder / "data.npz"), "--verify", "0"]
    inspect = ["inspect", str(folder / "model.qdq.onnx")]
    documents = []
    for command in (quantize, inspect):
        assert run([*command, "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert run(quantize) == 0 and run(inspect) == 0
    return documents[0], documents[1]["summary"], " ".join(capsys.readouterr().out.split())


def _dims(model: onnx.ModelProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(model.graph.input[0].type.tensor_type.shape.dim)


@pytest.mark.parametrize(
    ("model", "count", "percent"),
    [
        (zero_state(), (1, 2), 50.0),
        (branches(), (5, 5), 100.0),
        (loop(), (2, 2), 100.0),
        (loop(shaped=False), (2, 2), 100.0),
        (fused(), (1, 2), None),
    ],
    ids=["zero state", "if", "loop", "loop of unknown shape", "fused"],
)
def test_one_count_everywhere(tmp_path, capsys, model, count, percent):
    report, summary, text = counted(tmp_path, model, capsys)
    planned, predicted = report["weighted_ops"], report["predicted"]
    assert (planned["quantized"], planned["total"]) == count
    assert (predicted["quantized_layers"], predicted["weighted_layers"]) == count
    assert (summary["weighted_quantized"], summary["weighted_ops"]) == count
    assert predicted["quantized_macs_percent"] == summary["quantized_macs_percent"] == percent
    assert ("100.0 %" in text) == (percent == 100.0)


def test_the_share_is_known_without_shapes_where_all_products_run_in_int8(tmp_path, capsys):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1] * 4)]
    model = model_of(nodes, [floats("x", 1, 32, "H", "W")], [floats("y", 1, 32, "H", "W")], [weight("w", 32, 32, 3, 3)])
    onnx.save(model, tmp_path / "model.onnx")
    assert run(["inspect", str(tmp_path / "model.onnx"), "--json", "--min-int8-macs", "100"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert (summary["quantized_macs_percent"], summary["unknown_macs"], summary["macs"]) == (100.0, 1, 0)


def test_a_limit_on_an_unknown_share_is_not_met(tmp_path, capsys):
    onnx.save(fused(), tmp_path / "model.onnx")
    assert run(["inspect", str(tmp_path / "model.onnx"), "--min-int8-macs", "1"]) == 5
    assert "How many of the MACs run in INT8 is not known; --min-int8-macs is 1 %." in capsys.readouterr().err
