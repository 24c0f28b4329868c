"""The emission contract (rules, section 1.10): what is written, in which form, and that the numbers agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from calibrators import UINT8, Histogram, Range, Scheme
from calibrators.qparams import dequantize, quantize, symmetric_qparams, weight_amax
from qdq_cli.calibrating import calibration
from qdq_cli.calibrating.calibration import Observation
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.model.nodes import constant_at
from qdq_cli.placement.plan import make_plan
from qdq_cli.placement.rewrite import Rewritten, rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network, proto_of, run


def quantized(
    model: ir.Model,
    weights: WeightForm = WeightForm.FP32,
    form: Form = Form.PAIRS,
    amax: float = 4.0,
    config: PlanConfig | None = None,
) -> tuple[ir.Model, Rewritten]:
    """Prepare, plan and rewrite with one range for every group; the result passes the full checker."""
    prepared = prepare(model).model
    plan = make_plan(prepared, TENSORRT, config)
    result = rewrite(prepared, plan, [Range.symmetric(amax)] * len(plan.groups), weights=weights, form=form)
    proto_of(result.model)
    return result.model, result


def conv_chain(channels: int = 16) -> Network:
    net = Network()
    net.input("x", (1, channels, 8, 8))
    pool = net.maxpool(net.relu(net.conv("x", channels, "c1", scale=None), "r"), "pool")
    net.conv(pool, channels, "c2", scale=None)
    return net


def of_type(model: ir.Model, op_type: str) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == op_type]


def test_every_pair_has_three_inputs_shared_parameters_and_an_int8_zero_point():
    model, _ = quantized(conv_chain().model("c2"))
    for q in of_type(model, "QuantizeLinear"):
        dq = q.outputs[0].consumers()[0]
        assert dq.op_type == "DequantizeLinear"
        assert len(q.inputs) == len(dq.inputs) == 3
        assert q.inputs[1] is dq.inputs[1] and q.inputs[2] is dq.inputs[2]
        scale, zero_point = constant_at(q, 1), constant_at(q, 2)
        assert scale.dtype == np.float32 and zero_point.dtype == np.int8
        assert scale.shape == zero_point.shape and not zero_point.any()


def test_activations_are_per_tensor_and_weights_carry_their_axis():
    model, _ = quantized(conv_chain().model("c2"))
    for q in of_type(model, "QuantizeLinear"):
        scale = constant_at(q, 1)
        if q.inputs[0].is_initializer():
            assert scale.shape == (16,) and q.attributes["axis"].as_int() == 0
        else:
            assert scale.shape == () and "axis" not in q.attributes


def test_names_come_from_the_tensor():
    model, _ = quantized(conv_chain().model("c2"))
    names = {node.name for node in model.graph}
    assert {"x_QuantizeLinear", "x_DequantizeLinear", "c1_w_QuantizeLinear", "pool_DequantizeLinear"} <= names
    assert {"x_scale", "x_zero_point", "c1_w_scale", "c1_w_zero_point"} <= set(model.graph.initializers)


def test_taken_names_are_avoided():
    net = conv_chain()
    net.op("Mul", "c2", net.constant(np.float32(2), "x_scale"), name="x_QuantizeLinear")
    model, _ = quantized(net.model("x_QuantizeLinear"))
    assert len({node.name for node in model.graph}) == len(list(model.graph))
    assert "x_scale_1" in model.graph.initializers


def test_the_interface_never_changes():
    before = conv_chain().proto("c2")
    model, _ = quantized(ir.serde.deserialize_model(before))
    after = ir.to_proto(model)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 17)]


def test_t36_the_bias_stays_a_float_initializer():
    model, _ = quantized(conv_chain().model("c2"))
    for node in of_type(model, "Conv"):
        assert node.inputs[2].is_initializer() and node.inputs[2].dtype == ir.DataType.FLOAT


def test_t33_the_written_weight_is_quantized_per_output_feature():
    net = Network()
    net.input("x", ("N", 32))
    weight = net.weight(32, 16)
    net.op("Gemm", "x", net.constant(weight, "w"), name="fc")
    model, _ = quantized(net.model("fc"))
    qparams = symmetric_qparams(weight_amax(weight, 1), axis=1)
    np.testing.assert_array_equal(constant_at(model.graph.node("w_QuantizeLinear"), 1), qparams.scale)
    expected = dequantize(quantize(weight, qparams), qparams)
    columns = [dequantize(quantize(c, p), p) for c in weight.T if (p := symmetric_qparams(np.abs(c).max()))]
    np.testing.assert_array_equal(expected, np.stack(columns, axis=1))


@pytest.mark.parametrize("form", list(Form))
def test_t50_the_three_weight_forms_give_equal_outputs(form):
    outputs = [run(quantized(conv_chain().model("c2"), weights, form)[0])[0] for weights in WeightForm]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_int8_weights_replace_the_float_ones():
    model, _ = quantized(conv_chain().model("c2"), WeightForm.INT8)
    assert "c1_w" not in model.graph.initializers
    assert model.graph.initializers["c1_w_quantized"].dtype == ir.DataType.INT8
    assert len(of_type(model, "QuantizeLinear")) == 3  # activations only


def test_compatible_integer_weights_are_floats_behind_a_unit_scale():
    model, _ = quantized(conv_chain().model("c2"), WeightForm.INT8_COMPAT)
    stored = model.graph.initializers["c1_w_integers"]
    array = stored.const_value.numpy()
    assert array.dtype == np.float32 and np.array_equal(array, np.rint(array)) and np.abs(array).max() == 127
    assert (model.graph.initializers["c1_w_unit_scale"].const_value.numpy() == 1).all()


@pytest.mark.parametrize("weights", list(WeightForm))
def test_t37_a_shared_weight_gets_a_pair_for_each_user(weights):
    net = Network()
    net.input("x", (1, 16, 4, 4))
    w = net.constant(net.weight(16, 16, 1, 1), "w")
    net.op("Conv", net.op("Conv", "x", w, name="c1"), w, name="c2")
    model, _ = quantized(net.model("c2"), weights)
    feeding = [node.inputs[1].producer() for node in of_type(model, "Conv")]
    assert feeding[0] is not feeding[1]
    assert all(node.op_type == "DequantizeLinear" for node in feeding)


def test_t38_dead_channels_and_dead_tensors_get_the_scale_one():
    net = Network()
    net.input("x", (1, 16, 4, 4))
    weight = net.weight(16, 16, 1, 1)
    weight[3] = 0
    net.op("Conv", "x", net.constant(weight, "w"), name="c")
    model, result = quantized(net.model("c"), amax=0.0)
    assert constant_at(model.graph.node("w_QuantizeLinear"), 1)[3] == 1.0
    assert constant_at(model.graph.node("x_QuantizeLinear"), 1) == 1.0
    assert "1 channel of zeros" in result.notes[0]
    assert np.isfinite(run(model)[0]).all()


def test_t55_a_range_comes_back_from_its_scale():
    model, _ = quantized(conv_chain().model("c2"), amax=5.3)
    scale = float(constant_at(model.graph.node("x_QuantizeLinear"), 1))
    assert abs(scale * 127 - 5.3) <= np.spacing(np.float32(5.3))


def test_pairs_form_writes_both_ends_of_a_run_and_nothing_inside():
    net = Network()
    net.input("x", (1, 16, 8, 8))
    moved = net.op("Transpose", net.maxpool(net.conv("x", 16, "c1", scale=None), "pool"), perm=[0, 1, 3, 2], name="t")
    net._channels["t"] = 16
    net.conv(moved, 16, "c2", scale=None)
    model, _ = quantized(net.model("c2"))
    assert model.graph.node("pool").inputs[0].producer().name == "c1_DequantizeLinear"
    assert model.graph.node("t").inputs[0].producer().name == "pool"
    assert model.graph.node("c2").inputs[0].producer().name == "t_DequantizeLinear"


def test_region_form_runs_the_commuting_operators_on_int8():
    model, result = quantized(conv_chain().model("c2"), form=Form.INT8_REGIONS)
    assert result.int8_nodes == ("pool",)
    pool = model.graph.node("pool")
    assert pool.inputs[0].dtype == pool.outputs[0].dtype == ir.DataType.INT8


@pytest.mark.parametrize("seed", range(3))
def test_both_forms_give_equal_outputs(seed):
    outputs = [run(quantized(conv_chain().model("c2"), form=form, amax=4.0)[0], seed=seed)[0] for form in Form]
    np.testing.assert_array_equal(*outputs)


def test_a_tensor_that_opens_a_run_and_is_read_by_a_conv_has_one_pair():
    net = Network()
    net.input("x", (1, 16, 8, 8))
    c1 = net.conv("x", 16, "c1", scale=None)
    pool = net.maxpool(c1, "pool")
    model, _ = quantized(net.model(net.conv(c1, 16, "c2", scale=None), net.conv(pool, 16, "c3", scale=None)))
    assert [node.op_type for node in model.graph.node("c1").outputs[0].consumers()] == ["QuantizeLinear"]


def test_an_existing_pair_serves_the_new_reader():
    net = Network()
    net.input("x", (1, 16, 8, 8))
    net.conv("x", 16, "c1", scale=0.25)
    net.conv("x", 16, "c2", scale=None)
    model, _ = quantized(net.model("c1", "c2"))
    assert model.graph.node("c2").inputs[0] is model.graph.node("c1").inputs[0]


def half_network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weight = onnx.numpy_helper.from_array(rng.normal(size=(32, 16)).astype(np.float16), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, ("N", d)) for n, d in (("x", 32), ("y", 16))]
    graph = helper.make_graph(nodes, "half", infos[:1], infos[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_t60_half_models_get_half_scales_at_opset_19():
    model, _ = quantized(ir.serde.deserialize_model(half_network()))
    assert model.opset_imports[""] == 19
    assert constant_at(model.graph.node("x_QuantizeLinear"), 1).dtype == np.float16
    x = np.random.default_rng(1).normal(size=(2, 32)).astype(np.float16)
    assert run(model, {"x": x})[0].dtype == np.float16


def test_writing_is_deterministic():
    first, second = (ir.to_proto(quantized(conv_chain().model("c2"))[0]).SerializeToString() for _ in range(2))
    assert first == second


def test_a_model_with_nothing_to_quantize_is_left_as_it_is():
    net = Network()
    net.input("x", ("N", 4))
    net.op("Softmax", "x", name="s")
    model, _ = quantized(net.model("s"))
    assert [node.op_type for node in model.graph] == ["Softmax"]


def test_an_affine_scheme_keeps_both_ends_of_a_one_sided_range():
    """From what was observed to the file and its outputs: 255 steps above 0.0, where a symmetric scheme has 127."""
    affine = replace(TENSORRT, activations=Scheme(UINT8, symmetric=False), shifts=False)
    net = Network()
    net.conv(net.relu(net.input("x", (1, 16, 8, 8)), "r"), 16, "c", scale=None)
    model = prepare(net.model("c")).model
    plan, seen = make_plan(model, affine), Histogram()
    seen.observe(np.linspace(0.0, 3.0, 1000, dtype=np.float32))
    config = RangeConfig(method="minmax")
    chosen = calibration.choose(plan, Observation(dict.fromkeys(plan.observed, seen)), config)
    assert chosen.groups == (Range(0.0, 3.0),)
    model = rewrite(model, plan, chosen.groups, weights=WeightForm.FP32, form=Form.PAIRS).model
    (q,) = (node for node in of_type(model, "QuantizeLinear") if not node.inputs[0].is_initializer())
    assert q.outputs[0].dtype is ir.DataType.UINT8
    assert (constant_at(q, 1), constant_at(q, 2)) == (np.float32(3 / 255), 0)
    assert constant_at(q, 2).dtype == np.uint8
    assert run(model)[0].shape == (1, 16, 8, 8)


def test_a_given_range_may_have_both_ends():
    net = Network()
    net.conv(net.input("x", (1, 16, 8, 8)), 16, "c", scale=None)
    plan = make_plan(prepare(net.model("c")).model, TENSORRT)
    config = RangeConfig(manual={"x": Range(-1.0, 5.0)}, imported={"x": 3.0})
    assert config.imported == {"x": Range(-3.0, 3.0)}
    assert calibration.choose(plan, Observation({}), config).groups == (Range(-1.0, 5.0),)
