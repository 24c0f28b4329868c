"""A float plan carried out: valid files that ONNX Runtime takes, few Casts, shared constants, scales of one value."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrators import Extremes, sqnr_db
from qdq_cli.casting.convert import Converted, converted
from qdq_cli.casting.plan import FloatPlan, make_float_plan
from qdq_cli.casting.twin import twin
from qdq_cli.config.forms import FloatType, ScaleType
from qdq_cli.model.opset import opset_of
from qdq_cli.preparing.prepare import prepare
from tests.networks import Network, proto_of, run
from tests.placement.random_networks import CHANNELS, build, recipes

F = np.float32
HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
LARGE = {"big": Extremes(0.0, 3e4)}


def plan_of(
    model: ir.Model, extremes: Mapping[str, Extremes] | None = None, float_type: FloatType = FloatType.FP16
) -> FloatPlan:
    return make_float_plan(model, float_type, extremes or {})


def half(model: ir.Model, extremes: Mapping[str, Extremes] | None = None, **options) -> Converted:
    """Convert to FP16; the result is valid."""
    result = converted(model, plan_of(model, extremes), **options)
    proto_of(result.model)
    return result


def prepared(net: Network, *outputs: str) -> ir.Model:
    return prepare(net.model(*outputs)).model


def type_of(model: ir.Model, name: str) -> ir.DataType | None:
    values = [*model.graph.inputs, *model.graph.initializers.values(), *(v for n in model.graph for v in n.outputs)]
    return next(value.dtype for value in values if value.name == name)


def casts(model: ir.Model) -> list[str]:
    return [node.name or "" for node in model.graph if node.op_type == "Cast"]


def two_layers() -> ir.Model:
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    first = net.conv(x, 4, scale=None, name="first")
    return prepared(net, net.conv(net.relu(first), 4, scale=None, name="second"))


def test_a_network_is_converted_whole_between_two_casts():
    model = two_layers()
    before = ir.to_proto(model)
    result = half(model)
    assert result.casts == len(casts(result.model)) == 2
    assert [value.dtype for value in (*result.model.graph.inputs, *result.model.graph.outputs)] == [SINGLE, SINGLE]
    assert [value.name for value in result.model.graph.outputs] == [value.name for value in model.graph.outputs]
    assert [node.name for node in result.model.graph if node.op_type != "Cast"] == [n.name for n in model.graph]
    assert type_of(result.model, "first") == HALF
    assert ir.to_proto(model) == before
    np.testing.assert_allclose(run(result.model)[0], run(model)[0], rtol=2e-2, atol=0.2)


def test_inputs_and_outputs_take_the_type_on_request():
    model = two_layers()
    result = half(model, keep_io=False)
    assert result.casts == 0
    assert [value.dtype for value in (*result.model.graph.inputs, *result.model.graph.outputs)] == [HALF, HALF]
    assert [value.name for value in result.model.graph.outputs] == [value.name for value in model.graph.outputs]


def test_fp32_changes_nothing():
    model = two_layers()
    plan = make_float_plan(model, FloatType.FP32, {})
    assert plan.kept == ()
    assert ir.to_proto(converted(model, plan).model) == ir.to_proto(model)


def test_a_tensor_that_is_too_large_keeps_its_maker_and_readers():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    big = net.op("Mul", net.conv(x, 4, scale=None), net.constant(F(30000)), name="big")
    out = net.conv(net.op("Tanh", big, name="tanh"), 4, scale=None)
    model = prepared(net, out)
    plan = plan_of(model, LARGE)
    assert [(kept.node, kept.code) for kept in plan.kept] == [("big", "OVERFLOW"), ("tanh", "OVERFLOW")]
    assert plan.kept[0].reason.endswith("'big' reaches 3e+04, and FP16 ends at 6.55e+04")
    result = half(model, LARGE)
    assert result.casts == 4  # input, output, and once to either side of the island
    assert (type_of(result.model, "big"), type_of(result.model, "tanh")) == (SINGLE, SINGLE)
    assert np.isfinite(run(result.model)[0]).all()


def test_what_lies_between_two_such_operators_joins_them():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    first = net.op("Mul", net.conv(x, 4, scale=None), net.constant(F(30000)), name="big")
    down = net.op("Tanh", first, name="tanh")
    moved = net.op("Transpose", down, perm=[0, 1, 3, 2], name="moved")
    second = net.op("Mul", moved, net.constant(F(30000)), name="bigger")
    out = net.conv(net.op("Tanh", second, name="last"), 4, scale=None)
    model = prepared(net, out)
    known = {**LARGE, "bigger": Extremes(-3e4, 3e4)}
    codes = {kept.node: kept.code for kept in plan_of(model, known).kept}
    assert codes["moved"] == "ISLAND"
    assert half(model, known).casts == 4


def test_one_cast_serves_all_readers():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    model = prepared(net, net.add(net.conv(x, 4, scale=None), net.conv(x, 4, scale=None)))
    assert half(model).casts == 2


def test_a_constant_of_both_sides_is_stored_twice():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    shared = net.constant(np.full((1, 4, 1, 1), 0.5, F), "shared")
    big = net.op("Mul", net.conv(x, 4, scale=None), shared, name="big")
    out = net.conv(net.op("Mul", net.conv(net.op("Tanh", big), 4, scale=None), shared, name="low"), 4, scale=None)
    result = half(prepared(net, out), LARGE)
    assert type_of(result.model, "shared") == SINGLE
    assert type_of(result.model, "shared_fp16") == HALF


def quantized(scale: float = 0.0123) -> Network:
    """Two quantized convolutions whose scales no 16-bit type holds exactly."""
    net = Network(opset=19)
    x = net.input("x", (1, 4, 8, 8))
    for number, name in enumerate(("first", "second")):
        array = np.random.default_rng(number).standard_normal((4, 4, 3, 3)).astype(F)
        scales = np.abs(array).max(axis=(1, 2, 3)) / F(127)
        codes = net.quantize(net.constant(array, f"{name}_w"), scales, axis=0)
        operands = [net.pair(x, scale), net.dequantize(codes, scales, axis=0), net.constant(net.weight(4))]
        x = net.op("Conv", *operands, name=name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return net


def test_pairs_are_free_boundaries():
    model = prepared(quantized(), "second")
    result = half(model)
    assert result.casts == 1  # behind the last convolution alone: the first Q reads FP32
    for node in result.model.graph:
        if node.op_type == "QuantizeLinear":
            assert node.inputs[0].dtype == node.inputs[1].dtype
        if node.op_type == "DequantizeLinear":
            assert node.outputs[0].dtype == node.inputs[1].dtype == HALF
    assert sqnr_db(run(model)[0], run(twin(result.model))[0]) > 40  # codes at the edge of a step may move


def test_both_halves_of_a_pair_have_a_scale_of_one_value():
    result = half(prepared(quantized(), "second"))
    for node in result.model.graph:
        if node.op_type == "QuantizeLinear":
            scale = node.inputs[1].const_value.numpy()
            for use in node.outputs[0].uses():
                assert np.array_equal(scale.astype(F), use.node.inputs[1].const_value.numpy().astype(F))


@pytest.mark.parametrize("float_type", [FloatType.FP16, FloatType.BF16])
def test_weights_behind_q_keep_their_codes(float_type: FloatType):
    model = prepared(quantized(), "second")
    result = converted(model, plan_of(model, float_type=float_type)).model
    for before, after in zip(weights(model), weights(result), strict=True):
        np.testing.assert_array_equal(before, after)


def weights(model: ir.Model) -> list[np.ndarray]:
    """The codes of every constant behind a Q."""
    found = []
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and node.inputs[0].const_value is not None:
            array, scale = (value.const_value.numpy().astype(F) for value in node.inputs[:2])
            found.append(np.clip(np.rint(array / scale.reshape(-1, 1, 1, 1)), -128, 127))
    return found


def test_bf16_raises_the_opset_where_an_operator_needs_it():
    model = two_layers()
    plan = plan_of(model, float_type=FloatType.BF16)
    result = converted(model, plan)
    proto_of(result.model)
    assert opset_of(result.model) == plan.opset == 22
    assert result.notes == ("The model is raised from opset 17 to 22, which BF16 needs.",)
    weight = next(value for value in result.model.graph.initializers.values() if len(value.shape) == 4)
    assert weight.const_value.numpy().dtype == ml_dtypes.bfloat16


def test_scales_stay_fp32_on_request():
    model = prepared(quantized(), "second")
    plan = make_float_plan(model, FloatType.FP16, {}, ScaleType.FP32)
    result = converted(model, plan, scales=ScaleType.FP32).model
    proto_of(result)
    assert opset_of(result) == 23
    for node in result.graph:
        if node.op_type == "DequantizeLinear":
            assert (node.inputs[1].dtype, node.outputs[0].dtype) == (SINGLE, HALF)
            assert node.attributes["output_dtype"].as_int() == int(HALF)


def observed(model: ir.Model, x: np.ndarray) -> dict[str, Extremes]:
    """The extremes of every float tensor of a model that is run on one sample."""
    every = model.clone()
    names = [value for node in every.graph for value in node.outputs if value.dtype is SINGLE]
    every.graph.outputs[:] = names
    found = zip((value.name or "" for value in names), run(every, {"x": x}), strict=True)
    return {"x": Extremes(x.min(), x.max()), **{name: Extremes(array.min(), array.max()) for name, array in found}}


@settings(max_examples=40, deadline=None)
@given(recipes(), st.integers(0, 1000), st.sampled_from([0.01, 1.0, 300.0]))
def test_a_random_network_stays_close(recipe: list, seed: int, size: float):
    net, outputs = build(recipe)
    model = prepare(net.model(*outputs)).model
    x = (np.random.default_rng(seed).standard_normal((1, CHANNELS, 8, 8)) * size).astype(F)
    known = observed(model, x)
    result = converted(model, make_float_plan(model, FloatType.FP16, known))
    proto_of(result.model)
    for one, other in zip(run(model, {"x": x}), run(twin(result.model), {"x": x}), strict=True):
        assert np.isfinite(other).all()
        amax = max(np.abs(one).max(), *(known[name].amax for name in known))
        assert np.abs(other - one).max() <= 0.01 * amax


def test_a_quantized_network_stays_close():
    for seed in range(5):
        model = prepared(quantized(), "second")
        x = np.random.default_rng(seed).uniform(-1.5, 1.5, (1, 4, 8, 8)).astype(F)
        result = half(model, observed(model, x))
        one, other = run(model, {"x": x})[0], run(twin(result.model), {"x": x})[0]
        assert np.abs(other - one).max() <= 0.03 * np.abs(one).max()
        assert np.abs(other - one).mean() <= 0.003 * np.abs(one).max()


def test_a_dq_that_both_sides_read_is_written_twice():
    net = Network(opset=19)
    x = net.pair(net.input("x", (1, 4, 8, 8)), 0.0123)
    big = net.op("Tanh", net.op("Mul", x, net.constant(F(30000)), name="big"))
    model = prepared(net, net.add(net.conv(x, 4, scale=None), big))
    result = half(model, {"big": Extremes(0, 4e4)})
    found = {node.outputs[0].dtype: node for node in result.model.graph if node.op_type == "DequantizeLinear"}
    assert set(found) == {HALF, SINGLE}
    assert found[HALF].inputs[0] is found[SINGLE].inputs[0]
    assert found[HALF].inputs[1].const_value.numpy() == found[SINGLE].inputs[1].const_value.numpy()
    one, other = run(model)[0], run(twin(result.model))[0]
    assert np.abs(other - one).max() <= 0.01 * np.abs(one).max()


def test_outputs_that_the_type_does_not_hold_stay_fp32():
    net = Network()
    first = net.conv(net.input("x", (1, 4, 8, 8)), 4, scale=None)
    model = prepared(net, net.op("Mul", first, net.constant(F(30000)), name="big"), net.op("Tanh", first, name="tanh"))
    result = converted(model, make_float_plan(model, FloatType.FP16, LARGE, keep_io=False), keep_io=False)
    assert [value.dtype for value in result.model.graph.outputs] == [SINGLE, HALF]
    assert result.notes == ("Output 'big' stays FP32: FP16 does not hold its values.",)
    proto_of(result.model)


def test_an_output_that_is_read_inside_keeps_its_name():
    net = Network()
    first = net.conv(net.input("x", (1, 4, 8, 8)), 4, scale=None, name="first")
    result = half(prepared(net, first, net.conv(net.relu(first), 4, scale=None, name="second"))).model
    assert [value.name for value in result.graph.outputs] == ["first", "second"]
    assert [value.dtype for value in result.graph.outputs] == [SINGLE, SINGLE]
    assert next(node for node in result.graph if node.op_type == "Relu").inputs[0].dtype == HALF


@pytest.mark.parametrize("float_type", [FloatType.FP16, FloatType.BF16])
@pytest.mark.parametrize("stored", [ml_dtypes.float8_e4m3fn, ml_dtypes.int4, np.int8])
def test_stored_weights_of_every_type_keep_their_codes(float_type: FloatType, stored: type):
    """A DQ of constant codes, with a scale for each block of 32 where the codes are INT4."""
    codes = np.random.default_rng(0).integers(-7, 8, (64, 16)).astype(stored)
    blocks = {"block_size": 32} if stored is ml_dtypes.int4 else {}
    scale = np.random.default_rng(1).uniform(0.01, 0.1, (2, 16) if blocks else (16,)).astype(F)
    net = Network(opset=21)
    x = net.input("x", (4, 64))
    names = [net.constant(codes, "codes"), net.constant(scale, "scale")]
    axis = 0 if blocks else 1
    weight = net.op("DequantizeLinear", *names, name="weight", axis=axis, **blocks)
    model = prepare(net.model(net.op("MatMul", x, weight, name="y"))).model
    result = converted(model, plan_of(model, float_type=float_type)).model
    proto_of(result)
    assert result.graph.initializers["codes"].const_value.numpy().tobytes() == codes.tobytes()
    assert result.graph.initializers["scale"].dtype != SINGLE
    data = np.random.default_rng(2).standard_normal((4, 64)).astype(F)
    one, other = run(model, {"x": data})[0], run(twin(result), {"x": data})[0]
    assert np.abs(other - one).max() <= 0.02 * np.abs(one).max()


def test_fp8_weights_behind_q_keep_their_codes():
    weight = np.random.default_rng(0).standard_normal((16, 16)).astype(F)
    net = Network(opset=19)
    x = net.input("x", (4, 16))
    zero = net.constant(np.zeros((), ml_dtypes.float8_e4m3fn), "zero")
    scale = net.constant(F(np.abs(weight).max() / 448), "scale")
    codes = net.op("QuantizeLinear", net.constant(weight, "w"), scale, zero, name="codes")
    model = prepare(net.model(net.op("MatMul", x, net.op("DequantizeLinear", codes, scale, zero), name="y"))).model
    result = converted(model, plan_of(model)).model
    proto_of(result)

    def stored(model: ir.Model) -> bytes:
        array, by = (model.graph.initializers[name].const_value.numpy().astype(F) for name in ("w", "scale"))
        return (array / by).astype(ml_dtypes.float8_e4m3fn).tobytes()

    assert type_of(result, "w") == HALF
    assert stored(result) == stored(model)


def test_a_weight_of_two_operators_is_recoded_for_each():
    net = Network(opset=19)
    array = np.random.default_rng(0).standard_normal((16, 16)).astype(F)
    shared = net.constant(array, "shared")
    x = net.input("x", (4, 16))
    for amax in (3.0, 4.1):
        codes = net.quantize(shared, F(amax / 127))
        x = net.op("MatMul", x, net.dequantize(codes, F(amax / 127)))
    model = prepare(net.model(x)).model
    result = half(model).model
    before = [codes_of(node) for node in model.graph if node.op_type == "QuantizeLinear"]
    after = [codes_of(node) for node in result.graph if node.op_type == "QuantizeLinear"]
    np.testing.assert_array_equal(before, after)


def codes_of(node: ir.Node) -> np.ndarray:
    array, scale = (value.const_value.numpy().astype(F) for value in node.inputs[:2])
    return np.clip(np.rint(array / scale), -128, 127)


def stored_bias(scale: float) -> ir.Model:
    """A convolution on codes whose bias is INT32 behind DQ, by hand."""
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    weight = net.dequantize(net.constant(np.full((4, 4, 1, 1), 9, np.int8)), np.full(4, 1e-3), axis=0)
    codes = net.constant(np.array([-70000, 5, 0, 70000], np.int32))
    bias = net.op("DequantizeLinear", codes, net.constant(np.full(4, scale, F)), axis=0)
    return prepared(net, net.op("Conv", net.pair(x), weight, bias, name="conv"))


@pytest.mark.parametrize("scales", ScaleType)
def test_a_bias_stored_as_int32_becomes_a_float_instead_of_keeping_its_layer_in_fp32(scales: ScaleType):
    model = stored_bias(1e-7)
    plan = make_float_plan(model, FloatType.FP16, {}, scales)
    result = converted(model, plan, scales=scales).model
    proto_of(result)
    assert not plan.kept
    bias = next(node for node in result.graph if node.op_type == "Conv").inputs[2]
    assert bias is not None and bias.dtype is HALF and bias.const_value is not None
    np.testing.assert_allclose(bias.const_value.numpy(), F([-7e-3, 5e-7, 0, 7e-3]), rtol=1e-3, atol=3e-8)
    assert all(value.dtype is not ir.DataType.INT32 for value in result.graph.initializers.values())
    assert sum(node.op_type == "DequantizeLinear" for node in model.graph) == 3  # it is left as it was


def test_a_bias_stored_as_int32_that_is_too_large_for_the_type_keeps_its_layer():
    plan = make_float_plan(stored_bias(2.0), FloatType.FP16, {})
    assert {kept.node: kept.code for kept in plan.kept} == {"conv": "CONSTANT_OVERFLOW"}
