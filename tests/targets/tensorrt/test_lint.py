"""Every lint code of the rules' section 1.11: a model that has it, and one that is right and has none."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from qdq_cli.config.forms import TensorRT
from qdq_cli.model.codes import CodeRange
from qdq_cli.targets.tensorrt.findings import RULES, Finding, Severity
from qdq_cli.targets.tensorrt.lint import lint, lint_simulation
from qdq_cli.targets.tensorrt.lint_scales import meaning_of
from qdq_cli.targets.tensorrt.remedies import REMEDIES
from qdq_cli.targets.tensorrt.simulate import simulate
from tests.networks import SCALE, Network
from tests.targets.tensorrt import engines

QUIET = {"W_CHANNEL_ALIGN"}  # narrow test networks


def start(channels: int = 32, opset: int = 17) -> tuple[Network, str]:
    net = Network(opset)
    return net, net.input("x", (1, channels, 8, 8))


def findings(net: Network, *outputs: str, types: dict[str, int] | None = None) -> list[Finding]:
    return list(lint(net.model(*outputs, output_types=types)))


def codes(found: list[Finding]) -> set[str]:
    return {entry.code for entry in found} - QUIET


def only(found: list[Finding], code: str) -> Finding:
    (entry,) = [entry for entry in found if entry.code == code]
    return entry


def conv_with(
    net: Network, data: str, weight: str, channels: int = 32, bias: str | None = None, **attributes: object
) -> str:  # fmt: skip
    name = net.op("Conv", data, weight, *([bias] if bias else []), name="conv", **attributes)
    net._channels[name] = channels
    return name


def quantize_with(net: Network, x: str, scale: object, zero_point: object | None, name: str = "q", **extra: int) -> str:
    operands = [net.constant(np.asarray(scale), f"{name}_scale")]
    if zero_point is not None:
        operands.append(net.constant(np.asarray(zero_point), f"{name}_zp"))
    q = net.op("QuantizeLinear", x, *operands, name=name, **extra)
    return net.op("DequantizeLinear", q, *operands, name=f"{name}_dq", **extra)


def odd_pair(scale: object, zero_point: object | None, **extra: int) -> list[Finding]:
    """Findings about a Q/DQ pair with these operands on the input of a convolution."""
    net, x = start()
    data = quantize_with(net, x, scale, zero_point, **extra)
    return findings(net, conv_with(net, data, net.quantized_weight(net.weight(32, 32, 1, 1))))


def odd_weight(shape: tuple[int, ...], axis: int | None, scales: int, **extra: object) -> list[Finding]:
    net, x = start()
    weight = net.constant(net.weight(*shape), "w")
    attribute = {} if axis is None else {"axis": axis}
    weight = quantize_with(net, weight, np.full(scales, 0.5, np.float32), np.zeros(scales, np.int8), **attribute)
    return findings(net, conv_with(net, net.pair(x), weight, **extra))


@pytest.mark.parametrize(
    "model", [engines.resnet18(residual=True, pool=True), engines.mobilenet_v2(residual=True), engines.tf_resnet50()]
)
def test_well_made_models_have_no_findings(model):
    assert codes(list(lint(model))) <= {"W_CHANNEL_ALIGN"}


def test_every_code_of_the_rules_is_in_the_table():
    listed = """E_SCALE_NONPOS E_SCALE_NOT_CONST E_SCALE_DTYPE E_ZP_MISSING E_ZP_NONZERO E_ZP_DTYPE E_ZP_SIZE
    E_ACT_PER_AXIS E_AXIS_MISSING E_AXIS_LEN E_AXIS_REDUCTION E_BIAS_QUANTIZED E_UNSUPPORTED_OP E_QDQ_TYPE
    E_BIAS_NOT_CONST W_WEIGHT_ONLY_OR_ACT_ONLY W_DQ_ONLY_WEIGHTS W_GROUP_ALIGN W_CHANNEL_ALIGN W_CONV1D
    W_SHARED_SCALE_MISMATCH W_STANDALONE_Q W_STANDALONE_DQ W_REQUANT W_Q_BEFORE_RELU W_QDQ_BETWEEN_PAD_AND_CONV
    W_OUTPUT_QUANTIZED_THEN_FLOAT_ACT"""
    assert set(listed.split()) <= set(RULES)
    assert RULES["E_SCALE_NONPOS"].severity is Severity.ERROR
    assert RULES["W_REQUANT"].severity is Severity.WARNING
    assert RULES["W_CHANNEL_ALIGN"].severity is Severity.ADVICE


@pytest.mark.parametrize("scale", [0.0, -0.5, np.nan, np.inf])
def test_t39_scales_that_are_not_positive(scale):
    found = odd_pair(np.float32(scale), np.int8(0))
    assert codes(found) >= {"E_SCALE_NONPOS"}
    entry = next(entry for entry in found if entry.code == "E_SCALE_NONPOS")
    assert (entry.node, entry.tensor, entry.rule) == ("q", "q_scale", "A7")
    assert f"{scale:g}" in entry.found


def test_t39_one_bad_channel_of_many():
    net, x = start()
    scales = np.full(32, 0.5, np.float32)
    scales[3] = 0
    weight = quantize_with(net, net.constant(net.weight(32, 32, 1, 1)), scales, np.zeros(32, np.int8), axis=0)
    found = findings(net, conv_with(net, net.pair(x), weight))
    assert {entry.found for entry in found if entry.code == "E_SCALE_NONPOS"} == {"1 of 32 elements"}


def test_scales_that_are_computed():
    net, x = start()
    scale = net.op("Abs", net.input("s", ()), name="abs")
    q = net.op("QuantizeLinear", x, scale, net.constant(np.int8(0)), name="q")
    found = findings(net, q, types={q: TensorProto.INT8})
    assert only(found, "E_SCALE_NOT_CONST").found == "computed by Abs"


def test_a_scale_behind_one_cast_is_constant():
    net, x = start()
    scale = net.op("Cast", net.constant(np.float16(0.5)), to=TensorProto.FLOAT)
    q = net.op("QuantizeLinear", x, scale, net.constant(np.int8(0)), name="q")
    assert codes(findings(net, q, types={q: TensorProto.INT8})) == set()


def test_half_scales_need_tensorrt_10():
    net = Network(19)
    x = net.input("x", (1, 8), TensorProto.FLOAT16)
    out = quantize_with(net, x, np.float16(0.5), np.int8(0))
    found = findings(net, out, types={out: TensorProto.FLOAT16})
    assert {entry.profiles for entry in found if entry.code == "E_SCALE_DTYPE"} == {(TensorRT.V8_4, TensorRT.V8_6)}
    assert only(found, "W_OPSET").profiles == (TensorRT.V8_4, TensorRT.V8_6)


@pytest.mark.parametrize(("opset", "profiles"), [(19, {(TensorRT.V10,)}), (23, set())])
def test_an_fp32_scale_on_fp16_data(opset, profiles):
    net = Network(opset)
    x = net.input("x", (1, 8), TensorProto.FLOAT16)
    out = quantize_with(net, x, np.float32(0.5), np.int8(0))
    found = findings(net, out, types={out: TensorProto.FLOAT})
    assert {entry.profiles for entry in found if entry.code == "E_SCALE_DTYPE"} == profiles


def test_t40_missing_zero_point():
    found = odd_pair(np.float32(0.5), None)
    assert {"E_ZP_MISSING", "W_ZP_MISSING"} <= codes(found)
    error = next(entry for entry in found if entry.code == "E_ZP_MISSING")
    warning = next(entry for entry in found if entry.code == "W_ZP_MISSING")
    assert set(error.profiles) | set(warning.profiles) == set(TensorRT)
    assert not set(error.profiles) & set(warning.profiles)


def test_t41_unsigned_zero_point():
    found = odd_pair(np.float32(0.5), np.uint8(128))
    assert {"E_ZP_DTYPE", "E_ZP_NONZERO"} <= codes(found)
    entry = next(entry for entry in found if entry.code == "E_ZP_NONZERO")
    assert entry.found == "zero point 128"
    assert "`qdq fix` does" in entry.fix


@pytest.mark.parametrize("zero_point", [np.int8(3), np.uint8(11), np.int8(-128)])
def test_t41_zero_points_that_only_a_calibration_can_mend(zero_point):
    entry = next(entry for entry in odd_pair(np.float32(0.5), zero_point) if entry.code == "E_ZP_NONZERO")
    assert "Calibrate again" in entry.fix
    assert "qdq fix" not in entry.fix


def test_zero_point_of_another_size():
    assert "E_ZP_SIZE" in codes(odd_pair(np.float32(0.5), np.zeros(2, np.int8)))


def test_t42_activation_with_one_scale_a_channel():
    found = odd_pair(np.full(32, 0.5, np.float32), np.zeros(32, np.int8), axis=1)
    assert "E_ACT_PER_AXIS" in codes(found)


def test_t43_axis_left_out():
    found = odd_weight((32, 32, 1, 1), None, 32)
    assert "E_AXIS_MISSING" in codes(found)


def test_scales_that_do_not_fit_the_axis():
    assert "E_AXIS_LEN" in codes(odd_weight((32, 32, 1, 1), 0, 16))
    assert "E_AXIS_LEN" in codes(odd_weight((32, 32, 1, 1), 7, 16))


def test_t35_scales_along_the_input_channels_of_a_convolution():
    found = odd_weight((32, 32, 1, 1), 1, 32)
    assert "axis 1" in only(found, "E_AXIS_REDUCTION").found


@pytest.mark.parametrize(
    ("shape", "group", "axis", "good"),
    [((8, 4, 2, 2), 1, 1, True), ((8, 4, 2, 2), 1, 0, False), ((8, 1, 2, 2), 8, 0, True), ((8, 2, 2, 2), 4, 1, True)],
)
def test_t35_scales_of_deconvolutions(shape, group, axis, good):
    net, x = start(8)
    weight = net.quantized_weight(net.weight(*shape), axis)
    found = findings(net, net.op("ConvTranspose", net.pair(x), weight, name="deconv", group=group))
    assert ("E_AXIS_REDUCTION" in codes(found)) is not good


@pytest.mark.parametrize(("trans", "axis", "good"), [(0, 1, True), (0, 0, False), (1, 0, True), (1, 1, False)])
def test_t33_scales_of_gemm(trans, axis, good):
    net = Network()
    weight = net.quantized_weight(net.weight(16, 16), axis)
    found = findings(net, net.op("Gemm", net.pair(net.input("x", (4, 16))), weight, transB=trans))
    assert ("E_AXIS_REDUCTION" in codes(found)) is not good


@pytest.mark.parametrize(("axis", "good"), [(1, True), (0, False)])
def test_t34_scales_of_matmul(axis, good):
    net = Network()
    x = net.input("x", (4, 16))
    found = findings(net, net.op("MatMul", net.pair(x), net.quantized_weight(net.weight(16, 16), axis)))
    assert ("E_AXIS_REDUCTION" in codes(found)) is not good


def test_the_axis_is_followed_through_a_transpose():
    net = Network()
    x = net.input("x", (4, 16))
    for axis, good in ((0, True), (1, False)):
        weight = net.op("Transpose", net.quantized_weight(net.weight(8, 16), axis), perm=[1, 0])
        found = findings(net, net.op("MatMul", net.pair(x), weight, name=f"matmul{axis}"))
        assert ("E_AXIS_REDUCTION" not in codes(found)) is good


def test_t44_bias_in_int32():
    net, x = start()
    scale, zero = net.constant(np.full(32, 0.5, np.float32)), net.constant(np.zeros(32, np.int32))
    bias = net.op("DequantizeLinear", net.constant(np.ones(32, np.int32), "b"), scale, zero, name="b_dq", axis=0)
    found = findings(net, conv_with(net, net.pair(x), net.quantized_weight(net.weight(32, 32, 1, 1)), bias=bias))
    assert codes(found) == {"E_BIAS_QUANTIZED"}
    assert "INT32" in only(found, "E_BIAS_QUANTIZED").found


def test_t36_a_float_bias_is_right():
    net, x = start()
    assert codes(findings(net, net.conv(x, 32, "conv"))) == set()


def test_bias_that_is_computed():
    net, x = start()
    bias = net.op("Abs", net.input("b", (32,)))
    found = findings(net, conv_with(net, net.pair(x), net.quantized_weight(net.weight(32, 32, 1, 1)), bias=bias))
    assert only(found, "E_BIAS_NOT_CONST").profiles == (TensorRT.V8_4,)


def test_t45_integer_operators():
    net, x = start()
    net.op("DynamicQuantizeLinear", x, name="dynamic")
    net._nodes[-1].output.extend(["s", "z"])
    found = findings(net, "dynamic", types={"dynamic": TensorProto.UINT8})
    assert only(found, "E_UNSUPPORTED_OP").found == "DynamicQuantizeLinear"


def test_quantize_linear_of_another_domain():
    net, x = start()
    operands = [net.constant(np.float32(0.5)), net.constant(np.int8(0))]
    q = net.op("QuantizeLinear", x, *operands, name="q", domain="com.microsoft")
    found = findings(net, q, types={q: TensorProto.INT8})
    assert only(found, "E_UNSUPPORTED_OP").found == "com.microsoft.QuantizeLinear"


def test_stored_types_that_tensorrt_does_not_have():
    net, x = start(opset=21)
    found = findings(net, quantize_with(net, x, np.float32(0.5), np.int16(0)))
    assert {entry.found for entry in found if entry.code == "E_QDQ_TYPE"} == {"INT16"}


def test_half_quantized_operators():
    net, x = start()
    weight_only = conv_with(net, x, net.quantized_weight(net.weight(32, 32, 1, 1)))
    assert only(findings(net, weight_only), "W_WEIGHT_ONLY_OR_ACT_ONLY").found == "Q/DQ on the weight only"
    net, x = start()
    data_only = conv_with(net, net.pair(x), net.constant(net.weight(32, 32, 1, 1)))
    assert only(findings(net, data_only), "W_WEIGHT_ONLY_OR_ACT_ONLY").found == "Q/DQ on the data only"


def test_half_quantized_product_of_activations():
    net = Network()
    a, b = net.input("a", (4, 16)), net.input("b", (16, 4))
    assert codes(findings(net, net.op("MatMul", net.pair(a), b))) == {"W_WEIGHT_ONLY_OR_ACT_ONLY"}


def test_integer_weights_behind_dq_alone():
    net, x = start()
    scale, zero = net.constant(np.full(32, 0.5, np.float32)), net.constant(np.zeros(32, np.int8))
    stored = net.constant(np.ones((32, 32, 1, 1), np.int8), "stored")
    weight = net.op("DequantizeLinear", stored, scale, zero, axis=0)
    entry = only(findings(net, conv_with(net, net.pair(x), weight)), "W_DQ_ONLY_WEIGHTS")
    assert (entry.tensor, entry.profiles) == ("stored", (TensorRT.V8_4, TensorRT.V8_6))


def test_t51_groups_of_odd_size():
    net, x = start(6)
    entry = only(findings(net, net.conv(x, 6, "conv", group=3)), "W_GROUP_ALIGN")
    assert entry.found == "3 groups of 2 -> 2 channels"
    net, x = start()
    assert codes(findings(net, net.conv(x, 32, "depthwise", group=32))) == set()
    net, x = start()
    weight = net.quantized_weight(net.weight(32, 1, 2, 2), 0)
    entry = only(findings(net, net.op("ConvTranspose", net.pair(x), weight, name="up", group=32)), "W_GROUP_ALIGN")
    assert entry.found == "32 groups of 1 -> 1 channels"


def test_channels_that_do_not_fill_a_kernel():
    net, x = start(3)
    found = findings(net, net.conv(x, 32, "conv"))
    assert only(found, "W_CHANNEL_ALIGN").found == "3 -> 32 channels"


def test_one_dimensional_convolution():
    net = Network()
    x = net.input("x", (1, 32, 8))
    found = findings(net, conv_with(net, net.pair(x), net.quantized_weight(net.weight(32, 32, 3))))
    assert codes(found) == {"W_CONV1D"}


def test_t17_scales_that_differ_on_one_tensor():
    net, x = start()
    found = findings(net, net.conv(x, 32, "a", scale=0.5), net.conv(x, 32, "b", scale=0.25))
    entry = only(found, "W_SHARED_SCALE_MISMATCH")
    assert (entry.tensor, entry.found) == ("x", "scales 0.25, 0.5")


def test_requantization_over_a_commuting_operator():
    net, x = start()
    pooled = net.maxpool(net.pair(x, 0.5), "pool")
    found = findings(net, net.conv(pooled, 32, "conv", scale=0.25))
    assert only(found, "W_REQUANT").found == "DQ with scale 0.5, then Q with scale 0.25"


def test_t04_q_before_relu():
    net, x = start()
    y = net.relu(net.pair(net.conv(x, 32, "conv1")), "relu")
    found = findings(net, net.conv(y, 32, "conv2"))
    entry = only(found, "W_Q_BEFORE_RELU")
    assert (entry.node, entry.rule) == ("conv1_QuantizeLinear", "P3")
    assert codes(found) == {"W_Q_BEFORE_RELU"}


def test_q_before_another_activation():
    net, x = start()
    y = net.op("Sigmoid", net.pair(net.conv(x, 32, "conv1")), name="sigmoid")
    assert codes(findings(net, y)) == {"W_OUTPUT_QUANTIZED_THEN_FLOAT_ACT"}


def test_pair_between_pad_and_convolution():
    net, x = start()
    padded = net.op("Pad", x, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), name="pad")
    net._channels[padded] = 32
    assert codes(findings(net, net.conv(padded, 32, "conv"))) == {"W_QDQ_BETWEEN_PAD_AND_CONV"}


def test_standalone_kernels_become_findings():
    simulation = simulate(engines.resnet18())
    found = lint_simulation(simulation)
    assert {entry.code for entry in found} == {"W_STANDALONE_Q"}
    assert len(found) == 9
    assert any(entry.found.startswith("MIXED_FANOUT: ") for entry in found)
    assert {entry.code for entry in lint_simulation(simulate(engines.resnet18(residual=True)))} == {
        "W_STANDALONE_Q",
        "W_STANDALONE_DQ",
    }


def test_findings_name_what_is_expected_and_how_to_fix_it():
    for rule in RULES.values():
        assert rule.expected and rule.fix.endswith(".") and rule.rule and rule.profiles


def test_models_without_shapes_and_names_are_checked_too():
    net, x = start()
    proto = net.proto(net.conv(x, 32, "conv", scale=SCALE))
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        node.name = ""
    assert codes(list(lint(ir.serde.deserialize_model(proto)))) == set()


def test_nodes_with_missing_operands_are_findings_not_failures():
    net, x = start()
    net.op("QuantizeLinear", x, name="q")
    model = ir.serde.deserialize_model(net.proto(x))
    assert "E_SCALE_NOT_CONST" in {entry.code for entry in lint(model)}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-128, 127, "all that INT8 holds"),
        (-127, 127, "the narrow range of 8 bits of INT8"),
        (-100, 127, "the 8 bits of INT8"),
        (-7, 7, "the narrow range of 4 bits kept in INT8"),
        (-8, 7, "4 bits kept in INT8"),
    ],
)
def test_a_range_of_codes_is_said_in_words(low, high, said):
    assert meaning_of(CodeRange(low, high, ir.DataType.INT8, ("clip",))) == said


@pytest.mark.parametrize("reason", REMEDIES)
def test_every_remedy_names_what_to_run_or_says_that_nothing_else_helps(reason):
    assert reason.is_boundary or "`qdq" in REMEDIES[reason]
    assert reason.is_boundary or reason.name.startswith("RESIDUAL") or "nothing else removes it" in REMEDIES[reason]
