"""A float type in the bodies of If, Loop and Scan: each is cast as a graph of its own, and is handed FP32."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from calibrators import Extremes, Range
from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import FloatPlan, make_float_plan
from qdq_cli.casting.twin import low_types, twin
from qdq_cli.config.forms import FloatType, Form, WeightForm
from qdq_cli.model.nodes import every_node
from qdq_cli.model.wire import to_proto
from qdq_cli.placement.plan import make_plan
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, samples
from tests.placement.test_in_bodies import FEEDS, run

TEXTS = pytest.mark.parametrize("text", FEEDS, ids=["branches", "rounds", "nested", "scanned"])
SMALL = dict.fromkeys(
    ("x", "z", "h", "r", "a", "b", "h_1", "s", "p", "q", "t", "y", "d", "row", "out"), Extremes(-9, 9)
)


def prepared(text: str) -> ir.Model:
    return prepare(ir.from_proto(bodies(text))).model


def types(model: ir.Model) -> dict[str, ir.DataType | None]:
    """The type in which every product is computed."""
    return {node.name or "": node.outputs[0].dtype for node in every_node(model.graph) if node.op_type == "MatMul"}


def converted_by(model: ir.Model, plan: FloatPlan) -> ir.Model:
    """The model in the types of a plan; it is one by the checker, and the model that it was made from stays."""
    before = to_proto(model).SerializeToString(deterministic=True)
    result = converted(model, plan).model
    assert to_proto(model).SerializeToString(deterministic=True) == before
    onnx.checker.check_model(to_proto(result), full_check=True)
    return result


@pytest.mark.parametrize("kind", [FloatType.FP16, FloatType.BF16])
@TEXTS
def test_bodies_compute_in_the_type(text: str, kind: FloatType):
    model = prepared(text)
    result = converted_by(model, make_float_plan(model, kind, SMALL))
    assert set(types(result).values()) == {ir.DataType.FLOAT16 if kind is FloatType.FP16 else ir.DataType.BFLOAT16}
    assert low_types(result) == set(types(result).values())
    rounded = to_proto(twin(result))
    for chosen in FEEDS[text]:
        feed = {"x": samples(1)[0], **chosen}
        expected, found = run(to_proto(model), feed), run(rounded, feed)
        np.testing.assert_allclose(found, expected, atol=4e-3 if kind is FloatType.FP16 else 3e-2)
        assert (found != expected).any() or not feed.get("n", np.array(1))
        if kind is FloatType.FP16:  # ONNX Runtime runs it as it is
            np.testing.assert_allclose(run(to_proto(result), feed), expected, atol=4e-3)


def test_weights_from_outside_go_where_nothing_reads_them_in_fp32():
    model = prepared(NESTED)
    result = converted_by(model, make_float_plan(model, FloatType.FP16, SMALL))
    kept = {value.dtype for graph in result.graphs() for value in graph.initializers.values() if value.shape != ()}
    assert kept == {ir.DataType.FLOAT16}
    excluded = FloatPlan(FloatType.FP16, 17, make_float_plan(model, FloatType.FP16, {"b": Extremes(0, 1e6)}).kept)
    assert {kept.node for kept in excluded.kept} >= {"MatMul_b"}


def test_a_sum_that_leaves_the_type_in_a_late_round_stays_fp32():
    """The weight doubles in the Loop alone, so no other tensor says so."""
    model = prepared(ROUNDS)
    plan = make_float_plan(model, FloatType.FP16, {**SMALL, "p": Extremes(-1e5, 3.0)})
    assert {kept.node: kept.code for kept in plan.kept}["MatMul_p"] == "OVERFLOW"
    result = converted_by(model, plan)
    assert types(result) == {"MatMul_p": ir.DataType.FLOAT}
    assert low_types(result) == frozenset()


def test_a_branch_that_no_sample_takes_stays_fp32_in_fp16():
    model = prepared(BRANCHES)
    seen = {name: found for name, found in SMALL.items() if name in ("x", "z", "y", "h_1", "b")}
    assert not [kept for kept in make_float_plan(model, FloatType.FP16, seen).kept if kept.code != "BODY"]  # proven
    seen["z"] = Extremes(-9000.0, 9000.0)
    plan = make_float_plan(model, FloatType.FP16, seen)
    assert {kept.node: kept.code for kept in plan.kept if kept.code != "BODY"} == dict.fromkeys(
        ("MatMul_h", "Relu_r", "MatMul_a"), "NEVER_TAKEN"
    )
    assert set(types(converted_by(model, plan)).values()) == {ir.DataType.FLOAT, ir.DataType.FLOAT16}
    assert not [kept for kept in make_float_plan(model, FloatType.BF16, seen).kept if kept.code != "BODY"]
    assert not [kept for kept in make_float_plan(model, FloatType.FP16, {}).kept if kept.code != "BODY"]


@pytest.mark.parametrize("target", [TENSORRT, ONNXRUNTIME], ids=["tensorrt", "onnxruntime"])
@pytest.mark.parametrize("weights", [WeightForm.FP32, WeightForm.INT8])
@TEXTS
def test_pairs_in_bodies_take_the_type(text: str, weights: WeightForm, target):
    model = prepared(text)
    ranges = [Range.symmetric(4.0)] * 9
    plan = make_plan(model, target)
    written = rewrite(model, plan, ranges[: len(plan.groups)], weights=weights, form=Form.PAIRS).model
    result = converted_by(written, make_float_plan(written, FloatType.FP16, SMALL))
    assert set(types(result).values()) == {ir.DataType.FLOAT16}
    rounded = to_proto(twin(result))
    for chosen in FEEDS[text]:
        feed = {"x": samples(1)[0], **chosen}
        assert np.abs(run(rounded, feed) - run(to_proto(model), feed)).max() < 0.2


def test_a_plan_says_what_stays_in_bodies_once():
    model = prepared(SCANNED)
    plan = make_float_plan(model, FloatType.FP16, {})
    assert len(plan.unobserved) == len(set(plan.unobserved))
    assert {"s", "row", "d"} <= set(plan.unobserved)
