"""Inputs and outputs as integers: the graph, the metadata, and everything that runs such a model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from calibrators import INT8, UINT8, QParams, dequantize, quantize
from qdq_cli.model.integer_io import Codes, codes_in, integer_ends, with_float_io, with_integer_io
from qdq_cli.running.openvino import is_installed
from tests.networks import Network
from tests.test_docs import DOCS, run_line, shell_lines
from tests.workspace import SIDE, Workspace, make_workspace, qdq

TARGETS = ("onnxruntime", *(("openvino",) if is_installed() else ()))


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def ends(path: Path) -> dict[str, int]:
    """Input or output -> its element type."""
    graph = onnx.load(path).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_and_outputs_are_integers_and_keep_their_names(target: str, space: Workspace):
    done = space.quantize("--target", target, "--integer-io", "--no-time", "--json")
    assert done.code == 0, done.err
    kind = TensorProto.INT8 if target == "openvino" else ends(space.output)["images"]
    assert ends(space.output) == {"images": kind, "scores": kind} and kind in (TensorProto.INT8, TensorProto.UINT8)
    types = [node.op_type for node in onnx.load(space.output).graph.node]
    assert types[-1] == "QuantizeLinear"
    report = done.document
    assert set(report["integers"]) == {"images", "scores"}
    assert report["verification"]["outputs"]["scores"]["sqnr_db"] > 20
    assert report["verification"]["default_session"]["text"] == ""


def test_it_computes_what_the_model_with_floats_computes(space: Workspace):
    options = (
        "--target",
        "onnxruntime",
        "--no-time",
        "-q",
        "--no-channel-rules",
    )  # a float Conv reads no rounded input
    floats = space.folder / "floats.onnx"
    assert space.quantize(*options, "--integer-io").code == 0
    assert space.quantize(*options, "-o", floats).code == 0
    codes = codes_in(onnxruntime.InferenceSession(space.output).get_modelmeta().custom_metadata_map)
    images = np.load(space.arrays)["images"]
    session = onnxruntime.SessionOptions()
    session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def run(path: Path, fed: np.ndarray) -> np.ndarray:
        (found,) = onnxruntime.InferenceSession(path, session).run(None, {"images": fed})
        return found

    given = run(space.output, codes["images"].quantized(images))
    expected = run(floats, images)
    limits = np.iinfo(given.dtype)
    inside = (given > limits.min) & (given < limits.max)
    assert inside.mean() > 0.9
    error = np.abs(codes["scores"].dequantized(given) - expected)
    assert error[inside].max() <= codes["scores"].scale * 0.51


def test_compare_quantizes_what_it_feeds(space: Workspace):
    assert space.quantize("--target", "onnxruntime", "--integer-io", "-q", "--no-time").code == 0
    done = qdq("compare", space.model, space.output, "--data", space.arrays, "--min-sqnr", 20)
    assert done.code == 0, done.err


@pytest.mark.parametrize("target", TARGETS)
def test_layers_are_compared_behind_a_q_of_the_inputs(target: str, space: Workspace):
    options = ("--target", target, "-q", "--no-time", "--no-channel-rules")
    assert space.quantize(*options, "--integer-io").code == 0
    whole = space.folder / "floats.onnx"
    assert space.quantize(*options, "-o", whole).code == 0
    told = []
    for result in (space.output, whole):
        done = qdq("compare", space.model, result, "--data", space.arrays, "--layers", "--json")
        assert done.code == 0, done.err
        told.append({row["tensor"]: row["accumulated"]["sqnr_db"] for row in done.document["layers"]["ranked"]})
    assert told[0].keys() == told[1].keys() and len(told[0]) > 2
    inside = told[0].keys() - {"scores"}  # which gets a Q and a DQ for --integer-io alone
    assert {name: told[0][name] for name in inside} == {name: told[1][name] for name in inside}


def test_floats_stand_again_in_place_of_integers():
    net = Network()
    net.op("Identity", net.pair(net.op("Relu", net.pair(net.input("x", (1, 4))))), name="y")
    model = ir.serde.deserialize_model(net.proto("y"))
    model.graph.outputs[0] = model.graph.outputs[0].producer().inputs[0]
    (end,) = (value.name for value in model.graph.outputs)
    assert with_integer_io(model) == ()
    with_float_io(model)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto)
    ends = {value.name: value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output)}
    assert ends == {"x": TensorProto.FLOAT, end: TensorProto.FLOAT}
    assert list(integer_ends(model)) == []


def test_equal_runs_make_equal_files_and_a_cache_serves(space: Workspace):
    options = ("--target", "onnxruntime", "--integer-io", "-q", "--no-time", "--cache", space.folder / "model.qcal")
    assert space.quantize(*options).code == 0
    other = space.folder / "other.onnx"
    done = qdq("quantize", space.model, *options, "-o", other)
    assert (done.code, other.read_bytes()) == (0, space.output.read_bytes())


def test_the_summary_names_scale_and_zero_point(space: Workspace):
    text = space.quantize("--target", "onnxruntime", "--integer-io", "--no-time", "--range", "images=-1:1").out
    assert re.search(r"images: u?int8, scale 0\.00784\d+, zero point \S+", text)


def test_what_reads_an_input_in_floats_reads_a_dq(tmp_path: Path):
    net = Network()
    x = net.input("x", (1, 4))
    net.op("Add", net.pair(x), net.op("Neg", x), name="y")
    model = ir.serde.deserialize_model(net.proto("y"))
    assert with_integer_io(model) == ("y",)
    assert dict(integer_ends(model)) == {"x": Codes("int8", 2.0**-4, 0)} or "x" in dict(integer_ends(model))
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto)
    neg = next(node for node in proto.graph.node if node.op_type == "Neg")
    assert neg.input[0] == "x_dequantized"
    (value,) = proto.graph.input
    assert (value.name, value.type.tensor_type.elem_type) == ("x", TensorProto.INT8)


def test_ends_that_are_no_floats_stay(tmp_path: Path):
    net = Network()
    net.op("ArgMax", net.input("x", (1, 4), TensorProto.INT32), name="best")
    model = ir.serde.deserialize_model(net.proto("best", output_types={"best": TensorProto.INT64}))
    assert with_integer_io(model) == ()
    assert list(integer_ends(model)) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"type": "int8"}', '{"type": "int5", "scale": 1, "zero_point": 0}',
     '{"type": "int8", "scale": 0, "zero_point": 0}', '{"type": "int8", "scale": 1e999, "zero_point": 0}',
     '{"type": "int8", "scale": 1, "zero_point": 200}', '{"type": "float8e4m3fn", "scale": 1, "zero_point": 0}',
     '{"type": "int8", "scale": null, "zero_point": 0}'],
)  # fmt: skip
def test_malformed_metadata_is_none(text: str):
    assert codes_in({"qdq.codes.x": text, "other": text}) == {}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--target", "tensorrt"), "TensorRT is given floats"),
        (("--target", "onnxruntime", "--float-type", "fp16"), "--float-type leaves no Q at the inputs"),
    ],
    ids=["TensorRT", "FP16"],
)
def test_where_it_has_no_meaning_it_is_refused(options: tuple[str, ...], reason: str, space: Workspace):
    done = space.quantize("--integer-io", *options)
    assert (done.code, space.output.exists()) == (2, False)
    assert f"--integer-io has no meaning here: {reason}." in done.err


floats = st.floats(-1000, 1000, width=32)


@given(
    st.lists(floats, min_size=1, max_size=50), st.floats(2.0**-10, 16, width=32), st.integers(0, 255),
    st.sampled_from([INT8, UINT8]),
)  # fmt: skip
def test_codes_are_those_of_affine_arithmetic_written_down(values: list[float], scale: float, zero: int, qtype: object):
    """What PyTorch's `quantize_per_tensor` documents for quint8 and qint8: round(x / scale) + zero_point, clamped."""
    zero -= 128 if qtype is INT8 else 0
    x, step = np.array(values, np.float32), np.float32(scale)
    limits = np.iinfo(qtype.dtype)
    expected = [min(max(round(float(each / step)) + zero, limits.min), limits.max) for each in x]  # round: half to even
    found = Codes(qtype.name, float(step), zero)
    codes = found.quantized(x)
    assert codes.dtype == qtype.dtype
    assert codes.tolist() == expected
    qparams = QParams(np.asarray(step), np.asarray(zero, qtype.dtype), qtype=qtype)
    assert np.array_equal(codes, quantize(x, qparams))
    back = np.array([np.float32(code - zero) * step for code in expected], np.float32)
    assert np.array_equal(found.dequantized(codes), back)
    assert np.array_equal(dequantize(codes, qparams), back)


def test_the_page_is_true(space: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    page = (DOCS / "integer-io.md").read_text(encoding="utf-8")
    monkeypatch.chdir(space.folder)
    for line in reversed(shell_lines(page)):
        if "openvino" not in line or is_installed():
            done = run_line(line)
            assert done.code == 0, done.err
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(code, "integer-io.md", "exec"), {})
    assert "int8" in capsys.readouterr().out
    assert np.load(space.arrays)["images"].shape[-1] == SIDE
