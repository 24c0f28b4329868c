"""Repairs of what other tools write and TensorRT refuses: the outputs stay equal, bit for bit, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.config.fix import FixConfig
from qdq_cli.config.forms import TensorRT
from qdq_cli.fixing.fix import fix_model
from qdq_cli.fixing.record import RepairReport
from qdq_cli.model import files
from qdq_cli.preparing.reading import make_readable
from qdq_cli.targets.tensorrt.findings import Finding, Severity
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.simulate import simulate
from tests.networks import SCALE, Network, run

SHAPE = (1, 8, 6, 6)


def start(opset: int = 17) -> tuple[Network, str]:
    net = Network(opset)
    return net, net.input("x", SHAPE)


def errors(path: Path, release: TensorRT | None = None) -> list[Finding]:
    model = files.load(path).model
    make_readable(model)
    found = (entry for entry in lint(model) if entry.severity is Severity.ERROR)
    return [entry for entry in found if release is None or release in entry.profiles]


class Fixed:
    """A model before and after `qdq fix`: its report, and both models' outputs on the same data."""

    def __init__(self, proto: onnx.ModelProto, folder: Path) -> None:
        self.source, self.target = folder / "model.onnx", folder / "fixed.onnx"
        onnx.save(proto, self.source)
        self.report: RepairReport = fix_model(FixConfig(self.source, self.target, {}, samples=1))
        onnx.checker.check_model(self.target, full_check=True)

    def outputs(self, path: Path, feeds: dict[str, np.ndarray] | None = None) -> list[np.ndarray]:
        return run(ir.load(path), feeds)

    def assert_equal(self, feeds: dict[str, np.ndarray] | None = None) -> None:
        for before, after in zip(*(self.outputs(path, feeds) for path in (self.source, self.target)), strict=True):
            np.testing.assert_array_equal(before, after)

    @property
    def rules(self) -> set[str]:
        return {repair.rule for repair in self.report.repairs}


@pytest.fixture
def fixed(tmp_path: Path) -> Callable[[onnx.ModelProto], Fixed]:
    return lambda proto: Fixed(proto, tmp_path)


def weight(net: Network, shape: tuple[int, ...] = (8, 8, 1, 1)) -> str:
    return net.quantized_weight(net.weight(*shape))


def pair(net: Network, x: str, scale: str, zero: str, between: Callable[[str], str] = lambda q: q, **extra: int) -> str:
    q = net.op("QuantizeLinear", x, scale, zero, **extra)
    return net.op("DequantizeLinear", between(q), scale, zero, **extra)


# Operands behind Identity, and computed from constants


def behind_identity(net: Network, x: str) -> str:
    scale, zero = (net.op("Identity", net.constant(value)) for value in (np.float32(SCALE), np.int8(0)))
    zeros = net.op("Identity", net.constant(np.zeros(8, np.int8)))
    scales = net.op("Constant", value=onnx.numpy_helper.from_array(np.full(8, SCALE, np.float32)))
    w = pair(net, net.constant(net.weight(8, 8, 1, 1)), scales, zeros, axis=0)
    return net.op("Conv", pair(net, x, scale, zero), w)


def test_operands_behind_identity_are_errors_for_8_alone_and_read_directly(fixed):
    net, x = start()
    result = fixed(net.proto(behind_identity(net, x)))
    for release in TensorRT:
        found = errors(result.source, release)
        assert ("E_SCALE_NOT_CONST" in {entry.code for entry in found}) is (release in (TensorRT.V8_4, TensorRT.V8_6))
        assert sum(entry.code == "E_ZP_NONZERO" for entry in found) == (4 if found else 0)
    assert errors(result.target) == [] and result.rules == {"A8"}
    assert all(repair.exact for repair in result.report.repairs)
    result.assert_equal()


def test_operands_computed_from_constants_become_initializers(fixed):
    net, x = start()
    scales = net.op("Reshape", net.constant(np.full((2, 4), SCALE, np.float32)), net.constant(np.array([8])))
    zeros = net.op("Squeeze", net.constant(np.zeros((1, 8), np.int8)), net.constant(np.array([0])))
    scale = net.op("Mul", net.constant(np.float32(SCALE)), net.constant(np.float32(2)))
    w = pair(net, net.constant(net.weight(8, 8, 1, 1)), scales, zeros, axis=0)
    result = fixed(net.proto(net.op("Conv", pair(net, x, scale, net.constant(np.int8(0))), w)))
    assert result.rules == {"A8"} and errors(result.source) and errors(result.target) == []
    result.assert_equal()


