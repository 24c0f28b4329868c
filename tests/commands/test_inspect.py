"""`qdq inspect` as its user meets it: views, limits, formats, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq_cli.inspecting import drawing
from qdq_cli.main import run
from qdq_cli.targets.tensorrt.findings import RULES
from tests.networks import Network
from tests.screen.sample import Reader
from tests.targets.tensorrt import engines, faulty
from tests.workspace import SAMPLES, make_workspace, qdq

ENGINES = {
    "plain": engines.resnet18(),
    "residual": engines.resnet18(residual=True),
    "full": engines.resnet18(residual=True, pool=True),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models with a space")
    for name, model in ENGINES.items():
        onnx.save(ir.serde.serialize_model(model), folder / f"{name}.onnx")
    net = Network()
    x = net.input("x", ("batch", 32, 8, 8))
    y = net.relu(net.conv(x, 32, "conv1", scale=None), "relu")
    y = net.maxpool(net.conv(y, 32, "conv2", scale=None), "pool")
    onnx.save(net.proto(net.op("Softmax", y, name="soft")), folder / "float.onnx")
    bad = Network()
    x = bad.input("x", (1, 32, 8, 8))
    data = bad.op("QuantizeLinear", x, bad.constant(np.float32(0.5)), name="q")
    data = bad.op("DequantizeLinear", data, bad.constant(np.float32(0.5)), name="dq")
    onnx.save(bad.proto(bad.op("Conv", data, bad.constant(bad.weight(32, 32, 1, 1)), name="conv")), folder / "bad.onnx")
    return folder


def inspect(folder: Path, model: str, *arguments: str) -> int:
    return run(["inspect", str(folder / f"{model}.onnx"), *arguments])


def document(folder: Path, model: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert inspect(folder, model, "--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_the_summary_fits_its_width_and_names_what_matters(folder, capsys):
    assert inspect(folder, "residual") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert all(len(line) <= 80 for line in lines if str(folder) not in line)
    assert "21 of 21 weighted operators, 19 of them write INT8 too" in shown.out
    assert "RESIDUAL_NOT_REQUANTIZED" in shown.out
    assert "fix: Quantize every reader of the Add's result" in shown.out


def test_json_is_one_document_with_stable_keys(folder, capsys):
    found = document(folder, "residual", capsys)
    assert next(iter(found)) == "schema_version"
    assert {"model", "summary", "findings", "layers", "standalone", "layer_costs", "plan"} <= set(found)
    assert found["quantized"] is True and found["plan"] is None
    summary = found["summary"]
    assert (summary["weighted_quantized"], summary["weighted_ops"], summary["standalone"], summary["boundary"]) == (
        21,
        21,
        2,
        1,
    )
    assert summary["reasons"] == {"BOUNDARY_INPUT": 1, "RESIDUAL_NOT_REQUANTIZED": 1, "NONCOMMUTING": 1}
    assert len(found["layers"]) == len(found["layer_costs"])
    assert {"code", "node", "tensor", "found", "expected", "rule", "fix", "profiles"} <= set(found["findings"][0])


def test_costs_count_every_weighted_operator(folder, capsys):
    found = document(folder, "full", capsys)
    costs = {entry["name"]: entry for entry in found["layer_costs"]}
    assert costs["conv1"]["macs"] == 32 * 32 * 8 * 3 * 49
    assert costs["fc"]["macs"] == 64 * 10
    assert found["summary"]["quantized_macs_percent"] == 100
    assert found["summary"]["unknown_costs"] == 0
    assert costs["conv1"]["size_bytes"] == 3 * 64 * 64 + 8 * 32 * 32  # INT8 in and out


def test_float_layers_are_ranked_by_what_they_cost(folder, capsys):
    assert inspect(folder, "plain") == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("other layers that stay float, most activation traffic first:")
    assert lines[start + 1].startswith("  MaxPool  maxpool  ") and lines[start + 1].endswith(" % of the traffic")
    assert inspect(folder, "bad") == 0
    shown = capsys.readouterr().out
    assert "weighted operators that stay float" in shown and "Conv  conv  100.0 % of the MACs" in shown


def test_layers_are_listed_with_their_types(folder, capsys):
    assert inspect(folder, "plain", "--layers") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("i8/f32->f32") and "layer1.0.conv2" in line for line in lines)
    assert any(line.startswith("i8<-f32") and "MIXED_FANOUT maxpool" in line for line in lines)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("layer1.1.conv2", "Its residual is float, so its result is float too (4.4, case 4)."),
        ("layer1.0.add", "is part of the INT8 kernel of Conv 'layer1.0.conv2'"),
        ("maxpool_QuantizeLinear", "becomes a stand-alone QuantizeLinear kernel: MIXED_FANOUT"),
        ("layer1.0.conv1_w_QuantizeLinear", "is absorbed by the INT8 kernel of Conv 'layer1.0.conv1'"),
        ("maxpool", "MaxPool 'maxpool' runs in an FP32 kernel (f32->f32)."),
    ],
)
def test_a_node_is_explained(folder, capsys, node, expected):
    assert inspect(folder, "plain", "--node", node) == 0
    assert expected in " ".join(capsys.readouterr().out.split())


def test_long_names_are_shown_whole(tmp_path, capsys):
    net = Network()
    long = "/" + "/".join(f"encoder.layers.{number}" for number in range(6))
    y = net.op("Softmax", net.conv(net.input("x", (1, 32, 8, 8)), 32), name=f"{long}/softmax")
    net._channels[y] = 32
    onnx.save(net.proto(net.conv(net.conv(y, 32), 32, f"{long}/conv", scale=None)), tmp_path / "long.onnx")
    assert inspect(tmp_path, "long") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"    {long}/softmax_QuantizeLinear" in lines and f"    {long}/conv" in lines
    assert lines[lines.index(f"    {long}/softmax_QuantizeLinear") - 1] == "  Q FLOAT_PRODUCER  10.2 kB"
    assert inspect(tmp_path, "long", "--node", f"{long}/softmax_QuantizeLinear") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Softmax has no INT8 form; take the pair away where" in shown and "W_STANDALONE_Q" not in shown


def test_the_next_command_repairs_what_can_be(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    onnx.save(net.proto(net.relu(net.pair(net.conv(x, 32), shared=False))), tmp_path / "early.onnx")
    assert inspect(tmp_path, "early") == 0
    assert f"next          qdq fix {tmp_path / 'early.onnx'}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("zero_point", "repairable"), [(np.uint8(128), True), (np.int8(3), False)])
def test_the_next_command_is_shown_where_it_can_repair_something(zero_point, repairable, tmp_path, capsys):
    onnx.save(faulty.on_the_input(np.float32(0.5), zero_point), tmp_path / "shifted.onnx")
    assert inspect(tmp_path, "shifted") == 0
    shown = capsys.readouterr().out
    assert "E_ZP_NONZERO" in shown
    assert ("next " in shown) == repairable


def test_the_note_names_the_releases_that_refuse(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    y = net.op(
        "DequantizeLinear", net.op("QuantizeLinear", x, net.constant(np.float32(0.5))), net.constant(np.float32(0.5))
    )
    onnx.save(net.proto(y), tmp_path / "early.onnx")
    assert inspect(tmp_path, "early") == 0
    assert "note TensorRT 8.4 and 8.6 refuse the model as it is;" in " ".join(capsys.readouterr().out.split())
    assert inspect(tmp_path, "early", "--trt", "8.6") == 0
    assert "note TensorRT 8.6 refuses the model as it is;" in " ".join(capsys.readouterr().out.split())
    assert inspect(tmp_path, "early", "--trt", "10") == 0
    assert "refuses" not in capsys.readouterr().out


def test_a_model_without_weighted_operators_has_no_plan_to_list(tmp_path, capsys):
    net = Network()
    onnx.save(net.proto(net.relu(net.input("x", (1, 32, 8, 8)))), tmp_path / "plain.onnx")
    assert inspect(tmp_path, "plain") == 0
    shown = capsys.readouterr().out
    assert "nothing: the model has no Conv" in shown
    assert "group" not in shown and "next" not in shown


def test_products_of_two_activations_get_the_option_that_quantizes_them(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 32, 32))
    product = net.op("MatMul", net.relu(x), net.op("Sigmoid", x), name="product")
    weight = net.quantized_weight(net.weight(32, 32), 1)
    onnx.save(net.proto(net.op("MatMul", net.pair(product), weight)), tmp_path / "product.onnx")
    assert inspect(tmp_path, "product") == 0
    assert "fix: Quantize both of its operands (`qdq quantize --mha`)" in capsys.readouterr().out


def test_an_unknown_node_gets_near_names(folder, capsys):
    assert inspect(folder, "plain", "--node", "layer1.0.conv9") == 2
    shown = capsys.readouterr().err
    assert "no node 'layer1.0.conv9'" in shown and "layer1.0.conv" in shown.split("hint:")[1]


def test_profiles_filter_findings(folder, capsys):
    old = {entry["code"] for entry in document(folder, "bad", capsys, "--trt", "8.6")["findings"]}
    new = {entry["code"] for entry in document(folder, "bad", capsys, "--trt", "11")["findings"]}
    assert "E_ZP_MISSING" in old and "W_ZP_MISSING" not in old
    assert "W_ZP_MISSING" in new and "E_ZP_MISSING" not in new


@pytest.mark.parametrize("code", RULES)
def test_every_lint_code_is_found_in_a_file(code, tmp_path, capsys):
    onnx.save(faulty.MODELS[code](), tmp_path / "model.onnx")
    asked = ("--trt", RULES[code].profiles[0].value, "--gpu", "sm75")
    shown = document(tmp_path, "model", capsys, *asked)
    assert code in {entry["code"] for entry in shown["advice" if RULES[code].is_advice else "findings"]}
    assert inspect(tmp_path, "model", "--fail-on", code, *asked) == 5


def test_advice_is_no_finding(folder, capsys):
    shown = document(folder, "full", capsys)
    assert shown["findings"] == [] and {entry["code"] for entry in shown["advice"]} == {"W_CHANNEL_ALIGN"}
    assert (shown["summary"]["errors"], shown["summary"]["warnings"]) == (0, 0)
    assert inspect(folder, "full", "--fail-on", "W") == 0
    text = capsys.readouterr().out
    assert "0 errors, 0 warnings" in text and "advice: Nothing needs to be done" in text
    assert inspect(folder, "full", "--fail-on", "W_CHANNEL_ALIGN") == 5


@pytest.mark.parametrize(
    ("model", "limits", "code", "said"),
    [
        ("bad", ["--fail-on", "E"], 5, "E_ZP_MISSING at 'q'"),
        ("bad", ["--fail-on", "W_WEIGHT_ONLY_OR_ACT_ONLY"], 5, "Q/DQ on the data only"),
        ("bad", ["--fail-on", "E_UNSUPPORTED_OP"], 0, ""),
        ("full", ["--fail-on", "E"], 0, ""),
        ("residual", ["--fail-on", "W"], 5, "W_STANDALONE_DQ at "),
        ("residual", ["--max-standalone", "2"], 0, ""),
        ("residual", ["--max-standalone", "1"], 5, "2 stand-alone Q/DQ kernels are predicted"),
        ("full", ["--min-int8-macs", "100"], 0, ""),
        ("bad", ["--min-int8-macs", "1"], 5, "0.00 % of the MACs"),
    ],
)
def test_limits_decide_the_exit_code(folder, capsys, model, limits, code, said):
    assert inspect(folder, model, *limits) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert "weighted operators" in shown.out  # the report is shown either way


def test_a_limit_on_an_unknown_code_is_a_usage_error(folder, capsys):
    assert inspect(folder, "full", "--fail-on", "E_TYPO") == 2
    assert "E_ZP_MISSING" in capsys.readouterr().err


def test_github_annotations_and_summary(folder, capsys, tmp_path, monkeypatch):
    target = tmp_path / "summary.md"
    target.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(target))
    assert inspect(folder, "bad", "--format", "github") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("::error file=") and "title=E_ZP_MISSING q and 1 more::" in line for line in lines)
    kinds = [line.split(" ")[0] for line in lines]
    assert kinds == sorted(kinds) and set(kinds) == {"::error", "::warning"}, "errors first"
    codes = [line.split("title=")[1].split(" ")[0] for line in lines]
    assert len(set(codes)) == len(codes), "GitHub shows ten annotations of a kind: one a code"
    assert target.read_text().startswith("before\n### qdq inspect")
    assert "| E_ZP_MISSING | 2 |" in target.read_text()


def test_github_summary_without_a_file_is_printed(folder, capsys, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert inspect(folder, "full", "--format", "github") == 0
    assert "| weighted operators in INT8 | 21 of 21 |" in capsys.readouterr().out


def test_junit_report(folder, tmp_path):
    target = tmp_path / "report.xml"
    assert inspect(folder, "bad", str(target), "--format", "junit") == 0
    suite = ElementTree.parse(target).getroot()
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) == len(RULES)
    failed = {case.attrib["name"] for case in suite.findall("testcase") if case.find("failure") is not None}
    assert failed == {"E_ZP_MISSING"}
    assert int(suite.attrib["failures"]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--format", "junit"], "--format junit needs a FILE"), (["report.xml"], "report.xml is one argument too many")],
)
def test_junit_and_its_file_go_together(folder, arguments, says, capsys):
    assert inspect(folder, "full", *arguments) == 2
    assert says in capsys.readouterr().err


def test_dot_colours_layers_and_standalone_kernels(folder, tmp_path):
    target = tmp_path / "graph.dot"
    assert inspect(folder, "plain", "--dot", str(target)) == 0
    text = target.read_text()
    assert text.startswith("digraph qdq {") and text.endswith("}\n")
    assert text.count(drawing.COLOURS["standalone"]) == 10
    assert text.count(drawing.COLOURS["codes"]) == 22
    assert 'label="GlobalAveragePool, FP32\\navgpool", fillcolor="' + drawing.COLOURS["float"] in text


def test_every_edge_of_the_drawing_ends_at_a_node(folder, tmp_path):
    target = tmp_path / "graph.dot"
    assert inspect(folder, "residual", "--dot", str(target)) == 0
    lines = [line.strip() for line in target.read_text().splitlines()]
    nodes = {line.split(" [")[0] for line in lines if " [" in line and " -> " not in line}
    edges = [line.rstrip(";").split(" [")[0].split(" -> ") for line in lines if " -> " in line]
    assert len(edges) > 30
    assert {end for edge in edges for end in edge} <= nodes


def test_svg_without_graphviz_says_so(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert inspect(folder, "plain", "--svg", str(tmp_path / "graph.svg")) == 2
    assert "Graphviz" in capsys.readouterr().err
    assert not (tmp_path / "graph.svg").exists()


def test_svg_is_drawn_by_graphviz(folder, tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho '<svg>'; cat >/dev/null; echo '</svg>'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert inspect(folder, "plain", "--svg", str(tmp_path / "graph.svg")) == 0
    assert (tmp_path / "graph.svg").read_text() == "<svg>\n</svg>\n"


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_every_layer_in_its_colour(folder, tmp_path, capsys):
    assert inspect(folder, "residual", "-q", "--svg", str(tmp_path / "graph.svg")) == 0
    drawn = ElementTree.parse(tmp_path / "graph.svg").getroot()
    fills = [shape.get("fill") for shape in drawn.iter("{http://www.w3.org/2000/svg}path")]
    found = document(folder, "residual", capsys)
    int8 = sum(layer["int8"] for layer in found["layers"])
    counts = [fills.count(drawing.COLOURS[kind]) for kind in ("int8", "float", "standalone")]
    assert counts == [int8, len(found["layers"]) - int8, len(found["standalone"])]
    assert len(list(drawn.iterfind(".//*[@class='edge']"))) > len(found["layers"])


def test_a_file_that_cannot_be_written(folder, tmp_path, capsys):
    assert inspect(folder, "plain", "--dot", str(tmp_path / "missing" / "graph.dot")) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_float_model_is_planned_and_predicted(folder, capsys):
    found = document(folder, "float", capsys)
    assert found["quantized"] is False
    assert found["plan"]["weighted_ops"] == {"total": 2, "quantized": 2}
    assert found["summary"]["weighted_quantized"] == 2
    assert found["summary"]["batch_is_symbolic"] is True
    assert found["summary"]["macs"] == 2 * 64 * 32 * 32 * 9
    assert inspect(folder, "float") == 0
    assert "planned; the rest is predicted for its result" in " ".join(capsys.readouterr().out.split())


def test_the_plan_is_the_dry_run(folder, capsys):
    for options in ((), ("-v",), ("--json",), ("--trt", "8.6"), ("-q",)):
        assert inspect(folder, "float", "--exclude", "conv2", *options) == 0
        shown = capsys.readouterr()
        assert run(["quantize", str(folder / "float.onnx"), "--dry-run", "--exclude", "conv2", *options]) == 0
        planned = capsys.readouterr()
        assert without_times(planned.out) == without_times(shown.out)
        assert without_times(planned.err) == without_times(shown.err)
    assert list(folder.glob("float.qdq*")) == []


def without_times(text: str) -> str:
    return re.sub(r'"(load|prepare|plan)": [0-9.]+|detail: .* took .*\n', "", text)


def test_a_given_shape_makes_costs_known(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 32, "h", "w"))
    onnx.save(net.proto(net.conv(x, 32, "conv")), tmp_path / "open.onnx")
    assert document(tmp_path, "open", capsys)["summary"]["unknown_costs"] == 2
    summary = document(tmp_path, "open", capsys, "--input-shape", "x:1x32x8x8")["summary"]
    assert (summary["unknown_costs"], summary["macs"]) == (0, 64 * 32 * 32 * 9)


def test_a_missing_model(tmp_path, capsys):
    assert inspect(tmp_path, "nothing") == 3
    assert "does not exist" in capsys.readouterr().err


def test_nodes_in_any_order_are_read(folder, tmp_path, capsys):
    model = onnx.load(folder / "residual.onnx")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    onnx.save(model, tmp_path / "reversed.onnx")
    assert document(tmp_path, "reversed", capsys)["summary"] == document(folder, "residual", capsys)["summary"]


def test_half_models_need_tensorrt_10_and_move_half_the_bytes(tmp_path, capsys):
    net = Network(19)
    x = net.input("x", (4, 32), onnx.TensorProto.FLOAT16)
    scale, zero = net.constant(np.float16(0.5)), net.constant(np.int8(0))
    operands = [
        net.op("QuantizeLinear", value, scale, zero) for value in (x, net.constant(np.ones((32, 32), np.float16)))
    ]
    data, weight = (net.op("DequantizeLinear", codes, scale, zero) for codes in operands)
    y = net.op("MatMul", data, weight, name="matmul")
    onnx.save(net.proto(y, output_types={y: onnx.TensorProto.FLOAT16}), tmp_path / "half.onnx")
    found = document(tmp_path, "half", capsys)
    assert found["summary"]["weighted_quantized"] == 1
    assert found["layer_costs"][0]["size_bytes"] == 4 * 32 * 1 + 4 * 32 * 2
    assert found["findings"] == [] and found["releases"] == ["10", "11"]
    assert found["newer_form"] == ["opset 19", "FLOAT16 scales"]
    assert inspect(tmp_path, "half") == 0
    assert "10 and 11 (8.4 and 8.6 do not read opset 19, FLOAT16 scales)" in capsys.readouterr().out
    assert document(tmp_path, "half", capsys, "--trt", "11")["findings"] == []
    old = document(tmp_path, "half", capsys, "--trt", "8.6")
    errors = [entry for entry in old["findings"] if entry["code"] == "E_SCALE_DTYPE"]
    assert {tuple(entry["profiles"]) for entry in errors} == {("8.4", "8.6")}
    assert old["releases"] == ["8.6"] and old["newer_form"] == []


def test_an_open_question_can_be_decided(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 8, 8, 8))
    weight = net.quantized_weight(net.weight(8, 8, 2, 2), None, "w")
    y = net.relu(net.op("ConvTranspose", net.pair(x), weight, name="deconv", strides=[2, 2]), "relu")
    net._channels[y] = 8
    onnx.save(net.proto(net.conv(y, 8, "conv")), tmp_path / "deconv.onnx")
    assert document(tmp_path, "deconv", capsys)["summary"]["reasons"] == {"BOUNDARY_INPUT": 1, "DECONV": 1}
    decided = document(tmp_path, "deconv", capsys, "--deconv-absorbs-q")
    assert decided["summary"]["standalone"] == 0
    assert "section 9" in decided["layers"][0]["uncertain"]


def test_what_is_known_of_half_the_shapes_is_not_told_as_the_whole(tmp_path, capsys):
    net = Network()
    x = net.input("x", ("batch", 32, "height", "width"))
    y = net.op("Softmax", net.conv(x, 32, "wide"), name="soft")
    pooled = net.op("GlobalAveragePool", y, name="pool")
    net._channels[pooled] = 32
    onnx.save(net.proto(net.conv(y, 32, "big"), net.conv(pooled, 32, "small", kernel=1)), tmp_path / "open.onnx")
    assert inspect(tmp_path, "open") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "cost unknown for" in shown and "--input-shape" in shown
    assert "in INT8 of those that are known" in shown
    assert "of the traffic" not in shown
    kernels = shown[shown.index("stand-alone Q/DQ kernels inside") :]
    assert kernels.index("soft_QuantizeLinear") < kernels.index("pool_QuantizeLinear")
    assert "soft_QuantizeLinear unknown size" in kernels
    assert inspect(tmp_path, "open", "--format", "github") == 0
    assert "| kernels of unknown shape, not in these shares |" in capsys.readouterr().out


def test_a_float_operator_that_commutes_is_not_called_class_f(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    first, second = net.split(net.relu(net.conv(x, 32, "conv1"), "relu"), 2, name="split")
    outer = net.op("Pad", second, net.constant(np.array([0, 4, 0, 0, 0, 4, 0, 0])), name="pad")
    net._channels[outer] = 24
    onnx.save(net.proto(net.conv(outer, 32, "conv2"), net.op("Softmax", first)), tmp_path / "split.onnx")
    assert inspect(tmp_path, "split", "--node", "split") == 0
    shown = capsys.readouterr().out
    assert "class F" not in shown and "no Q behind it" in " ".join(shown.split())
    assert inspect(tmp_path, "split", "--node", "pad") == 0
    shown = capsys.readouterr().out
    assert "class F" not in shown and "it pads an outer dimension" in " ".join(shown.split())


FLOAT_FUNCTIONS = (
    "Softmax",
    "LogSoftmax",
    "Hardmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "CumSum",
    "Trilu",
)


def test_kernels_with_one_remedy_stand_together(tmp_path, capsys):
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    outs = [net.conv(net.op("Softmax", x, name=f"soft{number}"), 32, f"conv{number}") for number in range(5)]
    outs.append(net.conv(net.op("LogSoftmax", x, name="log"), 32, "conv_log"))
    onnx.save(net.proto(*outs), tmp_path / "alike.onnx")
    assert inspect(tmp_path, "alike") == 0
    shown = capsys.readouterr().out
    shown = shown[shown.index("stand-alone Q/DQ kernels inside") :]
    assert "  Q FLOAT_PRODUCER  5x  51.2 kB\n" in shown
    assert [f"    soft{number}_QuantizeLinear\n" in shown for number in range(5)] == [True] * 3 + [False] * 2
    assert "    ... and 2 more of them (--layers, --json)\n" in shown
    assert "  Q FLOAT_PRODUCER  log_QuantizeLinear  10.2 kB\n" in shown
    assert shown.count("Softmax has no INT8 form; take the pair away") == 2  # LogSoftmax ends so too
    assert max(map(len, shown.splitlines())) <= 80


def test_the_kinds_with_the_least_traffic_are_counted(tmp_path, capsys):
    net = Network()
    outs = []
    for number, op_type in enumerate(FLOAT_FUNCTIONS):
        x = net.input(f"x{number}", (1, 32, 8, 16 - 2 * number))
        extra = [net.constant(np.array(1))] if op_type == "CumSum" else []
        outs.append(net.conv(net.op(op_type, x, *extra, name=op_type), 32, f"conv{number}"))
    onnx.save(net.proto(*outs), tmp_path / "many.onnx")
    assert inspect(tmp_path, "many") == 0
    shown = capsys.readouterr().out
    shown = shown[shown.index("stand-alone Q/DQ kernels inside") :]
    found = [name for name in FLOAT_FUNCTIONS if f"{name}_QuantizeLinear" in shown]
    assert found == list(FLOAT_FUNCTIONS[:5])
    assert "  ... and 2 more of 2 other kinds (--layers, --json)\n" in shown


# the page


def test_a_page_shows_the_network_as_a_graph(tmp_path: Path):
    page = tmp_path / "page.html"
    done = qdq("inspect", SAMPLES / "digits_resnet.onnx", "--report", page)
    assert done.code == 0, done.err
    html = page.read_text(encoding="utf-8")
    reader = Reader(html)
    for word in ("Graph", "Cost by type", "Predicted TensorRT layers", "Weights", "good"):
        assert word in reader.texts
    data = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL)[0])
    texts = [data["texts"][node[0]] for node in data["nodes"]]
    assert "/4/conv2/Conv" in texts and "graph input image" in texts
    assert done.out == qdq("inspect", SAMPLES / "digits_resnet.onnx").out


def test_two_forms_stand_side_by_side(tmp_path: Path):
    """The float model as planned, and the same with a convolution left float."""
    space = make_workspace(tmp_path)
    page = space.folder / "page.html"
    space.quantize("--exclude", "second", "--verify", "0")
    done = qdq("inspect", space.model, "--against", space.output, "--report", page)
    assert done.code == 0, done.err
    html = page.read_text(encoding="utf-8")
    assert html.count('<figure class="graph"') == 2
    rows = Reader(html.partition("Differences</h2>")[2].partition("</section>")[0]).texts
    place = rows.index("second")
    assert "INT8" in rows[place + 1] and "FP32" in rows[place + 2]


def test_a_second_form_needs_a_page():
    done = qdq("inspect", SAMPLES / "digits_gru.onnx", "--against", SAMPLES / "digits_gru.onnx")
    assert done.code == 2
    assert "--against" in done.err and "--report" in done.err
