"""What a run says about its result: the worst first, with a reason, and what ONNX Runtime makes of it by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.quantizing.default_session import DefaultRun, judged
from tests.networks import Network
from tests.workspace import Workspace, make_workspace, qdq

CHANNELS, SIDE = 16, 8


def heads(count: int, spoiled: int) -> onnx.ModelProto:
    """Convs side by side, one of which reads a channel alone that is narrower than the others."""
    net = Network()
    x = net.input("x", (1, CHANNELS, SIDE, SIDE))
    outputs = []
    for number in range(count):
        weight = np.random.default_rng(number).normal(size=(4, CHANNELS, 1, 1)).astype(np.float32)
        weight[:, 1:] *= number != spoiled
        outputs.append(net.op("Conv", x, net.constant(weight, f"w{number}"), name=f"head_{number}"))
    return net.proto(*outputs)


def samples(count: int = 24, *, narrow: float = 1.0, scale: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(count, CHANNELS, SIDE, SIDE)).astype(np.float32) * scale
    values[:, 0] *= narrow
    return {"x": values.astype(np.float32)}


def space_with(folder: Path, model: onnx.ModelProto, **arrays: np.ndarray) -> Workspace:
    space = make_workspace(folder, model)
    np.savez(space.arrays, **arrays)
    return space


def test_the_worst_output_is_shown_first_with_its_reason(tmp_path: Path):
    space = space_with(tmp_path, heads(6, spoiled=5), **samples(narrow=0.02))
    done = space.quantize("--report", tmp_path / "page.html")
    first, second = done.out.split("against FP32:\n")[1].splitlines()[:2]
    assert first.split()[:2] == ["head_5:", "SQNR"]
    assert second.strip().startswith("low: most of the error is of values between two codes")
    assert "and 2 outputs more, none of them worse" in done.out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "head_5 is low: most of the error is of values between two codes" in page
    low = space.quantize("--json").document["verification"]["low"]
    assert {name: found["reason"] for name, found in low.items()} == {"head_5": "ROUNDED"}


def test_few_good_outputs_keep_the_order_of_the_model(tmp_path: Path):
    space = space_with(tmp_path, heads(3, spoiled=-1), **samples())
    done = space.quantize()
    names = [line.split(":")[0].strip() for line in done.out.split("against FP32:\n")[1].splitlines()[:3]]
    assert (names, "low:" in done.out) == (["head_0", "head_1", "head_2"], False)


def reasons(space: Workspace, *options: object) -> set[str]:
    low = space.quantize("--json", *options).document["verification"]["low"]
    return {found["reason"] for found in low.values()}


def test_clipping_is_told_from_rounding(tmp_path: Path):
    space = space_with(tmp_path, heads(2, spoiled=-1), **samples())
    assert reasons(space, "--range", "x=0.2") == {"CLIPPED"}
    assert reasons(space, "--range", "x=400") == {"ROUNDED"}
    for weights in ("int8", "int8-compat"):
        assert reasons(space, "--range", "x=0.2", "--weights", weights) == {"CLIPPED"}
    assert reasons(space, "--range", "x=0.2", "--form", "int8-regions") == {"CLIPPED"}
    assert reasons(space) == set()


def test_samples_unlike_those_of_the_cache(tmp_path: Path):
    space = space_with(tmp_path, heads(2, spoiled=-1), **samples())
    assert qdq("calibrate", space.model, "--calib", space.arrays).code == 0
    np.savez(space.arrays, **samples(scale=30.0, seed=1))
    done = space.quantize("--cache", space.folder / "model.qcal")
    said = " ".join(done.out.split())
    assert "low: input 'x' reaches " in said and "is the preprocessing the same?" in said
    np.savez(space.arrays, **samples(scale=0.01, seed=1))
    assert reasons(space, "--cache", space.folder / "model.qcal") == {"INPUT_UNLIKE"}


def one_by_one(net: Network, x: str, weight: np.ndarray, name: str) -> str:
    return net.op("Conv", x, net.constant(weight.astype(np.float32), f"{name}_w"), name=name)


def test_few_samples_are_blamed_where_they_did_not_show_what_comes(tmp_path: Path):
    net = Network()
    summed = one_by_one(net, net.input("x", (1, CHANNELS, SIDE, SIDE)), np.ones((CHANNELS, CHANNELS, 1, 1)), "sum")
    same = np.eye(CHANNELS)[:, :, None, None]
    space = make_workspace(tmp_path, net.proto(one_by_one(net, net.relu(summed), same, "y")))
    signs = np.where(np.arange(CHANNELS) < 10, 1, -1).astype(np.float32)[:, None, None]  # sums of 4
    signs = np.random.default_rng(0).permuted(np.tile(signs, (32, 1, SIDE, SIDE)), axis=1)
    for count, reason in ((4, "FEW_SAMPLES"), (32, "CLIPPED")):
        np.savez(space.arrays, x=signs[:count])
        assert qdq("calibrate", space.model, "--calib", space.arrays).code == 0
        np.savez(space.arrays, x=np.ones_like(signs[:4]) - signs[:4] * 1e-3)  # no larger, but all of one sign
        document = space.quantize("--json", "--cache", space.folder / "model.qcal").document
        (low,) = document["verification"]["low"].values()
        assert low["reason"] == reason
        assert ("that 4 calibration samples show" in low["text"]) == (reason == "FEW_SAMPLES")


def test_infinity_where_fp32_has_none(tmp_path: Path):
    net = Network()
    x = net.op("Add", net.op("Abs", net.input("x", (1, CHANNELS, SIDE, SIDE))), net.constant(np.float32(1e-5)))
    logs = net.op("Log", one_by_one(net, x, np.eye(CHANNELS)[:, :, None, None], "conv"), name="logs")
    space = space_with(tmp_path, net.proto(logs), **samples())
    assert reasons(space) == {"NOT_FINITE"}
    assert "low: NaN or Inf comes up where FP32 has none" in " ".join(space.quantize().out.split())


def test_numbers_where_fp32_has_nothing_but_zeros(tmp_path: Path):
    net = Network()
    bias = net.constant(np.full(4, -1.0001, np.float32), "bias")
    weight = net.constant(np.ones((4, CHANNELS, 1, 1), np.float32), "w")
    x = net.input("x", (1, CHANNELS, SIDE, SIDE))
    space = make_workspace(tmp_path, net.proto(net.relu(net.op("Conv", x, weight, bias, name="excess"))))
    shares = np.random.default_rng(0).random((24, CHANNELS, SIDE, SIDE))
    np.savez(space.arrays, x=(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))  # sums of 1 everywhere
    assert reasons(space) == {"FP32_IS_ZERO"}
    assert "nothing but zeros here" in " ".join(space.quantize().out.split())


def test_an_output_of_zeros_has_no_error_to_speak_of(tmp_path: Path):
    net = Network()
    x = net.input("x", (1, CHANNELS, SIDE, SIDE))
    y = net.op("Conv", x, net.constant(np.ones((4, CHANNELS, 1, 1), np.float32)), name="conv")
    gone = net.op("Floor", net.op("Mul", net.op("Abs", y), net.constant(np.float32(1e-9))), name="gone")
    space = space_with(tmp_path, net.proto(y, gone), **samples())
    found = space.quantize("--json").document["verification"]
    assert (found["outputs"]["gone"]["equal"], found["low"]) == (True, {})


def bias_beyond_int32() -> onnx.ModelProto:
    """A channel whose weights are next to nothing: in steps of its scale the bias does not fit into 32 bits."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    weight[3] *= 1e-12
    net = Network()
    bias = net.constant(rng.normal(size=CHANNELS).astype(np.float32), "b")
    x = net.op("Conv", net.input("x", (1, CHANNELS, SIDE, SIDE)), net.constant(weight, "w"), bias, name="first")
    last = net.constant(rng.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32), "w2")
    return net.proto(net.op("Conv", net.relu(x), last, name="y"))


