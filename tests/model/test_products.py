"""Products of integers that are exact on every processor: the same model, its INT8 operands written as UINT8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.data.batches import Batch
from qdq_cli.model.nodes import every_node
from qdq_cli.model.products import SAFE_CODE, exact_products, saturating
from qdq_cli.preparing.literal import literal
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import SessionOptions, Source, make_session

RANDOM = np.random.default_rng(3)
LOUD = np.full((4, 6), 127, np.int8)
MICROSOFT = {"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "QAttention", "DynamicQuantizeLSTM"}
CODES = {
    "MatMulInteger": ["x", "w"],
    "MatMulInteger with zero points": ["x", "w", "x_zero", "w_zero"],
    "ConvInteger": ["w4", "x4"],
    "QLinearMatMul": ["x", "scale", "x_zero", "w", "scale", "w_zero", "out_scale", "x_zero"],
    "QLinearConv": ["x4", "scale", "x_zero", "w4", "scale", "w_none", "out_scale", "x_zero"],
    "QGemm": ["x", "scale", "x_zero", "w", "scale", "w_zero"],
    "MatMulIntegerToFloat": ["x", "w", "scale", "scale"],
    "DynamicQuantizeMatMul": ["floats", "w", "scale"],
    "QAttention": ["x3", "w_attention", "bias", "scale", "scale"],
    "DynamicQuantizeLSTM": ["f3", "w_lstm", "r_lstm", "", "", "", "", "", "scales", "zeros", "scales", "zeros"],
}
"""Operator -> its operands. The weights come first in ConvInteger's kernel: there x4 is the filter."""
OPTIONS = {"QGemm": {"alpha": 1.0}, "QAttention": {"num_heads": 1}, "DynamicQuantizeLSTM": {"hidden_size": 4}}


def values(amax: int) -> dict[str, np.ndarray]:
    """Operands by name; INT8 codes lie within +-amax and have their largest values beside each other."""

    def codes(*shape: int) -> np.ndarray:
        found = RANDOM.integers(-amax, amax + 1, shape).astype(np.int8)
        found[..., : shape[-1] // 2] = amax
        return found

    bright = RANDOM.integers(200, 256, (3, 4)).astype(np.uint8)
    return {
        "x": bright,
        "x3": bright[None],
        "x4": RANDOM.integers(200, 256, (1, 4, 3, 3)).astype(np.uint8),
        "floats": bright.astype(np.float32),
        "f3": bright.astype(np.float32)[:, None],
        "w": codes(4, 6),
        "w4": codes(5, 4, 3, 3),
        "w_attention": codes(4, 12),
        "w_lstm": codes(1, 4, 16),
        "r_lstm": codes(1, 4, 16),
        "bias": np.zeros(12, np.float32),
        "scale": np.float32(0.01),
        "scales": np.full(1, 0.01, np.float32),
        "zeros": np.zeros(1, np.int8),
        "out_scale": np.float32(1),
        "x_zero": np.uint8(7),
        "w_zero": np.int8(-5),
        "w_none": np.int8(0),
    }


def model_of(case: str, amax: int, *fed: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """One operator on operands of which `fed` are inputs of the graph, all others constants."""
    op_type, inputs, known = case.split(maxsplit=1)[0], CODES[case], values(amax)
    domain = "com.microsoft" if op_type in MICROSOFT else ""
    node = helper.make_node(op_type, inputs, ["y"], name="product", domain=domain, **OPTIONS.get(op_type, {}))
    infos = [helper.make_tensor_value_info(name, kind(known[name]), known[name].shape) for name in fed]
    used = {name for name in inputs if name and name not in fed}
    tensors = [numpy_helper.from_array(np.asarray(known[name]), name) for name in sorted(used)]
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name="y")], tensors)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), {name: known[name] for name in fed}


def kind(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def signals(case: str) -> str:
    """What a network computes of its input: the operand that is no weight."""
    return next(name for name in CODES[case] if name in ("x", "x3", "x4", "floats", "f3"))


def weights(case: str) -> str:
    return next(name for name in CODES[case] if name in ("w", "w4", "w_attention", "w_lstm"))


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)[0]


def exact(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.from_proto(proto)
    found = exact_products(model)
    assert found is not model
    assert not any(any(saturating(node)) for node in every_node(found.graph))
    assert ir.to_proto(model) == ir.to_proto(ir.from_proto(proto)), "the model itself is left as it is"
    return ir.to_proto(found)


@pytest.mark.parametrize("constant", [True, False], ids=["weights", "computed"])
@pytest.mark.parametrize("case", CODES)
def test_nothing_changes_where_nothing_can_saturate(case: str, constant: bool):
    """Codes within +-64 are exact on every processor, so that both forms have to agree to the last bit."""
    fed = (signals(case),) if constant or case in ("QAttention", "DynamicQuantizeLSTM") else (
        signals(case), weights(case)
    )  # fmt: skip
    model, feeds = model_of(case, SAFE_CODE, *fed)
    np.testing.assert_array_equal(run(exact(model), feeds), run(model, feeds))


@pytest.mark.parametrize("constant", [True, False], ids=["weights", "computed"])
@pytest.mark.parametrize("case", ["MatMulInteger", "MatMulInteger with zero points"])
def test_sums_are_those_of_whole_numbers(case: str, constant: bool):
    model, feeds = model_of(case, 127, *(("x",) if constant else ("x", "w")))
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer} | feeds
    left = known["x"].astype(np.int64) - known.get("x_zero", 0)
    right = known["w"].astype(np.int64) - known.get("w_zero", 0)
    np.testing.assert_array_equal(run(exact(model), feeds), left @ right)