@pytest.mark.parametrize("move", ["Transpose", "Identity", "Reshape"])
def test_stored_weights_that_something_else_than_dq_reads_are_moved_once(fixed, move):
    net, x = start()
    stored = net.constant(np.arange(-32, 32, dtype=np.int8).reshape(8, 8, 1, 1))
    operands = [net.constant(np.array([8, 8, 1, 1]))] if move == "Reshape" else []
    moved = net.op(move, stored, *operands, **({"perm": [1, 0, 2, 3]} if move == "Transpose" else {}))
    w = net.dequantize(moved, np.full(8, SCALE, np.float32), axis=0)
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert errors(result.target) == []
    assert "E_QDQ_TYPE" in {entry.code for entry in errors(result.source)} or move == "Identity"
    result.assert_equal()


# Stored constants that are no weights


def stored(net: Network, dtype: type, shape: tuple[int, ...], axis: int | None = None, zero: int = 0) -> str:
    """Integers behind DQ; with an axis, a scale for each of its slices."""
    count = () if axis is None else (shape[axis],)
    info = np.iinfo(dtype)
    codes = (
        np.random.default_rng(3).integers(max(info.min, -40_000_000), min(info.max, 40_000_000), shape).astype(dtype)
    )
    scale = np.full(count, 0.3, np.float32) * np.linspace(
        0.5, 1, max(int(np.prod(count)), 1), dtype=np.float32
    ).reshape(count)
    operands = [net.constant(scale), net.constant(np.full(count, zero, dtype))]
    return net.op("DequantizeLinear", net.constant(codes), *operands, **({} if axis is None else {"axis": axis}))


MOVES: dict[str, Callable[[Network, str], str]] = {
    "Reshape": lambda net, value: net.op("Reshape", value, net.constant(np.array([1, 8, 1, 1]))),
    "Unsqueeze": lambda net, value: net.op("Unsqueeze", value, net.constant(np.array([0, 2, 3]))),
    "Transpose": lambda net, value: net.op(
        "Unsqueeze", net.op("Transpose", value, perm=[0]), net.constant(np.array([0, 2, 3]))
    ),
    "Expand": lambda net, value: net.op(
        "Expand", net.op("Reshape", value, net.constant(np.array([8, 1, 1]))), net.constant(np.array([1, 8, 6, 6]))
    ),
    "Flatten": lambda net, value: net.op(
        "Reshape", net.op("Flatten", value, axis=0), net.constant(np.array([1, 8, 1, 1]))
    ),
    "Squeeze": lambda net, value: net.op(
        "Reshape", net.op("Squeeze", value, net.constant(np.array([], np.int64))), net.constant(np.array([1, 8, 1, 1]))
    ),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8])
def test_stored_constants_of_other_operators_become_float(fixed, move, dtype):
    net, x = start()
    y = net.op("Conv", net.pair(x), weight(net), name="conv")
    made = MOVES[move](net, stored(net, dtype, (8,), 0 if move in ("Reshape", "Unsqueeze") else None))
    result = fixed(net.proto(net.op("Add", y, made, name="add")))
    assert result.rules == {"S3"} and errors(result.target) == []
    assert not any(node.op_type == move for node in onnx.load(result.target).graph.node)
    assert result.report.before.errors or dtype is np.int8
    result.assert_equal()


@pytest.mark.parametrize("op_type", ["Mul", "Sub", "Div", "Max", "Concat", "PRelu"])
def test_whatever_reads_them(fixed, op_type):
    net, x = start()
    y = net.op("Conv", net.pair(x), weight(net), name="conv")
    made = stored(net, np.int32, (8, 1, 1) if op_type == "PRelu" else SHAPE)
    extra = {"axis": 1} if op_type == "Concat" else {}
    result = fixed(net.proto(net.op(op_type, y, made, **extra)))
    assert "S3" in result.rules and errors(result.target) == []
    result.assert_equal()