def test_less_in_the_default_session_is_said_with_the_way_out(tmp_path: Path):
    space = space_with(tmp_path, bias_beyond_int32(), **samples())
    done = space.quantize("--json", "--report", tmp_path / "page.html")
    found = done.document["verification"]
    default = found["default_session"]
    if not default["lower"]:
        pytest.skip("this release of ONNX Runtime does not round the bias")
    assert default["sqnr_db"]["y"] < found["outputs"]["y"]["sqnr_db"] - 3
    assert (default["lower"], default["option"]) == (["y"], "session.disable_quant_qdq=1")
    assert "With session.disable_quant_qdq=1 it is as good as the literal run." in default["text"]
    assert "By default ONNX Runtime gives" in space.quantize().out
    assert default["text"] in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_sound_result_is_the_same_by_default(tmp_path: Path):
    space = make_workspace(tmp_path)
    found = space.quantize("--json").document["verification"]
    default = found["default_session"]
    assert (default["error"], default["lower"], default["text"]) == ("", [], "")
    assert default["sqnr_db"]["scores"] > found["outputs"]["scores"]["sqnr_db"] - 3


def rank_3(opset: int) -> onnx.ModelProto:
    net = Network(opset=opset)
    weight = net.quantized_weight(np.eye(CHANNELS, dtype=np.float32), name="w")
    product = net.op("MatMul", net.pair(net.input("x", (1, 4, CHANNELS))), weight)
    return net.proto(net.pair(net.add(product, net.constant(np.ones(CHANNELS, np.float32), "bias"), name="sum")))


