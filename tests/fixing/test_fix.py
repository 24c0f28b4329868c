"""Every repair of `qdq fix`: that it is made, that it keeps the numbers where it says so, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper

from qdq_cli.cache.exchange import ranges_in
from qdq_cli.config.fix import FixConfig
from qdq_cli.fixing.fix import fix_model
from qdq_cli.fixing.record import RepairReport
from qdq_cli.fixing.text import report_lines
from qdq_cli.main import run as run_command
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.simulate import simulate
from tests.foreign import make_ort_models
from tests.networks import SCALE, Network
from tests.targets.tensorrt import engines
from tests.targets.tensorrt.predictions import left, types
from tests.targets.tensorrt.random_networks import finished, networks
from tests.workspace import make_workspace

FOREIGN = Path(make_ort_models.__file__).parent


@pytest.fixture
def fixed(tmp_path: Path):
    def fix(model: onnx.ModelProto, ranges: dict[str, float] | None = None) -> tuple[RepairReport, ir.Model]:
        return repaired(model, tmp_path, ranges)

    return fix


def repaired(
    model: onnx.ModelProto, folder: Path, ranges: dict[str, float] | None = None
) -> tuple[RepairReport, ir.Model]:
    """The report, and the written model; exact repairs alone must leave the outputs equal."""
    onnx.save(model, folder / "model.onnx")
    report = fix_model(FixConfig(folder / "model.onnx", folder / "out.onnx", ranges or {}, samples=2))
    written = onnx.load(folder / "out.onnx")
    onnx.checker.check_model(written, full_check=True)
    assert [value.name for value in written.graph.output] == [value.name for value in model.graph.output]
    if all(repair.exact for repair in report.repairs):
        assert report.notes or all(distance.equal for distance in report.outputs.values())
    return report, ir.serde.deserialize_model(written)


def rules(report: RepairReport) -> set[str]:
    return {repair.rule for repair in report.repairs}


def start(channels: int = 8, opset: int = 17) -> tuple[Network, str]:
    net = Network(opset)
    return net, net.input("x", (1, channels, 8, 8))


def codes(model: ir.Model) -> set[str]:
    return {entry.code for entry in lint(model)} - {"W_CHANNEL_ALIGN"}


def odd_pair(net: Network, x: str, scale: object, zero_point: object | None, **extra: object) -> str:
    operands = [net.constant(np.asarray(scale, np.float32))]
    operands += [] if zero_point is None else [net.constant(np.asarray(zero_point))]
    q = net.op("QuantizeLinear", x, *operands, name=f"{x}_q", **extra)
    return net.op("DequantizeLinear", q, *operands, name=f"{x}_dq", **extra)


def test_an_output_without_elements_is_not_compared(tmp_path: Path):
    net, x = start()
    first, second = (net.constant(np.int64([end])) for end in (0, 1))
    net.op("Slice", x, first, first, second, name="nothing")
    y = net.conv(x, 8, "conv")
    report, _ = repaired(net.proto(y, "nothing"), tmp_path)
    assert set(report.outputs) == {y}


def test_a_model_without_faults_is_written_as_it_is(fixed):
    report, model = fixed(ir.serde.serialize_model(engines.resnet18(residual=True, pool=True)))
    assert report.repairs == report.left == report.findings == ()
    assert report.before == report.after
    assert types(simulate(model), "layer1.0.conv2") == "i8/i8->i8"


def test_missing_zero_points_are_added(fixed):
    net, x = start()
    weight = odd_pair(net, net.constant(net.weight(8, 8, 1, 1), "w"), np.full(8, SCALE), None, axis=0)
    report, model = fixed(net.proto(net.op("Conv", odd_pair(net, x, SCALE, None), weight, name="conv")))
    assert rules(report) == {"A14"} and len(report.repairs) == 4
    assert codes(model) == set()
    assert all(node.inputs[2].dtype == ir.DataType.INT8 for node in model.graph if "Quantize" in node.op_type)
    assert (report.before.errors, report.after.errors) == (4, 0)


def test_a_stored_constant_of_uint8_without_zero_point_is_left(fixed):
    net, x = start()
    stored = net.constant(np.ones((8, 8, 1, 1), np.uint8), "stored")
    weight = net.op("DequantizeLinear", stored, net.constant(np.float32(0.5)), name="dq")
    report, _ = fixed(net.proto(net.op("Conv", net.pair(x), weight, name="conv")))
    assert [(entry.rule, entry.node) for entry in report.left] == [("A14", "dq")]


@pytest.mark.parametrize(
    ("shape", "axis", "exact"), [((8, 4, 1, 1), 0, False), ((4, 8, 1, 1), 1, True), ((8, 8, 1, 1), 1, True)]
)
def test_omitted_axes_are_written(fixed, shape, axis, exact):
    net, x = start(shape[1])
    weight = odd_pair(net, net.constant(net.weight(*shape), "w"), np.full(8, SCALE), np.zeros(8, np.int8))
    model = net.model(net.op("Conv", net.pair(x), weight, name="conv"))
    proto = ir.serde.serialize_model(model)
    report, model = fixed(proto)
    assert {repair.rule for repair in report.repairs} == {"A20"}
    assert all(repair.exact is exact for repair in report.repairs)
    assert {node.attributes["axis"].as_int() for node in model.graph if node.name.startswith("w_")} == {axis}


def test_scales_along_the_summed_axis_are_left(fixed):
    net, x = start()
    weight = net.quantized_weight(net.weight(8, 8, 1, 1), 1, "w")
    report, _ = fixed(net.proto(net.op("Conv", net.pair(x), weight, name="conv")))
    assert [(entry.rule, entry.node) for entry in report.left] == [("A26", "conv")]
    assert {entry.code for entry in report.findings} == {"E_AXIS_REDUCTION"}


def test_a_zero_point_beside_a_stored_type_changes_no_number(fixed):
    net = Network(21)
    x = net.input("x", (1, 8, 4, 4))
    scale = net.constant(np.float32(SCALE))
    q = net.op("QuantizeLinear", x, scale, name="q", output_dtype=TensorProto.INT8)
    report, _ = fixed(net.proto(net.conv(net.op("DequantizeLinear", q, scale, name="dq"), 8, name="conv", scale=SCALE)))
    added = [repair for repair in report.repairs if repair.rule == "A14"]
    assert {repair.node for repair in added} == {"q", "dq"} and all(repair.exact for repair in added)


def test_weights_of_four_bits_with_a_scale_for_each_block_are_no_fault(fixed):
    net = Network(21)
    x = net.input("x", (1, 64))
    codes = helper.make_tensor("codes", TensorProto.INT4, [64, 32], bytes(64 * 32 // 2), raw=True)
    net._initializers["codes"] = codes
    scale = net.constant(np.full((2, 32), SCALE, np.float32))
    weight = net.op("DequantizeLinear", "codes", scale, name="dq", axis=0, block_size=32)
    report, _ = fixed(net.proto(net.op("MatMul", x, weight, name="mm")))
    assert report.repairs == report.left == ()


def test_zero_points_that_are_not_zero_are_left(fixed):
    net, x = start()
    weight = net.quantized_weight(net.weight(8, 8, 1, 1), 0, "w")
    report, _ = fixed(net.proto(net.op("Conv", odd_pair(net, x, SCALE, np.int8(3)), weight, name="conv")))
    assert [(entry.rule, entry.node) for entry in report.left] == [("A13", "x_q"), ("A13", "x_dq")]
    lines = report_lines(report)
    assert lines[lines.index("left as it is:") + 1].startswith("  A13  x_q, x_dq: its zero point is not zero;")
    assert sum(line.startswith("  A13  x_") for line in report_lines(report, full=True)) == 2


@pytest.mark.parametrize("per_channel", [False, True])
def test_int32_biases_become_float(fixed, per_channel):
    net, x = start()
    scale = net.constant(np.full(8, 0.125, np.float32) if per_channel else np.float32(0.125))
    zero = net.constant(np.zeros(8, np.int32) if per_channel else np.int32(0))
    extra = {"axis": 0} if per_channel else {}
    bias = net.op(
        "DequantizeLinear", net.constant(np.arange(8, dtype=np.int32), "b"), scale, zero, name="b_dq", **extra
    )
    conv = net.op("Conv", net.pair(x), net.quantized_weight(net.weight(8, 8, 1, 1)), bias, name="conv")
    report, model = fixed(net.proto(conv))
    assert rules(report) == {"A27"} and report.repairs[0].exact
    restored = model.graph.node("conv").inputs[2]
    np.testing.assert_array_equal(restored.const_value.numpy(), np.arange(8, dtype=np.float32) / 8)
    assert "b" not in model.graph.initializers and "b_dq" not in {node.name for node in model.graph}


def test_unsigned_codes_around_128_become_signed(fixed):
    net, x = start()
    stored = net.constant(np.arange(64, dtype=np.uint8).reshape(8, 8, 1, 1) * 4, "stored")
    operands = [net.constant(np.float32(0.125)), net.constant(np.uint8(128))]
    weight = net.op("DequantizeLinear", stored, *operands, name="w_dq")
    report, model = fixed(net.proto(net.op("Conv", odd_pair(net, x, SCALE, np.uint8(128)), weight, name="conv")))
    assert rules(report) == {"A16"}
    assert codes(model) == {"W_DQ_ONLY_WEIGHTS"}
    assert model.graph.node("w_dq").inputs[0].dtype == ir.DataType.INT8
    assert report.outputs["conv"].equal


def test_other_unsigned_zero_points_are_left(fixed):
    net, x = start()
    data = odd_pair(net, x, SCALE, np.uint8(3))
    report, _ = fixed(net.proto(net.op("Conv", data, net.quantized_weight(net.weight(8, 8, 1, 1)), name="conv")))
    assert report.repairs == ()
    assert {entry.code for entry in report.findings} == {"E_ZP_DTYPE", "E_ZP_NONZERO"}


def test_unsigned_codes_that_leave_the_graph_are_left(fixed):
    net, x = start()
    q = net.op("QuantizeLinear", x, net.constant(np.float32(0.5)), net.constant(np.uint8(128)), name="q")
    report, _ = fixed(net.proto(q, output_types={q: TensorProto.UINT8}))
    assert [(entry.rule, entry.node) for entry in report.left] == [("A16", "q")]


def test_runtime_domain_becomes_the_onnx_domain(fixed):
    net, x = start()
    operands = [net.constant(np.float32(SCALE)), net.constant(np.int8(0))]
    q = net.op("QuantizeLinear", x, *operands, name="q", domain="com.microsoft")
    dq = net.op("DequantizeLinear", q, *operands, name="dq", domain="com.microsoft")
    proto = net.proto(net.op("Conv", dq, net.quantized_weight(net.weight(8, 8, 1, 1)), name="conv"))
    proto.graph.output[0].type.tensor_type.shape.CopyFrom(proto.graph.input[0].type.tensor_type.shape)
    report, model = fixed(proto)
    assert rules(report) == {"1.9"}
    assert codes(model) == set()


def test_equal_qs_on_a_tensor_merge(fixed):
    net, x = start()
    made = [
        net.op("Conv", net.pair(x, shared=False), net.quantized_weight(net.weight(8, 8, 1, 1)), name=name)
        for name in "ab"
    ]
    report, model = fixed(net.proto(*made))
    assert rules(report) == {"R1"}
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph) == 3


@pytest.mark.parametrize("clip", ["Relu", "Clip"])
def test_pairs_before_an_activation_move_behind_it(fixed, clip):
    net, x = start()
    y = net.pair(net.conv(x, 8, "conv1"))
    y = net.relu(y, "act") if clip == "Relu" else net.op("Clip", y, net.constant(np.float32(0)), name="act")
    net._channels[y] = 8
    weight = net.quantized_weight(net.weight(8, 8, 1, 1))
    report, model = fixed(net.proto(net.op("Conv", net.maxpool(y, "pool"), weight, name="conv2")))
    assert [(repair.rule, repair.exact) for repair in report.repairs] == [("P3", True)]
    found = simulate(model)
    assert found.layers[0].nodes == ("conv1", "act")
    assert types(found, "conv1") == "i8->i8"


def test_a_pair_before_relu_with_an_equal_one_behind_goes(fixed):
    net, x = start()
    y = net.relu(net.pair(net.conv(x, 8, "conv1")), "relu")
    report, model = fixed(net.proto(net.conv(y, 8, "conv2")))
    assert [(repair.rule, repair.exact) for repair in report.repairs] == [("P3", True)]
    assert codes(model) == set()
    assert left(simulate(model)) == [("Q", "x", "BOUNDARY_INPUT")]


@pytest.mark.parametrize("why", ["another scale", "no multiples of the scale", "a graph output"])
def test_pairs_before_an_activation_that_stay(fixed, why):
    net, x = start()
    y = net.pair(net.conv(x, 8, "conv1"), 0.3)
    if why == "no multiples of the scale":
        y = net.op("Clip", y, net.constant(np.float32(-1)), net.constant(np.float32(1)), name="act")
    else:
        y = net.relu(y, "act")
    net._channels[y] = 8
    end = y if why == "a graph output" else net.conv(y, 8, "conv2", scale=0.3 if why.startswith("no") else 0.5)
    report, _ = fixed(net.proto(end))
    assert report.repairs == ()
    assert [(entry.rule, why in entry.why) for entry in report.left] == [("P3", True)]


def test_pairs_between_pad_and_convolution_move_before_the_pad(fixed):
    net, x = start()
    y = net.conv(x, 8, "conv1")
    padded = net.op("Pad", y, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), name="pad")
    weight = net.quantized_weight(net.weight(8, 8, 3, 3))
    report, model = fixed(net.proto(net.op("Conv", net.pair(padded), weight, name="conv2")))
    assert [(repair.rule, repair.exact) for repair in report.repairs] == [("P14", True)]
    assert codes(model) == set()
    assert types(simulate(model), "pad") == "i8->i8"


def test_pairs_that_only_float_operators_read_go(fixed):
    net, x = start()
    y = net.op("Softmax", net.pair(net.conv(x, 8, "conv")), name="soft")
    report, model = fixed(net.proto(y))
    assert [(repair.rule, repair.exact) for repair in report.repairs] == [("P2", False)]
    assert left(simulate(model)) == [("Q", "x", "BOUNDARY_INPUT")]


def test_a_pair_on_a_graph_output_goes_and_the_output_keeps_its_name(fixed):
    net, x = start()
    report, model = fixed(net.proto(net.pair(net.conv(x, 8, "conv"))))
    assert rules(report) == {"P2"}
    assert [value.name for value in model.graph.outputs] == ["conv_DequantizeLinear"]
    assert model.graph.outputs[0].producer().name == "conv"


def test_of_two_quantized_branches_the_main_one_loses_its_pair(fixed):
    net, x = start()
    y = net.conv(net.relu(net.conv(x, 8, "conv1", stride=2)), 8, "conv2")
    side = net.conv(x, 8, "down", kernel=1, stride=2)
    y = net.relu(net.add(net.pair(y), net.pair(side), "add"), "relu2")
    report, model = fixed(net.proto(net.conv(y, 8, "conv3")))
    assert [(repair.rule, repair.tensor) for repair in report.repairs] == [("P8", "conv2")]
    found = simulate(model)
    assert types(found, "down") == "i8->i8"
    assert types(found, "conv2") == "i8/i8->i8"


def test_residuals_take_the_pair_of_their_tensor(fixed):
    report, model = fixed(ir.serde.serialize_model(engines.resnet18()))
    assert rules(report) == {"P8"}
    assert {repair.node for repair in report.repairs} == {
        "layer1.0.add",
        "layer1.1.add",
        "layer2.1.add",
        "layer3.1.add",
    }
    assert {entry.node for entry in report.left} == {"layer2.0.add", "layer3.0.add", "layer4.0.add"}
    found = simulate(model)
    assert (report.before.standalone, report.after.standalone) == (10, 5)
    assert found.reasons == {"BOUNDARY_INPUT": 1, "RESIDUAL_FLOAT": 2, "MIXED_FANOUT": 1, "NONCOMMUTING": 1}


def test_residuals_without_a_q_take_a_known_range(fixed):
    ranges = {f"layer{stage}.0.conv2": 6.0 for stage in (2, 3, 4)}
    report, model = fixed(ir.serde.serialize_model(engines.resnet18()), ranges)
    assert report.left == ()
    assert types(simulate(model), "layer2.0.downsample") == "i8/i8->i8"
    scale = model.graph.initializers["layer2.0.conv2_scale"].const_value.numpy()
    assert scale == np.float32(6.0 / 127)


def test_ranges_of_other_tensors_are_told_not_passed_over(fixed):
    model = ir.serde.serialize_model(engines.resnet18())
    report, _ = fixed(model, {"layer2.0.conv1": 6.0})
    assert report.notes == (
        "None of the ranges given is of a residual branch without Q; the tensors are listed below.",
    )
    assert any("'layer2.0.conv2' has no Q and no known range (--ranges)" in entry.why for entry in report.left)
    assert fixed(model, {"layer2.0.conv1": 6.0, "layer2.0.conv2": 6.0})[0].notes == ()


@pytest.mark.parametrize(("blocks", "repaired", "standalone"), [(1, 0, 1), (2, 2, 1), (5, 5, 1)])
def test_the_last_block_before_a_float_reader_is_bridged_where_that_frees_others(fixed, blocks, repaired, standalone):
    """One block alone would trade a Q for a DQ; in a chain its DQ lets the Adds of all others fuse (section 3.2)."""
    net, x = start()
    y = net.relu(net.conv(x, 8, "stem"), "stem_relu")
    for block in range(blocks):
        main = net.conv(net.relu(net.conv(y, 8)), 8)
        y = net.relu(net.add(main, y, f"add{block}"), f"relu{block}")
    report, model = fixed(net.proto(net.op("Softmax", y)))
    assert sorted(repair.node for repair in report.repairs) == [f"add{block}" for block in range(repaired)]
    assert report.before.standalone == 1 + blocks  # the input, and a Q that float reads beside it for each block
    assert len(simulate(model).removable) == standalone
    assert report.after.quantized_to_quantized == report.before.quantized_to_quantized + (blocks if repaired else 0)


def test_a_change_that_costs_kernels_is_not_made(fixed):
    """T09: in front of a graph output both choices cost one kernel; the float one is more accurate."""
    net, x = start()
    block = net.relu(net.conv(x, 8, "conv0"), "relu0")
    main = net.conv(net.relu(net.conv(block, 8, "conv1")), 8, "conv2")
    report, _ = fixed(net.proto(net.relu(net.add(main, block, "add"))))
    assert report.repairs == ()


@pytest.mark.parametrize(("name", "standalone"), [("ort_defaults", 1), ("ort_tensorrt", 1), ("qat_resnet", 1)])
def test_models_of_other_tools_end_with_the_input_kernel_alone(fixed, name, standalone):
    report, _ = fixed(onnx.load(FOREIGN / f"{name}.onnx"))
    assert report.repairs
    assert report.after.standalone == standalone
    assert report.after.errors <= report.before.errors
    assert report.outputs["scores"].sqnr_db > 30


@settings(max_examples=40)
@given(networks())
def test_repairs_never_cost_kernels_and_fixing_twice_changes_nothing(tmp_path_factory, net: Network):
    folder = tmp_path_factory.mktemp("fix")
    report, model = repaired(finished(net), folder)
    assert report.after.standalone <= report.before.standalone
    assert report.after.errors <= report.before.errors
    again, _ = repaired(ir.serde.serialize_model(model), folder)
    assert again.repairs == ()


def test_the_command_lists_repairs_and_what_is_left(tmp_path, capsys):
    path = tmp_path / "plain.onnx"
    onnx.save(ir.serde.serialize_model(engines.resnet18()), path)
    assert run_command(["fix", str(path)]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "plain.fixed.onnx").is_file()
    assert "P8  4x  changes roundings" in shown and "left as it is:" in shown
    assert "10 stand-alone Q/DQ" in shown and "5 stand-alone Q/DQ" in shown


def test_the_document_of_the_command(tmp_path, capsys):
    path = tmp_path / "plain.onnx"
    onnx.save(ir.serde.serialize_model(engines.resnet18()), path)
    (tmp_path / "ranges.json").write_text(json.dumps({"layer2.0.conv2": 6.0}))
    arguments = [
        "-o",
        str(tmp_path / "out.onnx"),
        "--ranges",
        str(tmp_path / "ranges.json"),
        "--samples",
        "0",
        "--json",
    ]
    assert run_command(["fix", str(path), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert next(iter(found)) == "schema_version"
    assert len(found["repairs"]) == 5 and len(found["left"]) == 2 and found["outputs"] == {}


def test_the_input_is_never_overwritten(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    onnx.save(ir.serde.serialize_model(engines.resnet18()), path)
    before = path.read_bytes()
    assert run_command(["fix", str(path), "-o", str(path)]) == 2
    assert path.read_bytes() == before
    assert "input model itself" in capsys.readouterr().err


def test_same_input_same_bytes(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(ir.serde.serialize_model(engines.resnet18()), path)
    for name in ("a", "b"):
        assert run_command(["fix", str(path), "-o", str(tmp_path / f"{name}.onnx"), "-q"]) == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_ranges_come_from_a_calibration_cache(tmp_path, monkeypatch):
    """Quantized without its residual branches, and repaired with the cache that holds the range of one without Q."""
    net = Network()
    x = net.relu(net.conv(net.input("x", ("n", 3, 16, 16)), 16, "stem", scale=None))
    main = net.conv(net.relu(net.conv(x, 32, "conv1", scale=None, stride=2)), 32, "conv2", scale=None)
    side = net.conv(x, 32, "side", scale=None, kernel=1, stride=2)
    y = net.conv(net.relu(net.add(main, side, "add")), 32, "conv3", scale=None)
    space = make_workspace(tmp_path, net.proto(y))
    monkeypatch.chdir(space.folder)
    cache, model = "model.qcal", "plain.onnx"
    assert run_command(["calibrate", str(space.model), "--calib", str(space.images), "-o", cache, "-q"]) == 0
    options = ["--cache", cache, "--no-residuals", "-o", model, "-q"]
    assert run_command(["quantize", str(space.model), *options]) == 0
    plain, repaired = (
        fix_model(FixConfig(Path(model), Path("fixed.onnx"), ranges)) for ranges in ({}, ranges_in(Path(cache)))
    )
    assert [entry.node for entry in plain.left] == ["add"]
    assert [(entry.node, entry.rule) for entry in repaired.repairs] == [("add", "P8")]
    assert "a new pair with the range" in repaired.repairs[0].done
    assert repaired.after.standalone == plain.after.standalone - 1