def test_a_table_of_uint8_with_a_zero_point_of_its_own_becomes_float(fixed):
    net = Network()
    index = net.input("i", (1, 4), TensorProto.INT64)
    table = stored(net, np.uint8, (10, 8), zero=77)
    net._channels["g"] = 8
    result = fixed(net.proto(net.op("Gather", table, index, name="g")))
    assert result.rules == {"S3"} and errors(result.target) == []
    result.assert_equal({"i": np.array([[0, 9, 3, 3]])})


@pytest.mark.parametrize("move", [None, "Reshape", "Squeeze"])
def test_biases_become_float_through_shuffles(fixed, move):
    net, x = start()
    bias = stored(net, np.int32, (8,) if move is None else (1, 8), None if move else 0)
    if move == "Reshape":
        bias = net.op("Reshape", bias, net.constant(np.array([8])))
    elif move:
        bias = net.op("Squeeze", bias, net.constant(np.array([0])))
    result = fixed(net.proto(net.op("Conv", net.pair(x), weight(net), bias)))
    assert {entry.code for entry in errors(result.source)} == {"E_BIAS_QUANTIZED"}
    assert result.rules == {"A27"} and errors(result.target) == []
    result.assert_equal()


def test_weights_behind_dq_stay_as_they_are(fixed):
    net, x = start()
    codes = net.constant(np.arange(64, dtype=np.int8).reshape(8, 8, 1, 1))
    w = net.dequantize(codes, np.full(8, SCALE, np.float32), name="w_dq", axis=0)
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert result.report.repairs == ()


# Scales of 0, denormal and negative


def scaled(scale: float, x_scale: float = SCALE, *, relu: bool = False) -> onnx.ModelProto:
    net, x = start()
    source = net.relu(x) if relu else x
    data = pair(net, source, net.constant(np.float32(x_scale)), net.constant(np.int8(0)))
    scales = np.full(8, SCALE, np.float32)
    scales[2:4] = scale
    array = net.weight(8, 8, 1, 1)
    w = pair(net, net.constant(array), net.constant(scales), net.constant(np.zeros(8, np.int8)), axis=0)
    return net.proto(net.op("Conv", data, w))


def test_dead_channels_get_the_scale_one(fixed):
    result = fixed(scaled(0.0))
    assert result.rules == {"A19"} and result.report.repairs[0].exact and errors(result.target) == []
    mended = [array for array in constants(result.target) if array.shape == (8,) and array.dtype == np.float32]
    assert [list(array[2:4]) for array in mended] == [[1.0, 1.0]]
    result.assert_equal()


def test_a_dead_activation_stays_dead(fixed):
    result = fixed(scaled(SCALE, 0.0))
    assert result.rules == {"A19"} and errors(result.target) == []
    assert result.report.after.quantized_to_quantized >= result.report.before.quantized_to_quantized
    assert simulate(ir.load(result.target)).weighted_quantized == 1
    result.assert_equal({"x": np.full(SHAPE, 3e4, np.float32)})
    result.assert_equal()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_dead_channels_of_stored_weights_become_zeros(fixed, dtype):
    net, x = start()
    scales = np.full(8, SCALE, np.float32)
    scales[5] = 0
    operands = [net.constant(scales), net.constant(np.full(8, 128 if dtype is np.uint8 else 0, dtype))]
    codes = net.constant(np.arange(64).reshape(8, 8, 1, 1).astype(dtype))
    w = net.op("DequantizeLinear", codes, *operands, axis=0)
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert errors(result.target) == []
    result.assert_equal()


def test_half_scales_that_are_zero(fixed):
    net = Network(19)
    x = net.input("x", (1, 8), TensorProto.FLOAT16)
    y = pair(net, x, net.constant(np.float16(1e-9)), net.constant(np.int8(0)))
    proto = net.proto(net.op("Relu", y, name="y"), output_types={"y": TensorProto.FLOAT16})
    onnx.checker.check_model(proto)
    result = fixed(proto)
    assert "E_SCALE_NONPOS" in {entry.code for entry in errors(result.source, TensorRT.V10)}
    assert "A19" in result.rules and errors(result.target, TensorRT.V10) == []
    result.assert_equal({"x": np.linspace(-9000, 9000, 8, dtype=np.float16).reshape(1, 8)})