def test_a_result_that_is_refused_by_default(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    found = judged(DefaultRun(path), {"y": 40.0}, path, 22, lambda: ())
    assert found.error and (found.sqnr_db, found.option) == ({}, "")
    assert found.text.startswith("By default ONNX Runtime does not run the result.")
    assert found.text.endswith("No session option that was tried helps.")


def test_what_makes_a_refused_result_load_is_found(tmp_path: Path):
    path = tmp_path / "model.onnx"
    onnx.save(rank_3(21), path)
    run = DefaultRun(path)
    if not run.error:
        pytest.skip("this release of ONNX Runtime loads it")
    found = judged(run, {}, path, 21, lambda: ())
    assert "session.disable_quant_qdq=1, or export the float model with opset 20 or below." in found.text


def half_branches() -> onnx.ModelProto:
    """FP16: two branches that a Concat joins."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (32, 32, 3, 3), "w1": (32, 32, 1, 1), "w2": (32, 32, 1, 1), "w3": (32, 64, 1, 1)}
    weights = [
        numpy_helper.from_array((rng.normal(size=shape) * 0.1).astype(np.float16), name)
        for name, shape in shapes.items()
    ]
    conv = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4, name="stem"),
        helper.make_node("Conv", ["a", "w1"], ["b"], name="left"),
        helper.make_node("Conv", ["a", "w2"], ["c"], name="right"),
        helper.make_node("Concat", ["b", "c"], ["d"], axis=1, name="join"),
        helper.make_node("Conv", ["d", "w3"], ["y"], name="last"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, (1, 32, 8, 8)) for name in ("x", "y")]
    graph = helper.make_graph(conv, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_a_half_concat_is_written_on_int8_tensors(tmp_path: Path):
    values = np.random.default_rng(1).normal(size=(24, 32, 8, 8)).astype(np.float16)
    space = space_with(tmp_path, half_branches(), x=values)
    found = space.quantize("--json").document
    made = {name: node.op_type for node in onnx.load(space.output).graph.node for name in node.output}
    (join,) = (node for node in onnx.load(space.output).graph.node if node.op_type == "Concat")
    assert {made[name] for name in join.input} == {"QuantizeLinear"}
    assert found["verification"]["default_session"]["error"] == ""
    assert found["predicted"]["quantized_layers"] == 4 and found["predicted"]["standalone"] == 0
    ort.InferenceSession(str(space.output), providers=["CPUExecutionProvider"])


def focus() -> onnx.ModelProto:
    """FP16: the two halves of a picture, one behind the other, as detectors begin."""
    rng = np.random.default_rng(0)
    numbers = {"top": [0], "half": [16], "end": [32], "rows": [2]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    weight = numpy_helper.from_array((rng.normal(size=(32, 32, 3, 3)) * 0.1).astype(np.float16), "w")
    nodes = [
        helper.make_node("Slice", ["x", "top", "half", "rows"], ["upper"], name="first"),
        helper.make_node("Slice", ["x", "half", "end", "rows"], ["lower"], name="second"),
        helper.make_node("Concat", ["upper", "lower"], ["both"], axis=1, name="join"),
        helper.make_node("Conv", ["both", "w"], ["y"], name="conv"),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT16, (1, 16, 32, 8)),
        helper.make_tensor_value_info("y", TensorProto.FLOAT16, (1, 32, 14, 6)),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight, *constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_half_concat_behind_slices_is_written_on_int8_tensors(tmp_path: Path):
    values = np.random.default_rng(1).normal(size=(24, 16, 32, 8)).astype(np.float16)
    space = space_with(tmp_path, focus(), x=values)
    found = space.quantize("--json").document
    made = {name: node for node in onnx.load(space.output).graph.node for name in node.output}
    (join,) = (node for node in onnx.load(space.output).graph.node if node.op_type == "Concat")
    assert {made[made[name].input[0]].op_type for name in join.input} == {"QuantizeLinear"}
    assert found["verification"]["default_session"]["error"] == ""
    assert found["predicted"]["standalone"] == 0


def test_a_float_concat_keeps_its_pairs(tmp_path: Path):
    net = Network()
    x = net.input("images", (1, 3, 16, 16))
    both = net.concat(net.conv(x, 32, "left", scale=None), net.conv(x, 32, "right", scale=None), name="join")
    space = make_workspace(tmp_path, net.proto(net.conv(both, 32, "last", scale=None)))
    assert space.quantize().code == 0
    made = {name: node.op_type for node in onnx.load(space.output).graph.node for name in node.output}
    (join,) = (node for node in onnx.load(space.output).graph.node if node.op_type == "Concat")
    assert {made[name] for name in join.input} == {"DequantizeLinear"}


def rows_that_depend(kind: str) -> onnx.ModelProto:
    """The places of a Conv's values above a threshold, or these values themselves."""
    net = Network()
    y = net.op("Conv", net.input("x", (1, CHANNELS, SIDE, SIDE)), net.constant(_WEIGHT, "w"), name="conv")
    kept = net.op("Greater", y, net.constant(np.float32(1.0)), name="kept")
    return net.proto(
        y,
        net.op("NonZero", net.op("Cast", kept, to=TensorProto.INT32), name="rows")
        if kind == "places"
        else net.op(
            "Compress",
            net.op("Reshape", y, net.constant(np.array([-1], np.int64))),
            net.op("Reshape", kept, net.constant(np.array([-1], np.int64))),
            name="rows",
        ),
        output_types={"rows": TensorProto.INT64 if kind == "places" else TensorProto.FLOAT},
    )


_WEIGHT = np.random.default_rng(5).normal(size=(4, CHANNELS, 1, 1)).astype(np.float32)


@pytest.mark.parametrize("kind", ["places", "values"])
def test_rows_that_depend_on_the_data_are_counted_and_matched(tmp_path: Path, kind: str):
    space = space_with(tmp_path, rows_that_depend(kind), **samples())
    done = space.quantize("--json", "--range", "x=1")
    found = done.document["verification"]
    assert ("rows" in found["outputs"], found["not_compared"]) == (False, [])
    rows = found["rows"]["rows"]
    assert rows["fp32"] > 0 and rows["quantized"] > 0
    assert (rows["matched"] is None) == (kind == "values")
    assert f"rows: {rows['fp32']} rows in FP32, " in space.quantize("--range", "x=1").out
    compared = qdq("compare", space.model, space.output, "--data", space.arrays, "--json").document
    assert compared["rows"]["rows"]["fp32"] > rows["fp32"] and "rows" not in compared["outputs"]
    if kind == "places":
        assert 0 < rows["matched"] < max(rows["fp32"], rows["quantized"])
        assert space.quantize("--range", "x=1", "--min-agreement", "99").code == 5
        assert space.quantize("--range", "x=1", "--min-agreement", "10").code == 0