def test_a_model_without_such_products_is_handed_back():
    proto, _ = model_of("MatMulInteger", 127, "x")
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((4, 6), 255, np.uint8), "w"))
    model = ir.from_proto(proto)
    assert exact_products(model) is model


def test_a_product_in_a_body_and_a_weight_read_twice():
    """The body reads the weight from outside; a reader that needs INT8 keeps it."""
    inner = helper.make_node("MatMulInteger", ["x", "w"], ["z"], name="inner")
    body = helper.make_graph([inner], "body", [], [onnx.ValueInfoProto(name="z")])
    other = helper.make_graph([helper.make_node("MatMulInteger", ["x", "v"], ["z2"], name="other")], "other", [],
                              [onnx.ValueInfoProto(name="z2")])  # fmt: skip
    nodes = [
        helper.make_node("If", ["yes"], ["sums"], name="if", then_branch=body, else_branch=other),
        helper.make_node("DequantizeLinear", ["w", "one"], ["floats"], name="dq"),
        helper.make_node("ReduceSum", ["floats"], ["total"], name="total", keepdims=0),
        helper.make_node("Cast", ["sums"], ["sums_float"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Add", ["sums_float", "total"], ["y"], name="add"),
    ]
    arrays = {"w": LOUD, "v": LOUD, "one": np.float32(1), "yes": np.array(True)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 4))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = run(exact(model), {"x": np.full((1, 4), 255, np.uint8)})
    np.testing.assert_array_equal(found, np.full((1, 6), 4 * 255 * 127 + 127 * 24))


@pytest.mark.parametrize("external", [False, True], ids=["one file", "external data"])
def test_a_file_is_run_exactly(tmp_path: Path, external: bool):
    model, _ = model_of("MatMulInteger", 127, "x")
    codes = numpy_helper.to_array(model.graph.initializer[0])
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=external, size_threshold=0, location="data")
    before = path.read_bytes()
    (found,) = Runner(literal(path)).run(Batch({"x": np.full((3, 4), 255, np.uint8)}, ("x",), 3)).values()
    np.testing.assert_array_equal(found, np.full((3, 4), 255) @ codes.astype(np.int64))
    assert path.read_bytes() == before


def test_a_file_without_products_is_the_session_s_source_itself(tmp_path: Path):
    floats = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g",
                               [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
                               [onnx.ValueInfoProto(name="y")])  # fmt: skip
    onnx.save(helper.make_model(floats, ir_version=8), tmp_path / "floats.onnx")
    assert literal(tmp_path / "floats.onnx") == Source(tmp_path / "floats.onnx")


@pytest.mark.parametrize("fuse", [False, True])
def test_what_is_measured_keeps_its_pairs_in_floats(tmp_path: Path, fuse: bool):
    """Fused, Q/DQ pairs become products of integers; calibrating a model that has some already must not meet these."""
    pair = [("QuantizeLinear", "Q"), ("DequantizeLinear", "DQ")]
    nodes = [helper.make_node(op, [at, "scale", "zero"], [to]) for (op, to), at in zip(pair, ("x", "Q"), strict=True)]
    nodes += [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["floats"]),
        helper.make_node("MatMul", ["DQ", "floats"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "scale", "zero"], ["sums_Q"]),
        helper.make_node("DequantizeLinear", ["sums_Q", "scale", "zero"], ["y"]),
    ]
    arrays = {"scale": np.float32(1), "zero": np.int8(0), "w": LOUD}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    kept = tmp_path / "kept.onnx"
    make_session(Source(model.SerializeToString()), SessionOptions(threads=1, optimize=True, fuse=fuse, keep=kept))
    operators = {node.op_type for node in onnx.load(kept, load_external_data=False).graph.node}
    assert ("QLinearMatMul" in operators, "MatMul" in operators) == (fuse, not fuse)


def test_a_zero_point_of_another_type_is_left_for_the_runtime_to_refuse():
    proto, _ = model_of("QLinearConv", 127)
    (wrong,) = [tensor for tensor in proto.graph.initializer if tensor.name == "w_none"]
    wrong.CopyFrom(numpy_helper.from_array(np.float32(0), "w_none"))
    model = ir.from_proto(proto)
    assert exact_products(model) is model