def test_denormal_scales_are_errors_and_their_channels_become_zeros(fixed):
    result = fixed(scaled(1e-42))
    assert {entry.code for entry in errors(result.source)} == {"E_SCALE_NONPOS"} and errors(result.target) == []
    assert [repair.exact for repair in result.report.repairs] == [False]
    before, after = (result.outputs(path)[0] for path in (result.source, result.target))
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-38)  # 127e-42 a weight, of either sign


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_scales_that_are_not_finite_are_left_with_the_reason(fixed, scale):
    result = fixed(scaled(scale))
    assert result.report.repairs == ()
    assert [entry.why for entry in result.report.left if entry.rule == "A7"] == [
        "its scale is not finite, and neither is what it computes; only a calibration helps"
    ]


@pytest.mark.parametrize("odd", ["axis", "zero point"])
def test_a_dq_that_says_something_else_than_its_q_keeps_its_dead_channels(fixed, odd):
    net, x = start()
    scales = np.full(8, SCALE, np.float32)
    scales[1] = 0
    zeros = np.zeros(8, np.int8)
    q = net.op(
        "QuantizeLinear", net.constant(net.weight(8, 8, 1, 1)), net.constant(scales), net.constant(zeros), axis=0
    )
    others = [net.constant(scales), net.constant(zeros + np.int8(odd == "zero point"))]
    w = net.op("DequantizeLinear", q, *others, axis=int(odd == "axis"))
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert "A19" not in result.rules and "A7" in {entry.rule for entry in result.report.left}
    result.assert_equal()


def test_negative_scales_of_weights_turn_their_sign_without_a_difference(fixed):
    result = fixed(scaled(-SCALE))
    assert result.rules == {"A7"} and result.report.repairs[0].exact and errors(result.target) == []
    result.assert_equal()


def test_a_negative_scale_of_an_activation_changes_what_saturates_and_says_so(fixed):
    result = fixed(scaled(SCALE, -SCALE))
    assert [repair.exact for repair in result.report.repairs] == [False] and errors(result.target) == []
    small = np.random.default_rng(0).integers(-127, 128, SHAPE).astype(np.float32) * np.float32(SCALE)
    result.assert_equal({"x": small})


# Clips between Q and DQ


def clipped(low: int, high: int, spelling: str, dtype: type = np.int8) -> Callable[[Network], Callable[[str], str]]:
    def between(net: Network) -> Callable[[str], str]:
        ends = [net.constant(dtype(end)) for end in (low, high)]
        if spelling == "Clip":
            return lambda q: net.op("Clip", q, *ends)
        if spelling == "Max/Min":
            return lambda q: net.op("Min", net.op("Max", ends[0], q), ends[1])
        return lambda q: net.op("Max", net.op("Min", q, ends[1]), ends[0])

    return between


RANGES = [(-128, 127), (-127, 127), (-8, 7), (-7, 7), (0, 127), (3, 90)]


@pytest.mark.parametrize("spelling", ["Clip", "Max/Min", "Min/Max"])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_clips_are_seen_through_and_keep_every_number(fixed, low, high, spelling):
    net, x = start()
    scale, zero = net.constant(np.float32(SCALE)), net.constant(np.int8(0))
    between = clipped(low, high, spelling)(net)
    scales, zeros = net.constant(np.full(8, SCALE / 4, np.float32)), net.constant(np.zeros(8, np.int8))
    w = pair(net, net.constant(net.weight(8, 8, 1, 1)), scales, zeros, between, axis=0)
    result = fixed(net.proto(net.op("Conv", pair(net, x, scale, zero, between), w)))
    model = files.load(result.source).model
    make_readable(model)
    codes = [entry.code for entry in lint(model) if entry.code != "W_CHANNEL_ALIGN"]
    assert codes == ["W_CODES_CLIPPED"] * 2
    assert simulate(model).weighted_quantized == 1
    assert result.rules == {"A1"} and all(repair.exact for repair in result.report.repairs)
    assert simulate(ir.load(result.target)).weighted_quantized == 1 and errors(result.target) == []
    result.assert_equal()


