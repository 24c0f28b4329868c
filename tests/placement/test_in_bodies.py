"""Operators in the bodies of If, Loop and Scan: planned as graphs of their own, and written where they stand."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from calibrators import Range
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.wire import to_proto
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.placement.target import Target
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import UsageError
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from qdq_cli.targets.openvino.table import OPENVINO
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.bodies import BRANCHES, HEAD, NESTED, ROUNDS, SCANNED, bodies, samples

FEEDS = {
    BRANCHES: [{"c": np.array(True)}, {"c": np.array(False)}],
    ROUNDS: [{"n": np.array(3)}, {"n": np.array(0)}],
    NESTED: [{"n": np.array(4), "c": np.array(choice)} for choice in (True, False)],
    SCANNED: [{"rows": samples(5, seed=1)}],
}


def plan_of(text: str, target: Target = TENSORRT, **options: object) -> tuple[ir.Model, Plan]:
    model = prepare(ir.from_proto(bodies(text))).model
    return model, make_plan(model, target, PlanConfig(**options))


def codes(plan: Plan) -> dict[str, str]:
    return {skip.node: skip.code for skip in plan.skips}


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    names = {value.name for value in model.graph.input}
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {name: array for name, array in feed.items() if name in names})[0]


@pytest.mark.parametrize("weights", [WeightForm.FP32, WeightForm.INT8])
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("text", FEEDS, ids=["branches", "rounds", "nested", "scanned"])
def test_the_written_model_computes_what_the_float_one_does(text: str, form: Form, weights: WeightForm):
    model, plan = plan_of(text)
    assert len(plan.quantized) == plan.weighted
    ranges = [Range.symmetric(4.0)] * len(plan.groups)
    written = to_proto(rewrite(model, plan, ranges, weights=weights, form=form).model)
    onnx.checker.check_model(written, full_check=True)
    pairs = [node for node in _every_node(written.graph) if node.op_type == "QuantizeLinear"]
    assert len(pairs) >= len(plan.groups)
    assert len({node.name for node in pairs}) == len(pairs)
    for chosen in FEEDS[text]:
        feed = {"x": samples(1)[0], **chosen}
        expected, found = run(to_proto(model), feed), run(written, feed)
        assert np.abs(found - expected).max() < 0.15
        assert (found != expected).any() or not feed.get("n", np.array(1))


def _every_node(graph: onnx.GraphProto):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _every_node(attribute.g)


def test_pairs_stand_in_the_body_that_reads_them():
    """So that kernels fuse there; a tensor that both branches read is quantized in each of them."""
    model, plan = plan_of(BRANCHES)
    written = to_proto(rewrite(model, plan, [Range.symmetric(4.0)] * 4, weights=WeightForm.FP32, form=Form.PAIRS).model)
    holder = written.graph.node[-1]
    assert [node.op_type for node in written.graph.node].count("QuantizeLinear") == 2  # x and w0
    for attribute, count in zip(holder.attribute, (4, 2), strict=True):
        assert [node.op_type for node in attribute.g.node].count("QuantizeLinear") == count
    assert [tensor.name for tensor in written.graph.initializer[:3]] == ["w0", "w1", "shared"]


def test_float_weights_go_where_integers_take_their_place():
    model, plan = plan_of(BRANCHES)
    written = to_proto(rewrite(model, plan, [Range.symmetric(4.0)] * 4, weights=WeightForm.INT8, form=Form.PAIRS).model)
    assert {tensor.name for tensor in written.graph.initializer}.isdisjoint({"w0", "w1", "shared"})


def test_planning_leaves_the_model_as_it_is():
    model, plan = plan_of(NESTED)
    before = to_proto(model).SerializeToString(deterministic=True)
    assert make_plan(model, TENSORRT) == plan
    assert to_proto(model).SerializeToString(deterministic=True) == before


def test_options_hold_in_bodies():
    _, plan = plan_of(NESTED, exclude=("MatMul_a",))
    assert codes(plan) == {"MatMul_a": "EXCLUDED"}
    _, plan = plan_of(NESTED, only=("MatMul_a",))
    assert plan.quantized == ("MatMul_a",)
    with pytest.raises(UsageError, match="'MatMul_q' matches nothing"):
        plan_of(NESTED, exclude=("MatMul_q",))


def test_first_and_last_layers_are_those_of_the_network():
    """What a body reads comes from the product in front of it, so none in it is the first; both end the network."""
    _, plan = plan_of(BRANCHES, skip_first=True)
    assert codes(plan) == {"MatMul_z": "FIRST_LAYER"}
    _, plan = plan_of(BRANCHES, skip_last=True)
    assert codes(plan) == {"MatMul_a": "LAST_LAYER", "MatMul_h_1": "LAST_LAYER"}


def test_a_target_without_kernels_in_bodies_leaves_them_float():
    _, plan = plan_of(BRANCHES, OPENVINO)
    assert plan.quantized == ("MatMul_z",)
    assert set(codes(plan).values()) == {"IN_BODY"}


def test_kernels_that_write_codes_do_so_in_bodies():
    model, plan = plan_of(BRANCHES, ONNXRUNTIME)
    assert len(plan.quantized) == 4
    ranges = [Range(-4.0, 4.0)] * len(plan.groups)
    written = to_proto(rewrite(model, plan, ranges, weights=WeightForm.INT8, form=Form.PAIRS).model)
    onnx.checker.check_model(written, full_check=True)
    for choice in (True, False):
        feed = {"x": samples(1)[0], "c": np.array(choice)}
        assert np.abs(run(written, feed) - run(to_proto(model), feed)).max() < 0.15


def test_the_body_of_another_operator_stays_float():
    text = """
    agraph (seq(float[N,16]) x) => (seq(float[N,16]) y)
    { y = SequenceMap (x) <body = b (float[N,16] s) => (float[N,16] t) { t = MatMul (s, w0) }> }
    """
    model = onnx.parser.parse_model(f"{HEAD}\n{text}")
    model.graph.initializer.append(numpy_helper.from_array(np.ones((16, 16), np.float32), "w0"))
    plan = make_plan(prepare(ir.from_proto(model)).model, TENSORRT)
    assert set(codes(plan).values()) == {"IN_BODY"}
    assert (plan.weighted, plan.quantized) == (1, ())


def test_one_graph_as_both_branches_gets_names_of_its_own_for_each():
    """Files may use a name in both branches; plans name values."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["p"], name="inside"), helper.make_node("Relu", ["p"], ["y"])],
        "body",
        [],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["out"], name="choice", then_branch=body, else_branch=body)],
        "twice",
        [helper.make_tensor_value_info("x", 1, ("N", 32)), helper.make_tensor_value_info("flag", 9, ())],
        [helper.make_tensor_value_info("out", 1, ("N", 16))],
        [numpy_helper.from_array(np.ones((32, 16), np.float32), "w")],
    )
    model = prepare(ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))).model
    plan = make_plan(model, TENSORRT)
    assert len(set(plan.quantized)) == 2
    written = to_proto(rewrite(model, plan, [Range.symmetric(4.0)] * 2, weights=WeightForm.FP32, form=Form.PAIRS).model)
    onnx.checker.check_model(written, full_check=True)