def test_clips_of_stored_weights_are_carried_out(fixed):
    net, x = start()
    codes = net.op(
        "Clip", net.constant(np.arange(-128, -64, dtype=np.int8).reshape(8, 8, 1, 1)), net.constant(np.int8(-127))
    )
    w = net.dequantize(codes, np.full(8, SCALE, np.float32), axis=0)
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert result.rules == {"A1"} and errors(result.target) == []
    result.assert_equal()


def test_unsigned_activations_of_fewer_bits_fit_into_int8(fixed):
    net, x = start()
    between = clipped(0, 15, "Clip", np.uint8)(net)
    data = pair(net, net.relu(x), net.constant(np.float32(0.25)), net.constant(np.uint8(0)), between)
    result = fixed(net.proto(net.op("Conv", data, weight(net))))
    assert errors(result.source) and errors(result.target) == []
    result.assert_equal()


def test_a_clip_behind_relu_that_cuts_only_below_zero_goes(fixed):
    net, x = start()
    between = clipped(-127, 127, "Clip")(net)
    data = pair(net, net.relu(x, "relu"), net.constant(np.float32(SCALE)), net.constant(np.int8(0)), between)
    result = fixed(net.proto(net.op("Conv", data, weight(net))))
    assert not any(node.op_type == "Clip" for node in onnx.load(result.target).graph.node)
    result.assert_equal()


def test_a_q_that_another_dq_reads_unclipped_is_doubled(fixed):
    net, x = start()
    scale, zero = net.constant(np.float32(SCALE)), net.constant(np.int8(0))
    q = net.op("QuantizeLinear", x, scale, zero)
    clip = net.op("Clip", q, net.constant(np.int8(-8)), net.constant(np.int8(7)))
    both = [net.op("Conv", net.op("DequantizeLinear", value, scale, zero), weight(net)) for value in (q, clip)]
    result = fixed(net.proto(*both))
    assert result.rules == {"A1"} and errors(result.target) == []
    result.assert_equal()


def test_clips_of_activations_with_a_scale_a_channel_stay(fixed):
    net, x = start()
    scale, zero = net.constant(np.full(8, SCALE, np.float32)), net.constant(np.zeros(8, np.int8))
    data = pair(net, x, scale, zero, clipped(-8, 7, "Clip")(net), axis=1)
    result = fixed(net.proto(net.op("Conv", data, weight(net))))
    assert any(node.op_type == "Clip" for node in onnx.load(result.target).graph.node)
    result.assert_equal()


# Ranges that stand for an activation


@pytest.mark.parametrize("opset", [10, 13])
@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 0), (np.int8, -128), (np.uint8, 10)])
def test_a_relu_that_a_quantizer_left_to_the_range_stays_when_the_pair_goes(fixed, dtype, zero, opset):
    """ONNX Runtime's quantizer drops a Relu whose result is stored with the zero point at the end of its range."""
    net, x = start(opset)
    operands = [net.constant(np.float32(SCALE)), net.constant(dtype(zero))]
    y = net.op("Conv", net.pair(x), net.quantized_weight(net.weight(8, 8, 1, 1), None), name="conv")
    result = fixed(net.proto(net.op("Softmax", pair(net, y, *operands), axis=1)))
    assert "P2" in result.rules
    graph = onnx.load(result.target).graph
    assert [node.op_type for node in graph.node][-3:] == ["Conv", "Clip", "Softmax"]
    found = result.report.outputs[graph.output[0].name]
    assert found.sqnr_db > 30  # without the Clip 12 dB and less


# Old opsets


@pytest.mark.parametrize("opset", [10, 11, 12])
@pytest.mark.parametrize("inputs", [4, 8])
def test_axes_take_opset_13_and_are_those_of_tensorrt(fixed, opset, inputs):
    net = Network(opset)
    x = net.input("x", (1, inputs, 6, 6))
    w = pair(
        net, net.constant(net.weight(8, inputs, 1, 1)), net.constant(np.full(8, SCALE, np.float32)),
        net.constant(np.zeros(8, np.int8)),
    )  # fmt: skip
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert {entry.code for entry in errors(result.source)} == {"E_AXIS_MISSING"} and errors(result.target) == []
    assert {entry.version for entry in onnx.load(result.target).opset_import} == {13}
    axes = [
        helper.get_attribute_value(attribute)
        for node in onnx.load(result.target).graph.node
        for attribute in node.attribute
        if attribute.name == "axis"
    ]
    assert axes == [0, 0]


def test_a_model_that_cannot_be_raised_keeps_its_axes_with_the_reason(fixed):
    net = Network(11)
    x = net.input("x", (2, 8, 6, 6))
    w = pair(
        net, net.constant(net.weight(8, 8, 1, 1)), net.constant(np.full(8, SCALE, np.float32)),
        net.constant(np.zeros(8, np.int8)),
    )  # fmt: skip
    y = net.op("Hardmax", net.op("Conv", net.pair(x), w), axis=1)
    result = fixed(net.proto(y))
    whys = [entry.why for entry in result.report.left if entry.rule == "A20"]
    assert len(whys) == 2 and "takes opset 13" in whys[0] and "Hardmax" in whys[0]


@pytest.mark.parametrize("opset", [10, 11, 12])
def test_old_opsets_with_unsigned_pairs_stay_what_they_are(fixed, opset):
    net = Network(opset)
    x = net.input("x", SHAPE)
    scale, zero = net.constant(np.float32(SCALE)), net.constant(np.uint8(128))
    w = pair(net, net.constant(net.weight(8, 8, 1, 1)), scale, zero)
    result = fixed(net.proto(net.op("Conv", pair(net, x, scale, zero), w)))
    assert result.rules == {"A16"} and errors(result.target) == []
    assert {entry.version for entry in onnx.load(result.target).opset_import} == {opset}
    result.assert_equal()


def test_a_zero_point_of_one_number_takes_the_shape_of_its_scales(fixed):
    net, x = start()
    zero = net.constant(np.int8(0))
    w = pair(net, net.constant(net.weight(8, 8, 1, 1)), net.constant(np.full(8, SCALE, np.float32)), zero, axis=0)
    result = fixed(net.proto(net.op("Conv", net.pair(x), w)))
    assert "E_ZP_SIZE" in {entry.code for entry in errors(result.source)} and errors(result.target) == []
    assert "A13" in result.rules


def test_vectors_of_one_scale_become_scalars_where_an_activation_is_meant(fixed):
    net, x = start()
    scale, zero = net.constant(np.full(1, SCALE, np.float32), "s"), net.constant(np.zeros(1, np.int8), "z")
    y = net.op("Conv", pair(net, x, scale, zero), pair(net, net.constant(net.weight(8, 8, 1, 1)), scale, zero))
    found = fixed(net.proto(net.op("Conv", pair(net, net.relu(y), scale, zero), weight(net))))
    found.assert_equal()
    assert [repair.rule for repair in found.report.repairs] == ["A2"] * 4
    assert all(repair.exact for repair in found.report.repairs)
    assert (found.report.before.warnings, found.report.after.warnings) == (2, 0)
    graph = onnx.load(found.target).graph
    shapes = {constant.name: tuple(constant.dims) for constant in graph.initializer}
    halves = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    read = [(node.input[1], shapes[node.input[1]], shapes[node.input[2]]) for node in halves]
    assert len({name for name, scale_shape, _ in read if scale_shape == ()}) == 1, "one scalar serves all"
    assert sorted(found[1:] for found in read) == [((), ())] * 4 + [((1,), (1,))] * 2 + [((8,), (8,))] * 2


def constants(path: Path) -> list[np.ndarray]:
    return [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]


def test_a_loop_that_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qdq_cli.fixing.fix._MOST_SECONDS", 0.5)
    net, x = start()
    true, one = (net.constant(np.array(value)) for value in (True, np.float32(1)))
    state = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("now", "next")]
    going = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("on", "still")]
    number = helper.make_tensor_value_info("number", TensorProto.INT64, [])
    nodes = [helper.make_node("Add", ["now", one], ["next"]), helper.make_node("Identity", ["on"], ["still"])]
    body = helper.make_graph(nodes, "body", [number, going[0], state[0]], [going[1], state[1]])
    proto = net.proto(net.op("Loop", "", true, x, body=body))
    onnx.save(proto, tmp_path / "model.onnx")
    report = fix_model(FixConfig(tmp_path / "model.onnx", tmp_path / "fixed.onnx", {}, samples=1))
    assert any("The outputs were not compared: One run on" in note for note in report.notes), report.notes
    assert "took more than 0.5 seconds." in " ".join(report.notes)
